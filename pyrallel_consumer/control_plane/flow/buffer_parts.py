"""The part of the buffer that each partition occupies, and the sums over them that fair shares need.

All numbers are integers, so that a running sum equals a newly computed sum: ``whole`` is the whole buffer, ``message``
is the part of one message. The cost does not grow with the number of partitions, with two exceptions: when that number
changes, and now and then in ``search``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrallel_consumer.control_plane.flow.backpressure import Load
    from pyrallel_consumer.control_plane.policies import FlowLimits
    from pyrallel_consumer.dto import TopicPartition

RESERVED = 0.5
"""Part of the buffer that is reserved for the partitions in equal shares, even if one of them is hot."""

NOTES_PER_SEARCH = 8
"""``search`` runs when the notes since the last search, times this number, reach the number of partitions."""


class BufferParts:
    """Each partition has the same ``reserve``. A partition is *open* unless the last review found it full."""

    __slots__ = (
        "_above",
        "_above_full",
        "_above_total",
        "_blocked",
        "_byte",
        "_full",
        "_is_stale",
        "_notes",
        "_parts",
        "_top",
        "blocked",
        "message",
        "reserve",
        "total",
        "whole",
    )

    def __init__(self, limits: FlowLimits) -> None:
        self.message, self._byte = limits.max_bytes, limits.max_messages
        self.whole = limits.max_messages * limits.max_bytes
        self.reserve = self.total = self.blocked = 0
        self._parts: dict[TopicPartition, int] = {}
        self._blocked: dict[TopicPartition, int] = {}
        self._full: frozenset[TopicPartition] = frozenset()
        self._above = self._above_total = self._above_full = self._top = self._notes = 0
        self._is_stale = False

    def __len__(self) -> int:
        return len(self._parts)

    def note(self, tp: TopicPartition, load: Load) -> None:
        """``tp`` has this load now."""
        part = max(load.messages * self.message, load.size_bytes * self._byte)
        blocked = int(part * load.blocked_part)
        before = self._parts.get(tp)
        self.total += part - (before or 0)
        self.blocked += blocked - self._blocked.get(tp, 0)
        self._parts[tp], self._blocked[tp] = part, blocked
        if before is None:
            self._is_stale = True  # The reserve of every partition has changed.
        elif not self._is_stale:
            self._count(tp, before, -1)
            self._count(tp, part, 1)
            self._notes += 1
            if tp not in self._full:
                self._top = max(self._top, part)

    def forget(self, tp: TopicPartition) -> None:
        """``tp`` is no longer assigned."""
        self.total -= self._parts.pop(tp, 0)
        self.blocked -= self._blocked.pop(tp, 0)
        self._full -= {tp}
        self._is_stale = True

    def fill(self, tps: Iterable[TopicPartition]) -> None:
        """These partitions are full, and no others."""
        full = frozenset(tps)
        if full != self._full:
            self._full = full
            self._is_stale = True

    @property
    def spare(self) -> int:
        """The part of the buffer that is neither occupied nor reserved; negative if more is occupied than there is."""
        self._settle()
        return self.whole - self._above_total - self.reserve * (len(self._parts) - self._above)

    @property
    def is_all_above(self) -> bool:
        """Whether every partition has used up its reserve."""
        self._settle()
        return self._above == len(self._parts)

    @property
    def own(self) -> int:
        """How much every open partition may still take of its own reserve; may be too little, never too much."""
        self._settle()
        if self._above > self._above_full or len(self._full) == len(self._parts):
            return 0
        if self._notes * NOTES_PER_SEARCH >= len(self._parts):
            self.search()
        return max(0, self.reserve - self._top)

    def above(self) -> set[TopicPartition]:
        """The partitions that have used up their reserve."""
        self._settle()
        return {tp for tp, part in self._parts.items() if part >= self.reserve}

    def _count(self, tp: TopicPartition, part: int, sign: int) -> None:
        if part >= self.reserve:
            self._above += sign
            self._above_total += sign * part
            self._above_full += sign * (tp in self._full)

    def _settle(self) -> None:
        if self._is_stale:
            self._is_stale = False
            self.reserve = int(self.whole * RESERVED) // len(self._parts) if self._parts else 0
            self._above = self._above_total = self._above_full = 0
            for tp, part in self._parts.items():
                self._count(tp, part, 1)
            self.search()

    def search(self) -> None:
        """Look for the largest part of an open partition, so that ``own`` is exact. Called at every tick at least."""
        self._notes = 0
        self._top = max((part for tp, part in self._parts.items() if tp not in self._full), default=0)
