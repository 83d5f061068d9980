"""One partition's offsets: those delivered and unfinished, and from them the committable offset and the map.

Offsets are delivered in ascending order and dicts keep insertion order, so the first key of ``unfinished`` is the
committable offset; without any it is the position after the last delivered offset. Only delivered offsets are known
here: holes left by compaction, transaction markers and aborted transactions stall nothing.
"""

from __future__ import annotations

from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final

from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap

if TYPE_CHECKING:
    from collections.abc import Collection

    from pyrallel_consumer.dto import WorkItem

MOST_GAPS: Final = 20_000
"""Most unfinished offsets of one map. Fewer fit into a commit's metadata, unless they are very regular."""


class OffsetTracker:
    """Delivered and unfinished offsets of one partition under one epoch.

    ``unfinished`` and ``next_offset`` are written by ``PartitionWork``, whose loop over a batch is the hot path and
    cannot afford a call per message; everybody else asks the methods.
    """

    __slots__ = ("_restored", "_restored_at", "next_offset", "unfinished", "version")

    def __init__(self, start_offset: int, restored: OffsetMap) -> None:
        self.unfinished: dict[int, WorkItem] = {}
        self.next_offset = start_offset
        self.version = 0
        self._restored: OffsetMap | None = restored if restored.top > start_offset else None
        self._restored_at = 0

    @property
    def committable_offset(self) -> int:
        """The lowest unfinished offset, or the position after the last delivered one. Exclusive."""
        for offset in self.unfinished:
            return offset
        return self.next_offset

    @property
    def blocking_offset(self) -> int | None:
        """The offset that blocks the commit: the lowest unfinished one, None without any."""
        return next(iter(self.unfinished), None)

    @property
    def is_restoring(self) -> bool:
        """Whether delivery has not yet passed the top of the restored map."""
        return self._restored is not None

    def is_done_before(self, offset: int, leader_epoch: int | None = None) -> bool:
        """Whether an earlier owner finished ``offset``, which is being delivered now. Ask in ascending order.

        ``leader_epoch`` is that of its record. If it is newer than the restored map's, the log was cut below the map's
        top and has grown again. The map is then about records that are gone, and is dropped.
        """
        restored = self._restored
        if restored is None:
            return False
        if offset >= restored.top:
            self._restored = None
            return False
        if leader_epoch is not None and restored.leader_epoch is not None and leader_epoch > restored.leader_epoch:
            self._restored = None
            self.version += 1
            return False
        at, unfinished = self._restored_at, restored.unfinished
        while at < len(unfinished) and unfinished[at] < offset:
            at += 1
        self._restored_at = at
        return at == len(unfinished) or unfinished[at] != offset

    def advance(self, position: int) -> None:
        """The client has nothing more before ``position``, which never goes back."""
        self.next_offset = max(self.next_offset, position)

    def go_back(self, offset: int) -> list[WorkItem]:
        """Forget ``offset`` and all above it, also in the restored map; returns the unfinished items among them."""
        forgotten = [item for known, item in self.unfinished.items() if known >= offset]
        for item in forgotten:
            del self.unfinished[item.offset]
        self.next_offset = offset
        self._restored = None
        self.version += 1
        return forgotten

    def finished_map(self, leader_epoch: int | None = None, most_gaps: int = MOST_GAPS) -> OffsetMap:
        """The finished offsets from the committable one on, including the rest of the restored map.

        ``leader_epoch`` is that of the last delivered record. If the restored map reaches further, its own is kept.

        With more than ``most_gaps`` unfinished offsets, the map ends at the first offset beyond that number: a commit's
        metadata has no room for more, and the work for one commit must not grow with the backlog.
        """
        unfinished = list(islice(self.unfinished, most_gaps + 1))
        base = unfinished[0] if unfinished else self.next_offset
        if len(unfinished) > most_gaps:
            top = unfinished.pop()
            return OffsetMap(base, top, tuple(unfinished), leader_epoch)
        top = self.next_offset
        restored = self._restored
        if restored is not None and restored.top > top:
            rest = restored.unfinished[self._restored_at :]
            unfinished.extend(offset for offset in rest if offset >= top)
            top, leader_epoch = restored.top, restored.leader_epoch
        return OffsetMap(base, top, tuple(unfinished), leader_epoch)

    def map_as_if(self, finished: Collection[int], top: int, leader_epoch: int | None) -> OffsetMap | None:
        """The map up to ``top``, if ``finished`` were done too; None if it has more than ``MOST_GAPS`` gaps.

        ``finished`` are unfinished offsets below ``top``. The rest of the restored map is included up to ``top``.
        """
        done = frozenset(finished)
        unfinished: list[int] = []
        base = None
        for offset in self.unfinished:
            if offset in done:
                continue
            base = offset if base is None else base
            if offset >= top:
                break
            unfinished.append(offset)
            if len(unfinished) > MOST_GAPS:
                return None
        if base is None:
            base = self.next_offset
        if self._restored is not None and top > self.next_offset:
            rest = self._restored.unfinished[self._restored_at :]
            unfinished.extend(offset for offset in rest if self.next_offset <= offset < top)
        if base >= top:
            return OffsetMap(base, base, (), leader_epoch)
        return OffsetMap(base, top, tuple(unfinished), leader_epoch)

    def gap_count(self) -> int:
        """Runs of finished offsets above the committable one, which the commit cannot reach yet.

        Counts among the lowest ``MOST_GAPS`` unfinished offsets, as the map does: its cost must not grow with the
        backlog.
        """
        offsets = list(islice(self.unfinished, MOST_GAPS + 1))
        if not offsets:
            return 0
        between = sum(1 for low, high in pairwise(offsets) if high - low > 1)
        return between + (len(offsets) <= MOST_GAPS and self.next_offset - offsets[-1] > 1)
