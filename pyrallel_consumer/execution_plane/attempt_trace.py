"""What the process engine asks and tells whoever traces attempts; without tracing there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pyrallel_consumer.dto import WorkItem

    Carrier = dict[str, str]


class AttemptTrace(Protocol):
    """A ``Carrier`` is the context of a span, as plain text that can travel."""

    def earlier(self, item: WorkItem) -> Carrier | None:
        """What travels with a retry into its process: the context of the attempt before."""

    def failed(self, item: WorkItem, carrier: Carrier | None) -> None:
        """This came back with the error of an attempt."""

    def died(self, item: WorkItem, seconds: float, how: str, *, is_timed_out: bool) -> None:
        """The process of an attempt that began ``seconds`` ago died, and no word of the attempt will come."""
