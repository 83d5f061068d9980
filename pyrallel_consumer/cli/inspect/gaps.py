"""The state of one partition in a group's commit: its offset, the finished offsets above it, and the missing ones.

Pure. A consumer uses the same rule, at an assignment, to believe or refuse the map.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.reading.start_offset import Committed, restore

PICTURE_CELLS: Final = 32
RANGES_SHOWN: Final = 4


class Signs(NamedTuple):
    """The cells of a picture."""

    finished: str
    partly: str
    unfinished: str
    unread: str


BLOCKS: Final = Signs("█", "▒", "░", "·")
PLAIN: Final = Signs("#", "+", "-", ".")
"""For terminals without UTF-8."""


@dataclass(frozen=True, slots=True)
class PartitionGaps:
    """One partition. ``committed_offset`` is None where the group has none; ``map`` is empty then, or where refused.

    ``warning`` says why a map was refused, or that offset and log do not fit each other.
    """

    tp: TopicPartition
    committed_offset: int | None
    log_start_offset: int
    log_end_offset: int
    map: OffsetMap
    warning: str | None = None

    @property
    def lag(self) -> int:
        """Offsets from the committed one, or the log's start, to the log's end."""
        return max(0, self.log_end_offset - self._base)

    @property
    def finished_above(self) -> int:
        """Offsets above the committed one that are finished, or that never held a record."""
        return self.map.top - self.map.base - len(self.map.unfinished)

    @property
    def gap_count(self) -> int:
        """Runs of finished offsets above the committed one, as ``consumer_gap_count`` counts them."""
        count, position = 0, self.map.base
        for first, last in self.unfinished_ranges():
            count += first > position
            position = last + 1
        return count + (self.map.top > position)

    @property
    def _base(self) -> int:
        return self.log_start_offset if self.committed_offset is None else self.committed_offset

    def unfinished_ranges(self) -> Sequence[tuple[int, int]]:
        """The unfinished offsets of the map, as (first, last) with both ends included."""
        return list(_ranges(self.map.unfinished))

    def picture(self, signs: Signs = BLOCKS, cells: int = PICTURE_CELLS) -> str:
        """From the committed offset to the log's end in at most ``cells`` cells; empty if there is nothing between."""
        count = min(cells, self.lag)
        edges = [self._base + self.lag * at // count for at in range(count + 1)] if count else []
        return "".join(self._cell(start, end, signs) for start, end in pairwise(edges))

    def _cell(self, start: int, end: int, signs: Signs) -> str:
        if start >= self.map.top:
            return signs.unread
        unfinished = bisect_left(self.map.unfinished, end) - bisect_left(self.map.unfinished, start)
        todo = unfinished + max(0, end - self.map.top)
        if todo == 0:
            return signs.finished
        return signs.unfinished if todo == end - start else signs.partly

    def to_json(self) -> dict[str, Any]:
        """The form of ``--json``."""
        return {
            "partition": self.tp.partition,
            "committed_offset": self.committed_offset,
            "log_start_offset": self.log_start_offset,
            "log_end_offset": self.log_end_offset,
            "lag": self.lag,
            "finished_above": self.finished_above,
            "to_do": self.lag - self.finished_above,
            "gap_count": self.gap_count,
            "map_end_offset": self.map.top,
            "unfinished_count": len(self.map.unfinished),
            "unfinished_ranges": self.unfinished_ranges(),
            "warning": self.warning,
        }


def gaps_of(
    tp: TopicPartition, committed_offset: int | None, metadata: str | None, low: int, high: int
) -> PartitionGaps:
    """The commit compared with the log from ``low`` to ``high``, which was read after the commit."""
    if committed_offset is None:
        return PartitionGaps(tp, None, low, high, OffsetMap(low, low))
    restored, warning, _ = restore(tp, Committed(committed_offset, metadata), high)
    if committed_offset > high:
        warning = (
            f"the offset committed for {tp}, {committed_offset}, is past the end of the log at {high}: "
            "the topic was truncated or created again"
        )
    elif committed_offset < low:
        warning = f"{low - committed_offset} offsets of {tp} from {committed_offset} on are no longer in the log"
    return PartitionGaps(tp, committed_offset, low, high, restored, warning)


def ranges_text(ranges: Sequence[tuple[int, int]], shown: int = RANGES_SHOWN) -> str:
    """The first of the ranges, and how many follow; a dash for none."""
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in ranges[:shown]]
    more = len(ranges) - len(texts)
    return ", ".join(texts) + (f", and {more:,} more" if more else "") or "-"


def _ranges(offsets: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for offset in offsets:
        if first is None or last is None:
            first = offset
        elif offset != last + 1:
            yield first, last
            first = offset
        last = offset
    if first is not None and last is not None:
        yield first, last
