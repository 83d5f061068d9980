"""One queue: the messages of one key of a partition, or of the whole partition, or messages without order.

An ordered virtual partition has one item at its head (ready, running, or held), and the others wait behind it. It
exists from its first message until it is empty. In a partition's unordered lane no item ever waits.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
    from pyrallel_consumer.dto import WorkItem


class VirtualPartition:
    """A queue of items that must be kept in order.

    ``running`` is the head while it is started; ``waiting`` is None until a second item comes. ``successor`` is set
    if the assignment ended while the head still ran, and the same key was read again: it may start when this head ends.

    ``started_at`` is the time, in seconds, at which ``running`` started: None if nothing is timed, unset if several run
    at once.
    """

    __slots__ = ("is_ordered", "key", "running", "started_at", "successor", "waiting", "work")

    def __init__(self, work: PartitionWork, key: object, *, is_ordered: bool = True) -> None:
        self.started_at: float | None
        self.work = work
        self.key = key
        self.is_ordered = is_ordered
        self.running: WorkItem | None = None
        self.waiting: deque[WorkItem] | None = None
        self.successor: VirtualPartition | None = None

    @property
    def epoch(self) -> int:
        """The epoch of the assignment that owns the queue."""
        return self.work.epoch

    def append(self, item: WorkItem) -> None:
        """Queue ``item`` behind the head."""
        if self.waiting is None:
            self.waiting = deque((item,))
        else:
            self.waiting.append(item)

    def seal(self) -> None:
        """Send nothing more until all items in flight have ended; here that always holds."""

    @property
    def is_busy(self) -> bool:
        """Whether an item of it is started and has not ended."""
        return self.running is not None

    def let_go(self, item: WorkItem) -> bool:
        """``item``, of an ended assignment, ended. Returns whether it was the last running item of the queue."""
        if self.running is not item:
            return False
        self.running = None
        return True

    def follow(self) -> None:
        """The predecessor ended: a waiting item may start."""
        if self.waiting:
            self.work.ready.arrived.append(self.waiting.popleft())
