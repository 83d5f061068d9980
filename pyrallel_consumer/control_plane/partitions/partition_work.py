"""One assigned partition under one epoch: its tracker, its virtual partitions, its ready, running and held items.

An item is *current* while the tracker has this very object under its offset. Fencing empties the tracker, so items that
come back later match nothing. This one test keeps an old assignment from moving the offsets of a new one.
Every unfinished item is in exactly one place: ready, waiting behind a head, in flight, or held.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from pyrallel_consumer.control_plane.events import CommitSnapshot
from pyrallel_consumer.control_plane.flow.backpressure import Load
from pyrallel_consumer.control_plane.offsets.commit_encoder import METADATA_LIMIT_BYTES, encode
from pyrallel_consumer.control_plane.offsets.offset_tracker import OffsetTracker
from pyrallel_consumer.control_plane.partitions.latency import QUICK_SECONDS
from pyrallel_consumer.control_plane.partitions.loaded_bytes import (
    MESSAGE_OVERHEAD_BYTES,
    is_worth_counting,
    sum_of_sizes,
)
from pyrallel_consumer.control_plane.partitions.partition_counters import PartitionCounters
from pyrallel_consumer.control_plane.partitions.ready_queue import ReadyQueue
from pyrallel_consumer.control_plane.partitions.slowness import Slowness
from pyrallel_consumer.control_plane.partitions.virtual_partition import VirtualPartition
from pyrallel_consumer.control_plane.size_estimate import SizeEstimate
from pyrallel_consumer.dto import BlockedBy, NullKeyOrdering, OrderingMode, WorkItem
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

WHOLE_PARTITION: Final = object()
"""The key of the only queue of a partition that is ordered as a whole."""
_NO_ORDER: Final = object()

Lingering = dict[tuple["TopicPartition", object], VirtualPartition]


class PartitionWork:
    """The work of one assigned partition."""

    # More attributes than an instance's own dictionary shares with its class: without slots each access is a lookup.
    __slots__ = (
        "_blocking_offset",
        "_blocking_since",
        "_headers",
        "_is_by_key",
        "_is_ordered",
        "_lingering",
        "_measured_at",
        "_orders_null_keys",
        "_probed_offset",
        "_queues",
        "_unordered",
        "blocked",
        "committed_offset",
        "confirmed",
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
        "loaded_bytes",
        "metadata_bytes",
        "metadata_limit_bytes",
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
        self.metadata_bytes = 0
        self.held: dict[int, WorkItem] = {}
        self.failing: set[int] = set()
        self.blocked = 0
        self.leader_epoch = assigned.leader_epoch
        self.metadata_limit_bytes: int | None = None
        self.confirmed: tuple[int, int] | None = (assigned.start_offset, 0) if assigned.is_committed else None
        self.committed_offset = assigned.start_offset
        self._probed_offset = -1
        self._blocking_offset: int | None = None
        self._blocking_since = 0.0
        self.loaded_bytes = 0
        self._measured_at = 0
        self._headers = SizeEstimate()
        self._queues: dict[object, VirtualPartition] = {}
        self._lingering = lingering
        self._unordered = VirtualPartition(self, None, is_ordered=False)
        self._is_by_key = ordering.mode is OrderingMode.KEY_HASH
        self._is_ordered = ordering.mode is not OrderingMode.UNORDERED
        self._orders_null_keys = ordering.null_keys is NullKeyOrdering.PARTITION

    @property
    def counters(self) -> PartitionCounters:
        """The counters over all assignments of the partition; the next assignment continues them."""
        return PartitionCounters(
            self.finished, self.failed, self.skipped, self.settled, self.slowness, self.latency, self.returned_only
        )

    def carry_on(self, counters: PartitionCounters) -> None:
        """Continue the counters of an earlier assignment of the partition."""
        self.finished, self.failed, self.skipped, self.settled, slowness, self.latency, self.returned_only = counters
        self.slowness = slowness or self.slowness

    @property
    def load(self) -> Load:
        """Delivered and unfinished messages. The bytes are about right after ``measure``, and not too low before.

        What workers returned and is not written yet has a bound of its own, which holds starts back: reading goes on.
        """
        return Load(len(self.tracker.unfinished) - len(self.unwritten), self.loaded_bytes, self.blocked)

    def measure(self) -> None:
        """Count the bytes of the unfinished messages, if that is worth the time: see ``loaded_bytes``."""
        if is_worth_counting(self.finished - self._measured_at, len(self.tracker.unfinished)):
            self.count_bytes()

    @property
    def is_measured(self) -> bool:
        """Whether no message was finished since the bytes were counted."""
        return self._measured_at == self.finished

    def count_bytes(self) -> None:
        """Count the bytes of the unfinished messages again, unless none was finished since the last time."""
        if self._measured_at != self.finished:
            self._measured_at = self.finished
            messages = [item._message for item in self.tracker.unfinished.values()]
            self.loaded_bytes = sum_of_sizes(messages) + self._headers.of(messages)

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
        size = MESSAGE_OVERHEAD_BYTES * len(messages) + sum(map(len, messages)) + self._headers.of_new(messages)
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
        self.loaded_bytes += size

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
        """Start one ready item: the one after the last probe, by offset, in turns. None if none may start after all.

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
        self.confirmed = None
        self.committed_offset = min(self.committed_offset, offset)

    def fence(self) -> None:
        """The assignment ended: no item of it is current any more. Keys whose head still runs linger."""
        self.slowness.leave()
        self.latency = None  # The counters have it; items that end from now on are not counted.
        self._forget(0)

    def is_worth_committing(self, *, with_map: bool) -> bool:
        """Whether offset or map moved since the broker's last confirmation."""
        if self.writing is not None:
            return self.writing.is_worth_committing(self)
        tracker = self.tracker
        return (tracker.committable_offset, tracker.version if with_map else 0) != self.confirmed

    def snapshot(
        self, *, with_map: bool, is_repeating: bool = False, most_written: int | None = None
    ) -> CommitSnapshot | None:
        """Offset and map as they are now; None if the broker has confirmed exactly these, unless ``is_repeating``."""
        if self.writing is not None:
            return self.writing.snapshot(self, with_map=with_map, is_repeating=is_repeating, most_written=most_written)
        if not is_repeating and not self.is_worth_committing(with_map=with_map):
            return None
        tracker = self.tracker
        offset, version = tracker.committable_offset, tracker.version if with_map else 0
        limit = METADATA_LIMIT_BYTES if self.metadata_limit_bytes is None else self.metadata_limit_bytes
        metadata = encode(tracker.finished_map(self.leader_epoch), self.tp, limit) if with_map else ""
        blocking = tracker.unfinished.get(offset)
        leader_epoch = self.leader_epoch if blocking is None else blocking._message.leader_epoch()
        return CommitSnapshot(self.tp, self.epoch, offset, metadata, version, leader_epoch)

    def confirm(self, snapshot: CommitSnapshot) -> list[Unwritten]:
        """The broker has confirmed this snapshot. Returns its messages with letters: see ``Writing.confirm``."""
        letters = [] if self.writing is None else self.writing.confirm(self, snapshot)
        self.confirmed = (snapshot.offset, snapshot.version)
        self.committed_offset = snapshot.offset
        self.metadata_bytes = len(snapshot.metadata)
        return letters

    def shrink_metadata(self, refused_bytes: int) -> None:
        """The broker refused metadata of this size: halve the limit, down to no metadata."""
        self.metadata_limit_bytes = refused_bytes // 2

    def observe(self, now: float) -> None:
        """Note how long the blocking offset has been blocking."""
        offset = self.tracker.blocking_offset
        if offset != self._blocking_offset:
            self._blocking_offset, self._blocking_since = offset, now

    @property
    def returns(self) -> int:
        """How often a worker returned."""
        return self.finished - self.settled + len(self.unwritten) + self.returned_only

    @property
    def is_at_work(self) -> bool:
        """Whether more than one key runs; a message that waits for its next attempt does not run."""
        return self.in_flight - len(self.failing) > self._is_by_key

    def blocking_seconds(self, now: float) -> float:
        """For how long the blocking offset was seen to block, 0.0 if there is none."""
        offset = self.tracker.blocking_offset
        return now - self._blocking_since if offset is not None and offset == self._blocking_offset else 0.0

    @property
    def blocked_by(self) -> BlockedBy | None:
        """Why the blocking offset blocks."""
        offset = self.tracker.blocking_offset
        if offset is None:
            return None
        if offset in self.held:
            return BlockedBy.HELD
        if offset in self.unwritten:
            return BlockedBy.UNWRITTEN
        if offset in self.failing:
            return BlockedBy.RETRY
        item = self.tracker.unfinished[offset]
        queue: VirtualPartition = item._origin
        if queue.is_ordered and queue.running is None and (self.tp, queue.key) in self._lingering:
            return BlockedBy.EARLIER_ASSIGNMENT
        is_started = queue.running is item if queue.is_ordered else item not in self.ready
        return BlockedBy.RUNNING if is_started else BlockedBy.SLOT

    def _went_on_without(self, item: WorkItem) -> bool:
        """Whether the item's key went on without it, so that the next item of the key may run already."""
        return item._origin is self._unordered and self._key_of(item) is not _NO_ORDER

    def _key_of(self, item: WorkItem) -> object:
        """The key whose order the item keeps; ``_NO_ORDER`` if it has no order."""
        if not self._is_by_key:
            return WHOLE_PARTITION if self._is_ordered else _NO_ORDER
        key = item.key
        return _NO_ORDER if key is None and not self._orders_null_keys else key

    def _queue_again(self, item: WorkItem) -> None:
        """Let an item that is no longer in flight run again, behind the waiting items of its key."""
        key = self._key_of(item)
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
        self._measured_at = -1
        self.count_bytes()

    def _forget_ready(self, forgotten: set[int], alive: set[int]) -> int:  # noqa: ARG002 -- for those with tickets
        """Remove forgotten items from ``ready``, given ids of items and of queues; returns how many."""
        return self.ready.discard(lambda item: id(item) in forgotten)

    def _started_at(self, item: WorkItem) -> float:
        queue: VirtualPartition = item._origin
        return queue.started_at if queue.is_ordered else item._submitted  # type: ignore[return-value]  # it is timed

    def _waits_for_predecessor(self, queue: VirtualPartition) -> bool:
        predecessor = self._lingering.get((self.tp, queue.key))
        if predecessor is None:
            return False
        predecessor.successor = queue
        return True
