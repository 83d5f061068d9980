"""One assigned partition under one epoch: its tracker, its virtual partitions, its ready, running and held items.

An item is *current* while the tracker has this very object under its offset. Fencing empties the tracker, so items that
come back later match nothing. This one test keeps an old assignment from moving the offsets of a new one.
Every unfinished item is in exactly one place: ready, waiting behind a head, in flight, or held.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.control_plane.flow.backpressure import Load
from pyrallel_consumer.control_plane.offsets.offset_tracker import OffsetTracker
from pyrallel_consumer.control_plane.partitions.blocking_offset import BlockingOffset
from pyrallel_consumer.control_plane.partitions.commit_state import CommitState
from pyrallel_consumer.control_plane.partitions.latency import QUICK_SECONDS
from pyrallel_consumer.control_plane.partitions.loaded_bytes import MESSAGE_OVERHEAD_BYTES, LoadedBytes
from pyrallel_consumer.control_plane.partitions.queue_key import NO_ORDER, WHOLE_PARTITION, queue_key
from pyrallel_consumer.control_plane.partitions.ready_queue import ReadyQueue
from pyrallel_consumer.control_plane.partitions.slowness import Slowness
from pyrallel_consumer.control_plane.partitions.virtual_partition import VirtualPartition
from pyrallel_consumer.dto import NullKeyOrdering, OrderingMode, WorkItem
from pyrallel_consumer.errors import InvariantViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrallel_consumer.control_plane.events import Assigned
    from pyrallel_consumer.control_plane.flow.loads import Counted
    from pyrallel_consumer.control_plane.output.unwritten import Unwritten
    from pyrallel_consumer.control_plane.output.writing import Writing
    from pyrallel_consumer.control_plane.partitions.latency import Latencies
    from pyrallel_consumer.control_plane.policies import OrderingPolicy
    from pyrallel_consumer.dto import Message, TopicPartition

Lingering = dict[tuple["TopicPartition", object], VirtualPartition]


class PartitionWork:
    """The work of one assigned partition."""

    # More attributes than an instance's own dictionary shares with its class: without slots each access is a lookup.
    __slots__ = (
        "_is_by_key",
        "_is_ordered",
        "_lingering",
        "_ordering",
        "_orders_null_keys",
        "_probed_offset",
        "_queues",
        "_unordered",
        "blocked",
        "blocking",
        "commits",
        "counted",
        "epoch",
        "failed",
        "failing",
        "finished",
        "held",
        "in_flight",
        "is_dispatching",
        "is_listed",
        "is_touched",
        "latency",
        "leader_epoch",
        "loaded",
        "ready",
        "returned_only",
        "settled",
        "skipped",
        "slowness",
        "tp",
        "tracker",
        "unwritten",
        "writing",
    )

    queue_type: Callable[[Any, object], VirtualPartition] = VirtualPartition

    def __init__(self, assigned: Assigned, ordering: OrderingPolicy, lingering: Lingering) -> None:
        self.tp = assigned.tp
        self.epoch = assigned.epoch
        self.tracker = OffsetTracker(assigned.start_offset, assigned.restored)
        self.ready = ReadyQueue()
        self.is_dispatching = True
        self.is_listed = False
        self.is_touched = False
        self.counted: Counted | None = None
        self.in_flight = 0
        self.finished = 0
        self.failed = 0
        self.skipped = 0
        self.settled = 0
        self.returned_only = 0
        """Returns of workers that finished no message: their records were refused, or the message was forgotten."""
        self.unwritten: dict[int, Unwritten] = {}
        self.writing: Writing | None = None
        self.slowness = Slowness()
        self.latency: Latencies | None = None
        self.held: dict[int, WorkItem] = {}
        self.failing: set[int] = set()
        self.blocked = 0
        self.leader_epoch = assigned.leader_epoch
        self.commits = CommitState(assigned)
        self.blocking = BlockingOffset()
        self.loaded = LoadedBytes()
        self._probed_offset = -1
        self._queues: dict[object, VirtualPartition] = {}
        self._lingering = lingering
        self._unordered = VirtualPartition(self, None, is_ordered=False)
        self._ordering = ordering
        self._is_by_key = ordering.mode is OrderingMode.KEY_HASH
        self._is_ordered = ordering.mode is not OrderingMode.UNORDERED
        self._orders_null_keys = ordering.null_keys is NullKeyOrdering.PARTITION

    @property
    def load(self) -> Load:
        """Delivered and unfinished messages, and their bytes as counted last.

        Returned records that are not written yet have their own bound. It delays starts, and reading goes on.
        """
        return Load(len(self.tracker.unfinished) - len(self.unwritten), self.loaded.total, self.blocked)

    @property
    def queued(self) -> int:
        """How many delivered messages are not started, nor held, nor waiting to be written."""
        return len(self.tracker.unfinished) - self.in_flight - len(self.held) - len(self.unwritten)

    def add(self, messages: Sequence[Message]) -> None:
        """Register and route messages: at least one, ascending by offset, and above all earlier ones."""
        tracker, queues, ready = self.tracker, self._queues, self.ready.delivered
        unfinished, unordered = tracker.unfinished, self._unordered
        is_restoring, is_by_key, is_ordered = tracker.is_restoring, self._is_by_key, self._is_ordered
        orders_null_keys, queue_type = self._orders_null_keys, self.queue_type
        size = self.loaded.of_new(messages)
        if messages[0].offset() < tracker.next_offset:
            raise InvariantViolation(f"{self.tp} delivered {messages[0].offset()} again without a new epoch")
        for message in messages:
            offset = message.offset()
            if is_restoring and tracker.is_done_before(offset, message.leader_epoch()):
                self.skipped += 1
                size -= MESSAGE_OVERHEAD_BYTES + len(message)
                continue
            key: Any = message.key()
            if key is not None:
                size += len(key)
            if not is_by_key:
                key = WHOLE_PARTITION
            if not is_ordered or (key is None and not orders_null_keys):
                unfinished[offset] = item = WorkItem(message, offset, unordered)
                ready.append(item)
                continue
            queue = queues.get(key)
            if queue is not None:
                unfinished[offset] = item = WorkItem(message, offset, queue)
                queue.append(item)
                continue
            queues[key] = queue = queue_type(self, key)
            unfinished[offset] = item = WorkItem(message, offset, queue)
            if self._lingering and self._waits_for_predecessor(queue):
                queue.append(item)
            else:
                ready.append(item)
        last = messages[-1]
        tracker.next_offset = last.offset() + 1
        self.leader_epoch = last.leader_epoch()
        self.loaded.total += size

    def advance(self, position: int, leader_epoch: int | None) -> None:
        """Nothing more comes below ``position``. Its leader epoch tells later owners if the log is cut below it."""
        self.tracker.advance(position)
        if leader_epoch is not None and (self.leader_epoch is None or leader_epoch > self.leader_epoch):
            self.leader_epoch = leader_epoch

    def take(self, most: int, slots: int, now: float | None = None) -> list[WorkItem]:
        """Start up to ``most`` ready items; the lowest offsets if more items are ready than ``slots`` are free.

        ``now`` is the time in seconds, if items are timed.
        """
        items = self.ready.take(most, slots)
        for item in items:
            queue = item._origin
            if queue.is_ordered:
                queue.running = item
                queue.started_at = now
            else:
                item._submitted = now
        self.in_flight += len(items)
        return items

    def take_probe(self, now: float | None = None) -> WorkItem | None:
        """Start one ready item, in turns: by offset the next after the last probe. None if none may start after all.

        ``ready`` must not be empty.
        """
        item = self.ready.take_after(self._probed_offset)
        self._probed_offset = item.offset
        queue = item._origin
        if queue.is_ordered:
            queue.running = item
            queue.started_at = now
        else:
            item._submitted = now
        self.in_flight += 1
        return item

    def is_current(self, item: WorkItem) -> bool:
        """Whether ``item`` is an unfinished item of this assignment; False after the partition was fenced."""
        return self.tracker.unfinished.get(item.offset) is item

    def finish(self, item: WorkItem, now: float | None = None, unwritten: Unwritten | None = None) -> bool:
        """A current item in flight is done: its offset completes, its key goes on. Returns whether one became ready.

        ``now`` is the time, if its duration counts as a success. With ``unwritten`` the offset does not complete
        before the records of the worker are written.
        """
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
            if now is not None:
                self.latency.succeeded(now - item._submitted)  # type: ignore[union-attr,operator]  # else it is not timed
            return False
        if now is not None:
            took = now - queue.started_at
            latency: Any = self.latency
            if took > QUICK_SECONDS:
                latency.pending.append(took)
            else:
                latency.quick_seconds += took
        queue.running = None
        if queue.waiting:
            self.ready.arrived.append(queue.waiting.popleft())
            return True
        del self._queues[queue.key]
        return False

    def time(self, item: WorkItem, now: float) -> None:
        """Count the duration of ``item``, which ended unfinished: it failed permanently, or was forgotten."""
        if self.latency is not None:
            self.latency.add(now - self._started_at(item))

    def complete(self, item: WorkItem) -> None:
        """The records of a current item's worker are written: its offset completes."""
        del self.unwritten[item.offset]
        del self.tracker.unfinished[item.offset]
        self.tracker.version += 1
        self.finished += 1

    def take_back(self, item: WorkItem, attempt: int) -> WorkItem:
        """The records of a current item's worker are refused: the item is in flight again, as another object.

        Its key went on meanwhile, so the new object has no order. It stands for the attempt with this number.
        """
        del self.unwritten[item.offset]
        self.returned_only += 1
        again = WorkItem(item.message, item.offset, self._unordered, attempt)
        again._submitted = None
        self.tracker.unfinished[item.offset] = again
        self.in_flight += 1
        return again

    def hold(self, item: WorkItem) -> None:
        """A current item failed permanently: it keeps its offset, its key and its load, and frees its slot."""
        self.in_flight -= 1
        self.failed += 1
        self.held[item.offset] = item
        item._origin.running = None

    def condemn(self, item: WorkItem) -> bool:
        """An item that was taken must not be tried: hold it. Returns False if it was put back for later instead."""
        self.hold(item)
        return True

    def finish_held(self, item: WorkItem) -> None:
        """A held item is dead-lettered or skipped: its offset completes and its key goes on."""
        del self.held[item.offset]
        self.settled += 1
        self.in_flight += 1
        self.finish(item)

    def put_back(self, item: WorkItem) -> None:
        """A current item was cancelled, and its attempt does not count: it is ready again, at the head of its key."""
        self.in_flight -= 1
        if self._went_on_without(item):
            self._queue_again(item)
            return
        item._origin.running = None
        self.ready.arrived.append(item)

    def put_back_held(self) -> None:
        """Try the held items again, each at the head of its key."""
        held, self.held = self.held, {}
        for item in held.values():
            if self._went_on_without(item):
                self._queue_again(item)
            else:
                self.ready.arrived.append(item)

    def go_back(self, epoch: int, offset: int, leader_epoch: int | None = None) -> None:
        """Offsets from ``offset`` on come again: forget them. Unfinished ones below go on under ``epoch``.

        ``leader_epoch`` is that of the record at ``offset``: the known one may belong to a record that is gone.
        """
        self._forget(offset)
        self.epoch = epoch
        self.leader_epoch = leader_epoch
        self.commits.go_back(offset)

    def fence(self) -> None:
        """The assignment ended: no item of it is current any more. Keys whose head still runs linger."""
        self.slowness.leave()
        self.latency = None  # The counters have it; items that end from now on are not counted.
        self._forget(0)

    @property
    def returns(self) -> int:
        """How often a worker returned."""
        return self.finished - self.settled + len(self.unwritten) + self.returned_only

    @property
    def is_at_work(self) -> bool:
        """Whether more than one key runs; a message that waits for its next attempt does not run."""
        return self.in_flight - len(self.failing) > self._is_by_key

    def _went_on_without(self, item: WorkItem) -> bool:
        """Whether the item's key went on without it, so that the next item of the key may run already."""
        return item._origin is self._unordered and queue_key(item, self._ordering) is not NO_ORDER

    def _queue_again(self, item: WorkItem) -> None:
        """Let an item that is no longer in flight run again, behind the waiting items of its key."""
        key = queue_key(item, self._ordering)
        queue = self._queues.get(key)
        is_new = queue is None
        if queue is None:
            self._queues[key] = queue = self.queue_type(self, key)
        again = WorkItem(item.message, item.offset, queue, item.attempt)
        self.tracker.unfinished[item.offset] = again
        if not is_new or (self._lingering and self._waits_for_predecessor(queue)):
            queue.append(again)
        else:
            self._begin_queue(queue, again)

    def _begin_queue(self, queue: VirtualPartition, item: WorkItem) -> None:  # noqa: ARG002 -- for queues with tickets
        """The first item of a new queue is ready."""
        self.ready.arrived.append(item)

    def _forget(self, from_offset: int) -> None:
        forgotten = {id(item) for item in self.tracker.go_back(from_offset)}
        unwritten = self.unwritten
        alive = {id(item._origin) for offset, item in self.tracker.unfinished.items() if offset not in unwritten}
        idle = self._forget_ready(forgotten, alive)
        kept_unwritten = {offset: each for offset, each in unwritten.items() if offset < from_offset}
        self.returned_only += len(unwritten) - len(kept_unwritten)
        idle += len(unwritten) - len(kept_unwritten)
        self.unwritten = kept_unwritten
        if self.writing is not None:
            self.writing.forget(from_offset)
        kept_held = {offset: item for offset, item in self.held.items() if offset < from_offset}
        idle += len(self.held) - len(kept_held)
        self.held = kept_held
        for key, queue in list(self._queues.items()):
            waiting = queue.waiting or ()
            kept = [item for item in waiting if id(item) not in forgotten]
            idle += len(waiting) - len(kept)
            if waiting:
                queue.waiting = deque(kept)
            if id(queue) not in alive:
                del self._queues[key]
                if queue.is_busy:
                    self._lingering[self.tp, key] = queue
        self.in_flight -= len(forgotten) - idle
        self.loaded.count_again(self.tracker.unfinished, self.finished)

    def _forget_ready(self, forgotten: set[int], alive: set[int]) -> int:  # noqa: ARG002 -- for those with tickets
        """Remove forgotten items from ``ready``, given ids of items and of queues; returns how many."""
        return self.ready.discard(lambda item: id(item) in forgotten)

    def _started_at(self, item: WorkItem) -> float:
        queue: VirtualPartition = item._origin
        return queue.started_at if queue.is_ordered else item._submitted  # type: ignore[return-value]  # it is timed

    def waits_for_lingering(self, queue: VirtualPartition) -> bool:
        """Whether a head of this queue's key still runs for an ended assignment."""
        return (self.tp, queue.key) in self._lingering

    def _waits_for_predecessor(self, queue: VirtualPartition) -> bool:
        predecessor = self._lingering.get((self.tp, queue.key))
        if predecessor is None:
            return False
        predecessor.successor = queue
        return True
