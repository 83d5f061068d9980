"""The items that were sent to one actor and have not ended, and how many more to send. Pure.

Numbers count up from 1 for the life of an actor, in the order of sending. An actor begins items in that order,
``concurrency`` at once. Its reports are some milliseconds late: where items are sent ahead, it is not certain which of
them run. Items that may have killed an actor are sent *closely*: such an actor gets only items that it can begin at
once.
"""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyrallel_consumer.execution_plane.attempts import Attempt

AHEAD_SECONDS: Final = 0.05
"""How much work an actor has beyond its running items: a report and the next frame take some milliseconds."""
MAX_AHEAD: Final = 4096
FIRST_GUESS_SECONDS: Final = 0.001
STILL_SECONDS: Final = 0.25
"""An actor with items ahead that has ended none for this time is slower than estimated."""
_WEIGHT_OF_NEWS: Final = 0.3


class SentToActor:
    """``begun`` holds the items whose beginning the actor has reported, the oldest first."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.seconds_each = FIRST_GUESS_SECONDS
        """Time between two ends while it is busy; so it shrinks with the concurrency."""
        self.begun: dict[int, Attempt] = {}
        self.sent_total = 0
        self._open: dict[int, Attempt] = {}
        self._last_close = 0
        """The number of the last item that was sent closely."""
        self._progress_at = 0.0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def room(self) -> int:
        """How many more items the actor should be sent now."""
        if self._last_close and next(iter(self._open), self._last_close + 1) <= self._last_close:
            return self.close_room
        ahead = min(MAX_AHEAD, int(AHEAD_SECONDS / self.seconds_each))
        return max(0, self.concurrency + ahead - len(self._open))

    @property
    def close_room(self) -> int:
        """How many more items the actor can begin at once."""
        return max(0, self.concurrency - len(self._open))

    @property
    def load(self) -> float:
        """How busy it is, for a comparison of actors."""
        return len(self._open) / self.concurrency

    def add(self, attempts: Sequence[Attempt], now: float, *, is_close: bool = False) -> int:
        """Note sent attempts; returns the first one's number. ``is_close``: there was ``close_room`` for them."""
        if not self._open:
            self._progress_at = now
        first = self.sent_total + 1
        self._open.update(zip(count(first), attempts))
        self.sent_total += len(attempts)
        if is_close:
            self._last_close = self.sent_total
        return first

    def begin(self, number: int, started_at: float) -> Attempt | None:
        """The actor reported that this item began; returns its attempt, None if it has ended."""
        attempt = self._open.get(number)
        if attempt is not None:
            attempt.started_at = started_at
            self.begun[number] = attempt
        return attempt

    def at(self, number: int) -> Attempt | None:
        """The unfinished attempt with this number."""
        return self._open.get(number)

    def end_all(self, numbers: Iterable[int], now: float) -> list[Attempt]:
        """These ended, or were given back unbegun; unknown numbers are ignored."""
        ended = []
        for number in numbers:
            attempt = self._open.pop(number, None)
            if attempt is not None:
                self.begun.pop(number, None)
                ended.append(attempt)
        if ended:
            sample = max(1e-6, (now - self._progress_at) / len(ended))
            self.seconds_each += _WEIGHT_OF_NEWS * (sample - self.seconds_each)
            self._progress_at = now
        return ended

    def unbegun(self) -> list[tuple[int, Attempt]]:
        """All items whose beginning it has not reported, in order."""
        return [(number, attempt) for number, attempt in self._open.items() if number not in self.begun]

    def ahead_of_slow(self, now: float) -> list[int]:
        """The unbegun items of an actor that turns out to be slow: other actors can run them sooner."""
        still_seconds = now - self._progress_at
        if still_seconds < STILL_SECONDS or len(self._open) <= self.concurrency:
            return []
        self.seconds_each = max(self.seconds_each, still_seconds)
        return [number for number, _ in self.unbegun()]

    def number_of(self, attempt: Attempt) -> int | None:
        return next((number for number, each in self._open.items() if each is attempt), None)

    def taken_back(self) -> tuple[list[Attempt], list[Attempt]]:
        """The actor is gone: returns the items that ran there, as far as it is known, and the others; each in order.

        Of the others some may have begun, if the actor had ended earlier ones and had not reported that.
        """
        ran = dict(self.begun)
        ran.update(islice(self._open.items(), self.concurrency))
        ran_in_order = [attempt for number, attempt in self._open.items() if number in ran]
        others = [attempt for number, attempt in self._open.items() if number not in ran]
        self._open.clear()
        self.begun.clear()
        return ran_in_order, others
