"""One assigned partition whose keys are sent ahead, to engines that keep the order of a key themselves.

Several items of one virtual partition may be in flight: a *run*. The engine begins each item when the previous item has
succeeded. If an item ends otherwise, the engine gives the rest of the run back unbegun. Then no item of the key is sent
until the whole run has come back, so that no item overtakes a returned one. After that, runs begin short
and grow.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
from pyrallel_consumer.control_plane.partitions.virtual_partition import VirtualPartition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrallel_consumer.control_plane.events import Assigned
    from pyrallel_consumer.control_plane.output.unwritten import Unwritten
    from pyrallel_consumer.control_plane.partitions.partition_work import Lingering
    from pyrallel_consumer.control_plane.policies import OrderingPolicy
    from pyrallel_consumer.dto import Message, WorkItem


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


class RunWork(PartitionWork):
    """The work of one assigned partition, in runs of up to ``length.most``."""

    __slots__ = ("length",)

    queue_type = RunQueue

    def __init__(self, assigned: Assigned, ordering: OrderingPolicy, lingering: Lingering, length: RunLength) -> None:
        super().__init__(assigned, ordering, lingering)
        self.length = length

    def add(self, messages: Sequence[Message]) -> None:
        delivered = self.ready.delivered
        before = len(delivered)
        super().add(messages)
        for item in islice(delivered, before, None):
            queue = item._origin
            if queue.is_ordered and queue.is_new:
                queue.begin(item)

    def take(self, most: int, slots: int, now: float | None = None) -> list[WorkItem]:
        """Start up to ``most`` items: one of each virtual partition in turn, or all startable items of one virtual
        partition after the other.
        """
        if self.length.is_whole:
            return self._take_runs(most, slots, now)
        started: list[WorkItem] = []
        while self.ready and len(started) < most:
            for ticket in self.ready.take(most - len(started), slots - len(started)):
                queue = ticket._origin
                item: WorkItem | None = queue.next() if queue.is_ordered else ticket
                if item is not None:
                    item._submitted = now
                    started.append(item)
        self.in_flight += len(started)
        return started

    def _take_runs(self, most: int, slots: int, now: float | None) -> list[WorkItem]:
        started: list[WorkItem] = []
        ready = self.ready
        while ready and len(started) < most:
            tickets = ready.take(most - len(started), slots - len(started))
            for nth, ticket in enumerate(tickets):
                if len(started) >= most:
                    ready.arrived.extend(tickets[nth:])
                    break
                queue = ticket._origin
                started += queue.next_run(most - len(started)) if queue.is_ordered else (ticket,)
        if now is not None:
            for item in started:
                item._submitted = now
        self.in_flight += len(started)
        return started

    def take_probe(self, now: float | None = None) -> WorkItem | None:
        while self.ready:
            ticket = self.ready.take_after(self._probed_offset)
            item: WorkItem | None = ticket._origin.next() if ticket._origin.is_ordered else ticket
            if item is not None:
                item._submitted = now
                self._probed_offset = item.offset
                self.in_flight += 1
                return item
        return None

    def finish(self, item: WorkItem, now: float | None = None, unwritten: Unwritten | None = None) -> bool:
        if now is not None:
            self.latency.succeeded(now - item._submitted)  # type: ignore[union-attr,operator]  # else it is not timed
        if unwritten is None:
            tracker = self.tracker
            del tracker.unfinished[item._offset]
            tracker.version += 1
            self.finished += 1
        else:
            self.unwritten[item._offset] = unwritten
        self.in_flight -= 1
        queue = item._origin
        if not queue.is_ordered:
            return False
        flying = queue.flying
        if queue._is_stopped and len(flying) > 1 and flying[0] is item:  # ``succeeded``, inlined for batches
            del flying[0]
            queue.running = flying[0]
            queue._reach += 1
            return False
        is_ready: bool = queue.succeeded(item)
        if not (queue.flying or queue.waiting):
            self.drop(queue)
        return is_ready

    def drop(self, queue: RunQueue) -> None:
        """A virtual partition exists until it is empty."""
        if queue.is_empty and self._queues.get(queue.key) is queue:
            del self._queues[queue.key]

    def hold(self, item: WorkItem) -> None:
        super().hold(item)
        if item._origin.is_ordered:
            item._origin.hold(item)

    def condemn(self, item: WorkItem) -> bool:
        """Only for the first item of a run: no letter overtakes an item that is in flight before it."""
        queue = item._origin
        if queue.is_ordered and queue.flying[0] is not item:
            self.put_back(item)
            return False
        return super().condemn(item)

    def finish_held(self, item: WorkItem) -> None:
        if item._origin.is_ordered:
            item._origin.release(item)
        super().finish_held(item)

    def put_back(self, item: WorkItem) -> None:
        if not item._origin.is_ordered:
            super().put_back(item)
            return
        self.in_flight -= 1
        item._origin.put_back(item)

    def put_back_held(self) -> None:
        for item in self.held.values():
            if item._origin.is_ordered:
                item._origin.release(item)
                item._origin.put_back(item)
            elif self._went_on_without(item):
                self._queue_again(item)
            else:
                self.ready.arrived.append(item)
        self.held.clear()

    def _begin_queue(self, queue: Any, item: WorkItem) -> None:
        """The item is its own ticket; see ``RunQueue.is_new``."""
        queue.begin(item)
        self.ready.arrived.append(item)

    def _forget_ready(self, forgotten: set[int], alive: set[int]) -> int:
        """Tickets are not items: remove the tickets of virtual partitions that are gone, and keep the others."""
        self.ready.discard(lambda item: item._origin.is_ordered and id(item._origin) not in alive)
        return self.ready.discard(lambda item: not item._origin.is_ordered and id(item) in forgotten)

    def _forget(self, from_offset: int) -> None:
        forgotten_held = [item for offset, item in self.held.items() if offset >= from_offset]
        before = dict(self.tracker.unfinished)
        super()._forget(from_offset)
        for item in forgotten_held:
            if item._origin.is_ordered:
                item._origin.held -= 1
        forgotten = {id(item) for item in before.values()} - {id(item) for item in self.tracker.unfinished.values()}
        for queue in self._queues.values():
            assert isinstance(queue, RunQueue)
            queue.forget(forgotten)

    @property
    def is_at_work(self) -> bool:
        """Several items of one key may be in flight, so keys are counted, and only as far as the answer needs."""
        not_at_work = len(self.failing) + self._is_by_key
        keys = in_runs = 0
        for queue in self._queues.values():
            assert isinstance(queue, RunQueue)
            if queue.flying:
                keys += 1
                in_runs += len(queue.flying)
                if keys > not_at_work:
                    return True
        return keys + self.in_flight - in_runs > not_at_work

    def _started_at(self, item: WorkItem) -> float:
        return item._submitted  # type: ignore[return-value]  # it is timed

    def _waits_for_predecessor(self, queue: Any) -> bool:
        is_waiting = super()._waits_for_predecessor(queue)
        if is_waiting:
            queue.wait_for_predecessor()
        return is_waiting
