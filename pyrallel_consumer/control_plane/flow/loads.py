"""The load of all assigned partitions together, without a look at each of them in every turn.

Every change of a partition's work is followed by ``touch``. For each touched partition, a sum subtracts the number that
it last counted and adds the present one. So it cannot drift, and its cost grows with the touched partitions only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from pyrallel_consumer.control_plane.flow.backpressure import Load
from pyrallel_consumer.control_plane.flow.buffer_parts import BufferParts

if TYPE_CHECKING:
    from collections.abc import Collection

    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
    from pyrallel_consumer.control_plane.policies import FlowLimits
    from pyrallel_consumer.dto import TopicPartition


Counted: TypeAlias = tuple[int, int, int, int, int]
"""The load of one partition: messages, their bytes, blocked ones, ones in flight, and ones ready to start. The last
number is 0 while the partition is being revoked."""
NOTHING: Counted = (0, 0, 0, 0, 0)


class Loads:
    """Sums over the partitions between ``assign`` and ``end``."""

    def __init__(self, limits: FlowLimits) -> None:
        self._limits = limits
        self._parts = BufferParts(limits)
        self._touched: list[PartitionWork] = []
        # Not sets: their order depends on addresses, and a seed of the simulator must replay exactly.
        self._unmeasured: dict[PartitionWork, None] = {}
        self._unnoted: dict[PartitionWork, None] = {}
        self._moved: dict[PartitionWork, None] = {}
        self._messages = self._size_bytes = self._blocked = self._in_flight = self._ready = 0

    def assign(self, work: PartitionWork) -> None:
        """A partition is assigned: count it from now on."""
        work.counted = NOTHING
        self.touch(work)

    def end(self, work: PartitionWork) -> None:
        """A partition is no longer assigned: do not count it any more, even if it is touched."""
        self._settle()
        messages, size_bytes, blocked, in_flight, ready = work.counted or NOTHING
        self._messages -= messages
        self._size_bytes -= size_bytes
        self._blocked -= blocked
        self._in_flight -= in_flight
        self._ready -= ready
        work.counted = None
        for works in (self._unmeasured, self._unnoted, self._moved):
            works.pop(work, None)
        self._parts.forget(work.tp)

    def touch(self, work: PartitionWork) -> None:
        """The load of ``work`` has changed, or will change before the next question."""
        if not work.is_touched:
            work.is_touched = True
            self._touched.append(work)

    @property
    def load(self) -> Load:
        """All messages that are read and not finished, with their bytes as measured last."""
        self._settle()
        return Load(self._messages, self._size_bytes, self._blocked)

    @property
    def in_flight(self) -> int:
        """Items started and not finished."""
        self._settle()
        return self._in_flight

    @property
    def ready(self) -> int:
        """Items that could start now."""
        self._settle()
        return self._ready

    @property
    def measured_load(self) -> Load:
        """Like ``load``; the bytes are measured again if they matter."""
        load = self.load
        if load.size_bytes * 2 > self._limits.max_bytes:
            for work in [*self._unmeasured]:
                work.loaded.measure(work.tracker.unfinished, work.finished)
                self.touch(work)
                if work.loaded.is_counted(work.finished):
                    del self._unmeasured[work]
            load = self.load
        return load

    def count_bytes(self) -> None:
        """Count the bytes of all changed partitions again."""
        self._settle()
        for work in self._unmeasured:
            work.loaded.count(work.tracker.unfinished, work.finished)
            self.touch(work)
        self._settle()
        self._unmeasured.clear()

    def take_moved(self) -> Collection[PartitionWork]:
        """The partitions that were touched since the last call."""
        self._settle()
        moved, self._moved = self._moved, {}
        return moved

    def parts(self, full: Collection[TopicPartition]) -> BufferParts:
        """The part of the buffer that each partition occupies; ``full`` are the full ones."""
        self._settle()
        parts = self._parts
        for work in self._unnoted:
            parts.note(work.tp, work.load)
        self._unnoted.clear()
        parts.fill(full)
        return parts

    def _settle(self) -> None:
        touched = self._touched
        if not touched:
            return
        unnoted, unmeasured, moved = self._unnoted, self._unmeasured, self._moved
        for work in touched:
            work.is_touched = False
            before = work.counted
            if before is None:
                continue
            messages = len(work.tracker.unfinished) - len(work.unwritten)
            size_bytes, blocked = work.loaded.total, work.blocked
            in_flight, ready = work.in_flight, len(work.ready) if work.is_dispatching else 0
            self._messages += messages - before[0]
            self._size_bytes += size_bytes - before[1]
            self._blocked += blocked - before[2]
            self._in_flight += in_flight - before[3]
            self._ready += ready - before[4]
            work.counted = (messages, size_bytes, blocked, in_flight, ready)
            unnoted[work] = None
            unmeasured[work] = None
            moved[work] = None
        touched.clear()
