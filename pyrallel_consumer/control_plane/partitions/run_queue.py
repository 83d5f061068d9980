"""One virtual partition whose items are sent ahead: those that wait, and the run that is in flight."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.partitions.virtual_partition import VirtualPartition

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.partitions.run_work import RunWork
    from pyrallel_consumer.dto import WorkItem


class RunLength:
    """How many items of one virtual partition may be in flight; the engine sets it.

    ``is_whole``: a run starts as a whole, as for batches. Else virtual partitions start one item each in turn.
    """

    __slots__ = ("is_whole", "most")

    def __init__(self) -> None:
        self.most = 1
        self.is_whole = False


class RunQueue(VirtualPartition):
    """``waiting`` holds the items that are not started, ``flying`` the run, by offset; its first item is ``running``.

    While it may start one more item, it has a *ticket* in the partition's ready queue: one of its items, which stands
    for the whole virtual partition. A ticket that has become wrong is discovered when it is drawn.

    ``next``, ``succeeded`` and ``offer`` are on every message's path, so they contain the code of ``_fly``, ``_land``
    and ``_may_start``: calls of the first two, and in ``Runs.left``, cost a process engine's parent 5 % of CPU.
    """

    __slots__ = ("_is_offered", "_is_stopped", "_reach", "flying", "held", "is_following", "is_new", "length")

    work: RunWork
    waiting: deque[WorkItem]

    def __init__(self, work: RunWork, key: object) -> None:
        super().__init__(work, key)
        self.waiting = deque()
        self.flying: list[WorkItem] = []
        self.held = 0
        self.is_new = True
        """The first item is its own ticket: it is on its way into the ready queue, and not yet in ``waiting``."""
        self.is_following = False
        """A head of the key still runs for an ended assignment."""
        self.length = work.length
        self._is_offered = True
        self._is_stopped = False
        self._reach = self.length.most

    @property
    def is_busy(self) -> bool:
        return bool(self.flying)

    @property
    def is_empty(self) -> bool:
        return not (self.flying or self.waiting or self.held)

    def append(self, item: WorkItem) -> None:
        self.waiting.append(item)
        if not (self._is_offered or self._is_stopped):
            self.offer()

    def begin(self, item: WorkItem) -> None:
        """``item`` is the first item, and its ticket is already drawn."""
        self.is_new = False
        self.waiting.appendleft(item)

    def wait_for_predecessor(self) -> None:
        """The first item has no ticket: another head of the key still runs."""
        self.is_new = self._is_offered = False
        self.is_following = True

    def follow(self) -> None:
        self.is_following = False
        self.offer()

    def next(self) -> WorkItem | None:
        """A ticket was drawn: start one more item, if it still may start."""
        self._is_offered = False
        if not self._may_start():
            return None
        item, flying = self.waiting.popleft(), self.flying
        flying.append(item)
        self.running = flying[0]
        self.offer()
        return item

    def next_run(self, most: int) -> list[WorkItem]:
        """A ticket was drawn: start up to ``most`` more items, as many as may still start."""
        self._is_offered = False
        if not self._may_start():
            return []
        waiting, flying = self.waiting, self.flying
        count = min(most, min(self._reach, self.length.most) - len(flying))
        if count >= len(waiting):
            run = list(waiting)
            waiting.clear()
        else:
            run = [waiting.popleft() for _ in range(count)]
        flying += run
        self.running = flying[0]
        self.offer()
        return run

    def succeeded(self, item: WorkItem) -> bool:
        """``item`` is done. Returns whether the virtual partition got a ticket."""
        flying = self.flying
        if len(flying) > 1 and flying[0] is item:
            del flying[0]
            self.running = flying[0]
        else:
            self._land(item)
        self._reach += 1
        return not self._is_offered and self.offer()

    def succeeded_together(self, count: int) -> bool:
        """``succeeded`` for the first ``count`` items in flight."""
        flying = self.flying
        del flying[:count]
        if flying:
            self.running = flying[0]
        else:
            self.running = None
            self._is_stopped = False
        self._reach += count
        return not self._is_offered and self.offer()

    def hold(self, item: WorkItem) -> None:
        """``item`` failed permanently: nothing starts until it is released."""
        self._stop(item)
        self.held += 1

    def release(self, item: WorkItem) -> None:
        """``item`` is no longer held; it counts as started."""
        self.held -= 1
        self._fly(item)

    def put_back(self, item: WorkItem) -> None:
        """``item`` was given back unbegun, or must run again: it waits in its place."""
        self._stop(item)
        before = []
        while self.waiting and self.waiting[0].offset < item.offset:
            before.append(self.waiting.popleft())
        self.waiting.appendleft(item)
        self.waiting.extendleft(reversed(before))
        self.offer()

    def let_go(self, item: WorkItem) -> bool:
        if item not in self.flying:
            return False
        self._land(item)
        if self.flying:
            return False
        self.offer()
        self.work.drop(self)
        return True

    def seal(self) -> None:
        """The items in flight began together: no more start until all of them have ended."""
        self._is_stopped = bool(self.flying)

    def forget(self, forgotten: set[int]) -> None:
        """Items with these ids are no longer current: those in flight must end before another item starts."""
        self._is_stopped = self._is_stopped or any(id(item) in forgotten for item in self.flying)

    def offer(self) -> bool:
        """Get a ticket if one more may start and there is none; returns whether it got one."""
        if self._is_offered:
            return False
        waiting, flying = self.waiting, self.flying
        if not waiting or self.held or self.is_following:
            return False
        if flying and (self._is_stopped or (reach := len(flying)) >= self._reach or reach >= self.length.most):
            return False
        self._is_offered = True
        self.work.ready.arrived.append(waiting[0])
        return True

    def _may_start(self) -> bool:
        if not self.waiting or self.held or self.is_following:
            return False
        flying = len(self.flying)
        return not flying or (not self._is_stopped and flying < self._reach and flying < self.length.most)

    def _fly(self, item: WorkItem) -> None:
        self.flying.append(item)
        self.running = self.flying[0]

    def _land(self, item: WorkItem) -> None:
        flying = self.flying
        flying.remove(item)
        if flying:
            self.running = flying[0]
        else:
            self.running = None
            self._is_stopped = False

    def _stop(self, item: WorkItem) -> None:
        self._land(item)
        self._is_stopped = bool(self.flying)
        self._reach = 1
