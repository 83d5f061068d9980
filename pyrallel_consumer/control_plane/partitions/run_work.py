"""One assigned partition whose keys are sent ahead, to engines that keep the order of a key themselves.

Several items of one virtual partition may be in flight: a *run*. The engine begins each item when the previous item has
succeeded. If an item ends otherwise, the engine gives the rest of the run back unbegun. Then no item of the key is sent
until the whole run has come back, so that no item overtakes a returned one. After that, runs begin short
and grow.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
from pyrallel_consumer.control_plane.partitions.run_queue import RunQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrallel_consumer.control_plane.events import Assigned
    from pyrallel_consumer.control_plane.output.unwritten import Unwritten
    from pyrallel_consumer.control_plane.partitions.partition_work import Lingering
    from pyrallel_consumer.control_plane.partitions.run_queue import RunLength
    from pyrallel_consumer.control_plane.policies import OrderingPolicy
    from pyrallel_consumer.dto import Message, WorkItem


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
        is_ready: bool = queue.succeeded(item)
        if not (queue.flying or queue.waiting):
            self.drop(queue)
        return is_ready

    def finish_run(self, run: list[WorkItem], now: float | None = None) -> bool | None:
        """``finish`` for items of one virtual partition that ended together, as those of a batch do.

        Returns None, and changes nothing, if they are not its first items in flight, or if one of them is not current.
        """
        queue, count, unfinished = run[0]._origin, len(run), self.tracker.unfinished
        offsets = [item._offset for item in run]
        if (queue.is_ordered and queue.flying[:count] != run) or [*map(unfinished.get, offsets)] != run:
            return None
        if now is not None:
            for item in run:
                self.latency.succeeded(now - item._submitted)  # type: ignore[union-attr,operator]  # else not timed
        for offset in offsets:
            del unfinished[offset]
        self.tracker.version += count
        self.finished += count
        self.in_flight -= count
        if not queue.is_ordered:
            return False
        is_ready: bool = queue.succeeded_together(count)
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
