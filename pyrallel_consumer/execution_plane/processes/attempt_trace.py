"""The process engine's interface to tracing; without tracing it is not used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pyrallel_consumer.dto import WorkItem

    Carrier = dict[str, str]


class AttemptTrace(Protocol):
    """A ``Carrier`` is the context of a span, as plain text that can travel."""

    def earlier(self, item: WorkItem) -> Carrier | None:
        """The context of the attempt before, which travels with a retry into its process."""

    def failed(self, item: WorkItem, carrier: Carrier | None) -> None:
        """This context came back with the error of an attempt."""

    def died(self, item: WorkItem, seconds: float, how: str, *, is_timed_out: bool) -> None:
        """The process of an attempt that began ``seconds`` ago died, so it will not report the attempt."""
