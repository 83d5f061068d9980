"""When a burst is over: all messages that were in the log at its start are committed, by any member of the group.

It reads only the committed offsets, so messages that are done here are also done for the next run. It does not wait for
messages that are gone from the log (retention, a topic that was created again). A partition that an exhausted message
has paused does not move again by itself: when only paused partitions are left and nothing moves, the burst is stuck.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from enum import Enum
from typing import Final

from pyrallel_consumer.dto import PartitionSnapshot, TopicPartition

STUCK_AFTER_SECONDS: Final = 2.0
"""The burst is stuck after this long without movement: a ready message starts, and is seen, far sooner."""


class BurstState(Enum):
    """How far a burst is."""

    RUNNING = "running"
    DONE = "done"
    STUCK = "stuck"


class Burst:
    """The remaining partitions of a burst: ``left`` maps each to the offset that must be committed."""

    def __init__(self, ends: Mapping[TopicPartition, tuple[int, int]]) -> None:
        """``ends`` are the first offset and the one after the last of each partition's log when the burst begins."""
        self.left = {tp: end for tp, (start, end) in ends.items() if end > start}
        self.partitions = len(ends)
        self._moved_at = 0.0
        self._seen: Hashable = None

    @property
    def is_done(self) -> bool:
        return not self.left

    def committed(self, tp: TopicPartition, offset: int) -> None:
        """The group has committed ``offset`` of ``tp``: the next to read."""
        if tp in self.left and offset >= self.left[tp]:
            del self.left[tp]

    def log_is(self, tp: TopicPartition, start: int, end: int) -> None:
        """The log of ``tp`` reaches from ``start`` to ``end`` now."""
        if tp not in self.left:
            return
        self.left[tp] = min(self.left[tp], end)
        if start >= self.left[tp]:
            del self.left[tp]

    def look(
        self, assigned: Sequence[PartitionSnapshot], *, progress: Hashable, is_retrying: bool, now: float
    ) -> BurstState:
        """Take in what this member has, and judge; to be called again and again, by the time in seconds.

        ``progress`` is something that changes whenever a message ends or fails; ``is_retrying``: messages wait for
        their next attempt.
        """
        for partition in assigned:
            self.committed(partition.tp, partition.committed_offset)
        if self.is_done:
            return BurstState.DONE
        seen = (progress, tuple(self.left))
        if seen != self._seen or is_retrying or not self._is_paused_for_good(assigned):
            self._seen = seen
            self._moved_at = now
        return BurstState.STUCK if now >= self._moved_at + STUCK_AFTER_SECONDS else BurstState.RUNNING

    def messages_left(self, assigned: Sequence[PartitionSnapshot]) -> int:
        """Offsets that this member's partitions are short of their ends."""
        return sum(max(0, self.left.get(each.tp, 0) - each.committed_offset) for each in assigned)

    def elsewhere(self, assigned: Sequence[PartitionSnapshot]) -> tuple[TopicPartition, ...]:
        """The remaining partitions of other members, sorted: only the broker knows their progress."""
        return tuple(sorted(self.left.keys() - {each.tp for each in assigned}))

    def _is_paused_for_good(self, assigned: Sequence[PartitionSnapshot]) -> bool:
        paused = {each.tp for each in assigned if "exhausted" in each.paused_for and each.in_flight == 0}
        return self.left.keys() <= paused
