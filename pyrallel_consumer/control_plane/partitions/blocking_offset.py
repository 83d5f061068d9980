"""The blocking offset of a partition, its lowest unfinished one: how long it has blocked the commit, and why. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.dto import BlockedBy

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
    from pyrallel_consumer.control_plane.partitions.virtual_partition import VirtualPartition


class BlockingOffset:
    """``offset`` is the blocking offset that was seen last, None if none blocked; ``since`` is the time when it was
    first seen.
    """

    __slots__ = ("offset", "since")

    def __init__(self) -> None:
        self.offset: int | None = None
        self.since = 0.0

    def observe(self, offset: int | None, now: float) -> None:
        """Note that ``offset`` blocks at ``now``."""
        if offset != self.offset:
            self.offset, self.since = offset, now

    def seconds(self, offset: int | None, now: float) -> float:
        """For how long ``offset`` was seen to block, 0.0 if it is None."""
        return now - self.since if offset is not None and offset == self.offset else 0.0


def cause_of_blocking(work: PartitionWork) -> BlockedBy | None:
    """Why the blocking offset of ``work`` blocks, None without one."""
    offset = work.tracker.blocking_offset
    if offset is None:
        return None
    if offset in work.held:
        return BlockedBy.HELD
    if offset in work.unwritten:
        return BlockedBy.UNWRITTEN
    if offset in work.failing:
        return BlockedBy.RETRY
    item = work.tracker.unfinished[offset]
    queue: VirtualPartition = item._origin
    if queue.is_ordered and queue.running is None and work.waits_for_lingering(queue):
        return BlockedBy.EARLIER_ASSIGNMENT
    is_started = queue.running is item if queue.is_ordered else item not in work.ready
    return BlockedBy.RUNNING if is_started else BlockedBy.SLOT
