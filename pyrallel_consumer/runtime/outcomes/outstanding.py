"""Messages whose worker has ended, and whose dead letters or records are still on the way to the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.events import LettersAnswered
from pyrallel_consumer.execution_plane.booked_engine import any_item

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.control_plane.events import RecordsAnswered, TransactionAnswered
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.runtime.outcomes.exhausted import ExhaustedMessages
    from pyrallel_consumer.runtime.pump.ports import Output


class Outstanding:
    """``output`` is None if workers return no records. ``on_outcome`` is called if commits are transactions."""

    def __init__(self, exhausted: ExhaustedMessages) -> None:
        self.exhausted = exhausted
        self.output: Output | None = None
        self.on_outcome: Callable[[TransactionAnswered], None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether too many records wait, so that no message may start."""
        return self.output is not None and self.output.is_full

    @property
    def has_records(self) -> bool:
        """Whether records are on their way to the broker, so that a stop waits for them."""
        return self.output is not None and self.output.coming(any_item) > 0

    @property
    def next_at(self) -> float | None:
        """When ``pump`` must be called at the latest, None if that depends on answers only."""
        due = (self.exhausted.next_at, None if self.output is None else self.output.next_at)
        return min((at for at in due if at is not None), default=None)

    def pump(self) -> None:
        """Send letters and records that are due."""
        self.exhausted.pump()
        if self.output is not None:
            self.output.pump()

    def take_answers(self, fact: LettersAnswered | RecordsAnswered) -> None:
        """The broker's answers for letters or records."""
        if isinstance(fact, LettersAnswered):
            self.exhausted.take_answers(fact.answers)
        elif self.output is not None:
            self.output.take_answers(fact.answers)

    def coming(self, which: Callable[[WorkItem], bool]) -> int:
        """How many of these messages will be done soon without a worker: their letters or records are on the way."""
        if self.on_outcome is not None and self.output is not None:
            return self.output.coming(which)  # Letters go with the last transaction.
        coming = self.exhausted.coming(which)
        return coming if self.output is None else coming + self.output.coming(which)

    def items(self) -> list[WorkItem]:
        """Messages that wait for the answer for a letter or a record."""
        letters = self.exhausted.dead_letters.queue.items() if self.exhausted.dead_letters else []
        records = self.output.items() if self.output else []
        return [*letters, *records]

    def forget_ended(self) -> None:
        """Assignments have ended: forget their letters and records."""
        self.exhausted.forget_ended()
        if self.output is not None:
            self.output.forget_ended()
