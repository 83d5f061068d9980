"""Why a partition is not faster, as seconds by cause, sampled; and how long it has not got on at all. Pure.

One moment has one cause at most, the nearest to its root:

- *blocked*: messages wait and none may start, for their keys run, are tried again or are held, or no slot is free;
- *paused*: nothing waits, and fetching is held back: by this partition's or the whole load, a circuit, or the user;
- *starved*: nothing waits, slots are free, and nothing is held back: there is nothing to do, or Kafka is slow to give.

In all other moments messages start as fast as they are read.
"""

from __future__ import annotations

from enum import Enum


class Cause(Enum):
    """Why a partition is not faster at a moment."""

    BLOCKED = "blocked"
    PAUSED = "paused"
    STARVED = "starved"


def cause_of(*, waiting: int, can_start: bool, is_held_back: bool, has_free_slots: bool) -> Cause | None:
    """The cause at one moment. ``waiting`` counts messages that are read and neither run nor are finished."""
    if waiting:
        return None if can_start else Cause.BLOCKED
    if is_held_back:
        return Cause.PAUSED
    return Cause.STARVED if has_free_slots else None


class Slowness:
    """Seconds by cause of one partition. A span of time counts for the cause that was seen at its beginning."""

    __slots__ = ("_cause", "_finished", "_looked_at", "_progress_at", "seconds")

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(Cause, 0.0)
        self._cause: Cause | None = None
        self._looked_at: float | None = None
        self._progress_at = 0.0
        self._finished = 0

    def look(self, now: float, cause: Cause | None, *, finished: int, has_unfinished: bool) -> None:
        """How it stands at ``now``. ``finished`` counts on, whatever finished."""
        if self._looked_at is None or finished != self._finished or not has_unfinished:
            self._progress_at = now
        if self._looked_at is not None and self._cause is not None:
            self.seconds[self._cause] += now - self._looked_at
        self._looked_at, self._cause, self._finished = now, cause, finished

    def leave(self) -> None:
        """The assignment ended: the time until the next look belongs to another owner."""
        self._looked_at = self._cause = None

    def stalled_seconds(self, now: float) -> float:
        """How long something has been unfinished and nothing has finished; 0 before the first look."""
        return 0.0 if self._looked_at is None else now - self._progress_at
