"""One ordered queue: the messages of one key of one partition, or of the whole partition, or those without order.

An ordered virtual partition has one item at its head (ready, running, or held) and the rest waiting behind it. It
exists from its first message until it is empty. The unordered one of a partition never makes anything wait.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
    from pyrallel_consumer.dto import WorkItem


class VirtualPartition:
    """A queue of items that share what must be kept in order.

    ``running`` is the head while it is started; ``waiting`` is None until a second item comes. ``successor`` is set
    when the assignment ended while the head still ran, and the same key was read again: it may start when we end.

    ``started_at`` is the time, in seconds, since which ``running`` runs: None where nothing is timed, unset where
    several run at once.
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
        """Send nothing more until what is in flight has ended; here that is always so."""

    @property
    def is_busy(self) -> bool:
        """Whether anything of it is started and has not ended."""
        return self.running is not None

    def let_go(self, item: WorkItem) -> bool:
        """``item``, of an ended assignment, ended. Returns whether nothing of the queue runs any more by that."""
        if self.running is not item:
            return False
        self.running = None
        return True

    def follow(self) -> None:
        """The predecessor ended: what waits here may start."""
        if self.waiting:
            self.work.ready.arrived.append(self.waiting.popleft())
