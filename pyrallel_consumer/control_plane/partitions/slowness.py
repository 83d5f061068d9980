"""Why a partition is not faster, as sampled seconds by cause, and how long it has made no progress. Pure.

One moment has one cause at most. *Blocked* counts only causes within this partition:

- *blocked*: messages wait and none of them is ready, because of the partition's own messages. Either none of them runs
  (a failed message waits for its next attempt, or is held, and the others wait behind it), or all waiting messages wait
  for one key;
- *paused*: fetching is held back by the load, a circuit, or the user, and nothing waits; under an open circuit waiting
  messages count as paused, too;
- *starved*: nothing waits, slots are free, and fetching is not held back: nothing is to do, or Kafka delivers slowly.

All other time has no cause: messages start as fast as they are read, several keys are running and others wait
behind them, or ready messages wait for a slot that another partition occupies.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork


class Cause(Enum):
    """Why a partition is not faster at one moment."""

    BLOCKED = "blocked"
    PAUSED = "paused"
    STARVED = "starved"


def cause_of(
    *, waiting: int, is_ready: bool, is_at_work: bool, is_held_back: bool, is_circuit_open: bool, has_free_slots: bool
) -> Cause | None:
    """The cause at one moment.

    ``waiting`` counts messages that are read, not running and not finished; ``is_ready``: some of them wait only for a
    slot. ``is_at_work``: more than one key of the partition runs, or, if keys have no order of their own, any message.
    """
    if is_circuit_open:
        return Cause.PAUSED
    if waiting:
        return None if is_ready or is_at_work else Cause.BLOCKED
    if is_held_back:
        return Cause.PAUSED
    return Cause.STARVED if has_free_slots else None


class Slowness:
    """Seconds by cause of one partition. The time between two looks counts for the cause seen at the first one."""

    __slots__ = ("_cause", "_finished", "_looked_at", "_progress_at", "seconds")

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(Cause, 0.0)
        self._cause: Cause | None = None
        self._looked_at: float | None = None
        self._progress_at = 0.0
        self._finished = 0

    def look(self, now: float, cause: Cause | None, *, finished: int, has_unfinished: bool) -> None:
        """Note the cause at ``now``. ``finished`` is a growing counter of all finished messages."""
        if self._looked_at is None or finished != self._finished or not has_unfinished:
            self._progress_at = now
        if self._looked_at is not None and self._cause is not None:
            self.seconds[self._cause] += now - self._looked_at
        self._looked_at, self._cause, self._finished = now, cause, finished

    def leave(self) -> None:
        """The assignment ended: the time until the next look belongs to another owner."""
        self._looked_at = self._cause = None

    def stalled_seconds(self, now: float) -> float:
        """How long messages have been unfinished while none has finished; 0 before the first look."""
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
