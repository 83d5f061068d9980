"""The outcome of each message: its attempts and its end; and a table of all for a test that failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pyrallel_consumer.control_plane.failures.letter import error_reason
from pyrallel_consumer.dto import Message, WorkItem

LONGEST_SHOWN: Final = 40
"""Characters of a key or a value in the table."""
LONGEST_ERROR_SHOWN: Final = 100

Place = tuple[str, int, int]
"""Topic, partition and offset of a message."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one message ended: ``error`` is None if it was processed, else the error of its last attempt.

    ``attempts`` counts charged attempts; it is 0 if the message was given up untried, as a message of a poisoned key.
    ``errors`` are the errors of all failed attempts, uncharged ones included. ``times_ended`` is more than 1 where the
    message ran again after a crash or a rebalance. ``seconds`` is how long it took from its first attempt on, waits
    included, by the kit's clock.
    """

    item: WorkItem
    attempts: int
    error: BaseException | None = None
    errors: tuple[BaseException, ...] = ()
    times_ended: int = 1
    seconds: float = 0.0

    @property
    def is_processed(self) -> bool:
        return self.error is None


@dataclass(slots=True)
class _Entry:
    """One message that has begun. The errors are those since it was started last."""

    item: WorkItem
    started_at: float
    charged: int = 0
    errors: list[BaseException] = field(default_factory=list)
    times_ended: int = 0


class Ledger:
    """Keeps the starts and ends of messages by place; the latest end counts. ``now`` tells the kit's time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._entries: dict[Place, _Entry] = {}
        self._outcomes: dict[Place, Outcome] = {}

    @property
    def outcomes(self) -> list[Outcome]:
        """One for each message that ended, in the order of ending."""
        return list(self._outcomes.values())

    def outcome_of(self, message: Message) -> Outcome | None:
        return self._outcomes.get(_place_of(message))

    def begun(self) -> list[WorkItem]:
        """One item for each message that was started at least once."""
        return [entry.item for entry in self._entries.values()]

    def started(self, items: Iterable[WorkItem]) -> None:
        """These are about to have their first attempt, or the first one since a crash or a rebalance."""
        now = self._now()
        for item in items:
            place = _place_of(item.message)
            known = self._entries.get(place)
            if known is None or known.item is not item:
                self._entries[place] = _Entry(item, now, times_ended=0 if known is None else known.times_ended)

    def failed(self, item: WorkItem, error: BaseException, *, is_charged: bool) -> None:
        """An attempt failed."""
        entry = self._entry(item)
        entry.errors.append(error)
        entry.charged += is_charged

    def ended(self, item: WorkItem, *, is_processed: bool) -> None:
        """The message is processed, or its last attempt failed."""
        entry = self._entry(item)
        entry.times_ended += 1
        error = None if is_processed else entry.errors[-1]
        attempts = entry.charged + is_processed
        place = _place_of(item.message)
        self._outcomes.pop(place, None)
        seconds = self._now() - entry.started_at
        self._outcomes[place] = Outcome(item, attempts, error, tuple(entry.errors), entry.times_ended, seconds)
        entry.charged = 0
        entry.errors = []

    def given_up_untried(self, item: WorkItem, error: BaseException) -> None:
        """The message ended without an attempt."""
        entry = self._entry(item)
        entry.errors.append(error)
        self.ended(item, is_processed=False)

    def table(self, messages: Sequence[Message], running: Iterable[WorkItem], waiting: Iterable[WorkItem]) -> str:
        """A line for each message: its place, key and value, its attempts, and its outcome."""
        now = {_place_of(item.message): "runs" for item in running}
        now |= {_place_of(item.message): "waits for its next attempt" for item in waiting}
        rows = [("message", "key", "value", "attempts", "outcome")]
        rows += [self._row(message, now.get(_place_of(message))) for message in messages]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join(
            "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]])
            for row in rows
        )

    def _row(self, message: Message, now: str | None) -> tuple[str, str, str, str, str]:
        place = _place_of(message)
        name = f"{place[0]}-{place[1]}-{place[2]}"
        entry, outcome = self._entries.get(place), self._outcomes.get(place)
        attempts = 0
        if now is not None and entry is not None:
            attempts = entry.charged + (now == "runs")
            told = f"{now}, after {_reason(entry.errors[-1])}" if entry.errors else now
        elif outcome is not None:
            attempts = outcome.attempts
            told = "processed" if outcome.error is None else f"failed: {_reason(outcome.error)}"
        else:
            told = "not started" if entry is None else "cut off"
        return name, _shown(message.key()), _shown(message.value()), str(attempts), told

    def _entry(self, item: WorkItem) -> _Entry:
        return self._entries.setdefault(_place_of(item.message), _Entry(item, self._now()))


def _place_of(message: Message) -> Place:
    return message.topic(), message.partition(), message.offset()


def _shown(value: bytes | None) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def _reason(error: BaseException) -> str:
    return error_reason(error, LONGEST_ERROR_SHOWN)
