"""Why a partition is not faster, as seconds by cause, sampled; and how long it has not got on at all. Pure.

One moment has one cause at most, and only what keeps this very partition back counts as *blocked*:

- *blocked*: messages wait and none of them is ready, because of the partition's own messages. Either nothing of it is
  at work (what fails waits for its next attempt, or is held, and the rest waits behind it), or all that waits stands
  behind one key;
- *paused*: fetching is held back by the load, a circuit, or the user, and nothing waits; under an open circuit whatever
  waits is paused, too;
- *starved*: nothing waits, slots are free, and nothing is held back: there is nothing to do, or Kafka is slow to give.

All other time is none of these: messages start as fast as they are read, several keys are at work and others wait
behind them, or what is ready waits for a slot that another partition has.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork


class Cause(Enum):
    """Why a partition is not faster at a moment."""

    BLOCKED = "blocked"
    PAUSED = "paused"
    STARVED = "starved"


def cause_of(
    *, waiting: int, is_ready: bool, is_at_work: bool, is_held_back: bool, is_circuit_open: bool, has_free_slots: bool
) -> Cause | None:
    """The cause at one moment.

    ``waiting`` counts messages that are read and neither run nor are finished; ``is_ready``: some of them wait for
    nothing but a slot. ``is_at_work``: more than one key of the partition runs, or anything where keys have no order of
    their own.
    """
    if is_circuit_open:
        return Cause.PAUSED
    if waiting:
        return None if is_ready or is_at_work else Cause.BLOCKED
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


def look_at(
    work: PartitionWork, now: float, *, is_held_back: bool, is_circuit_open: bool, has_free_slots: bool
) -> None:
    """Note why the partition of ``work`` is not faster at ``now``."""
    cause = cause_of(
        waiting=max(work.queued, work.blocked),
        is_ready=bool(work.ready),
        is_at_work=work.is_at_work,
        is_held_back=is_held_back,
        is_circuit_open=is_circuit_open,
        has_free_slots=has_free_slots,
    )
    work.slowness.look(
        now,
        cause if work.is_dispatching else None,
        finished=work.finished,
        has_unfinished=bool(work.tracker.unfinished),
    )
