"""What the work manager must do, as simply as possible: sets and dicts, no queues, no fences.

The model knows every message that was delivered and what became of it. It is slow, and never clever.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import Enum

from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import OrderingPolicy
from pyrallel_consumer.dto import NullKeyOrdering, OrderingMode, TopicPartition, WorkItem


class State(Enum):
    QUEUED = "queued"
    RUNNING = "running"
    HELD = "held"


@dataclass
class Entry:
    """One delivered and unfinished message."""

    offset: int
    key: bytes | None
    size_bytes: int
    state: State = State.QUEUED


@dataclass(frozen=True)
class Running:
    """One started attempt: attempts of the same ``place`` keep their order; None for no order."""

    item: WorkItem
    tp: TopicPartition
    offset: int
    place: object
    entry: Entry


@dataclass
class Partition:
    """One assignment as the model sees it."""

    tp: TopicPartition
    epoch: int
    next_offset: int
    done_before: set[int]
    restored_top: int
    entries: dict[int, Entry] = field(default_factory=dict)
    is_stopped: bool = False
    confirmed: tuple[int, int] | None = None
    moves: int = 0
    finished: int = 0
    failed: int = 0
    skipped: int = 0
    highest_snapshot: int = 0

    @property
    def committable_offset(self) -> int:
        return min(self.entries, default=self.next_offset)

    def count(self, state: State) -> int:
        return sum(1 for entry in self.entries.values() if entry.state is state)

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.entries.values())

    def is_unfinished(self, offset: int) -> bool:
        """Whether an offset from the committable one on is to run, or to run again."""
        return offset in self.entries or (offset >= self.next_offset and offset not in self.done_before)

    def expected_map(self) -> OffsetMap:
        base, top = self.committable_offset, max(self.next_offset, self.restored_top)
        return OffsetMap(base, top, tuple(offset for offset in range(base, top) if self.is_unfinished(offset)))


class WorkModel:
    """All assignments and all attempts that still run, also of ended assignments."""

    def __init__(self, ordering: OrderingPolicy) -> None:
        self.ordering = ordering
        self.partitions: dict[TopicPartition, Partition] = {}
        self.running: dict[int, Running] = {}
        self.held: dict[int, Running] = {}
        self.ended: dict[TopicPartition, Counter[str]] = defaultdict(Counter)

    def place_of(self, key: bytes | None) -> object:
        """The value that orders a message within its partition; None for no order."""
        if self.ordering.mode is OrderingMode.UNORDERED:
            return None
        if self.ordering.mode is OrderingMode.PARTITION:
            return "the whole partition"
        if key is None and self.ordering.null_keys is NullKeyOrdering.UNORDERED:
            return None
        return ("key", key)

    def entry_of(self, running: Running) -> Entry | None:
        """The entry of an attempt that still counts, None where its assignment ended or its offset was forgotten."""
        partition = self.partitions.get(running.tp)
        entry = None if partition is None else partition.entries.get(running.offset)
        return entry if entry is running.entry else None

    def states(self, partition: Partition) -> dict[int, State]:
        """The state of each unfinished offset."""
        return {offset: entry.state for offset, entry in partition.entries.items()}

    def next_of_place(self, running: Running) -> int | None:
        """The offset that may start after ``running``, which still counts, has ended well; None if there is none."""
        partition = self.partitions[running.tp]
        if running.place is None or partition.is_stopped:
            return None
        behind = [entry for entry in partition.entries.values() if self.place_of(entry.key) == running.place]
        return min((entry.offset for entry in behind if entry is not running.entry), default=None)

    def ready_offsets(self, partition: Partition) -> list[int]:
        """Whether a message may start: none of its place is unfinished before it, and no attempt of its place runs."""
        if partition.is_stopped:
            return []
        busy = {running.place for running in self.running.values() if running.tp == partition.tp}
        ready = []
        for offset in sorted(partition.entries):
            entry = partition.entries[offset]
            place = self.place_of(entry.key)
            if place is not None:
                if place in busy:
                    continue
                busy.add(place)
            if entry.state is State.QUEUED:
                ready.append(offset)
        return ready

    def deliver(self, partition: Partition, offset: int, key: bytes | None, size_bytes: int) -> None:
        if offset in partition.done_before:
            partition.skipped += 1
        else:
            partition.entries[offset] = Entry(offset, key, size_bytes)
        partition.next_offset = offset + 1

    def start(self, item: WorkItem) -> None:
        entry = self.partitions[item.tp].entries[item.offset]
        entry.state = State.RUNNING
        self.running[id(item)] = Running(item, item.tp, item.offset, self.place_of(entry.key), entry)

    def end_attempt(self, running: Running) -> bool:
        """An attempt ended. Returns whether it still counts; if so, the caller reports the message's outcome next."""
        del self.running[id(running.item)]
        return self.entry_of(running) is not None

    def finish(self, running: Running) -> None:
        partition = self.partitions[running.tp]
        del partition.entries[running.offset]
        partition.finished += 1
        partition.moves += 1

    def fail(self, running: Running) -> None:
        """The last attempt of a message failed: it is held until it is settled."""
        self.partitions[running.tp].failed += 1
        running.entry.state = State.HELD
        self.held[id(running.item)] = running

    def settle(self, held: Running) -> bool:
        """A held message is settled; returns whether it still counted."""
        del self.held[id(held.item)]
        if self.entry_of(held) is None:
            return False
        self.finish(held)
        return True

    def put_back(self, running: Running) -> None:
        """A message is to run again."""
        running.entry.state = State.QUEUED

    def go_back(self, partition: Partition, epoch: int, offset: int) -> None:
        partition.entries = {known: entry for known, entry in partition.entries.items() if known < offset}
        partition.epoch = epoch
        partition.next_offset = offset
        partition.done_before = set()
        partition.restored_top = 0
        partition.confirmed = None
        partition.moves += 1
        partition.highest_snapshot = 0

    def end(self, tp: TopicPartition) -> None:
        partition = self.partitions.pop(tp)
        self.ended[tp].update(finished=partition.finished, failed=partition.failed, skipped=partition.skipped)
