"""The approximate time at which an offset was read, from occasional looks at each partition: messages do not carry it.

A time per message would cost every message; here a partition costs one comparison per look. The number of looks per
partition is bounded: the older they are, the fewer are kept, so the error is a small part of the age.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrallel_consumer.dto import TopicPartition

MOST_LOOKS: Final = 128
"""Enough for a look per second during a month: about eight are kept for each growth of the age by the factor e."""
PRECISION: Final = 8
"""A look may be dropped if the next one came within its age divided by this number."""

Assignment = tuple["TopicPartition", int]


class ReadTimes:
    """For each assignment (partition and epoch): up to which offset had been read at which time."""

    def __init__(self) -> None:
        self._looks: dict[Assignment, tuple[list[int], list[float]]] = {}

    def look(self, now: float, read_up_to: Iterable[tuple[Assignment, int]]) -> None:
        """All present assignments, each with the next offset that it will read; all others are forgotten."""
        kept: dict[Assignment, tuple[list[int], list[float]]] = {}
        for assignment, next_offset in read_up_to:
            offsets, times = kept[assignment] = self._looks.get(assignment, ([], []))
            if offsets and offsets[-1] >= next_offset:
                continue
            if len(offsets) >= MOST_LOOKS:
                _thin(offsets, times, now)
            offsets.append(next_offset)
            times.append(now)
        self._looks = kept

    def read_at(self, assignment: Assignment, offset: int) -> float | None:
        """About the time of the first look after ``offset`` was read, None if it was read after the last look."""
        offsets, times = self._looks.get(assignment, ([], []))
        at = bisect_right(offsets, offset)
        return times[at] if at < len(offsets) else None


def _thin(offsets: list[int], times: list[float], now: float) -> None:
    """Drop at least one look: each that a close later look can replace, else the oldest."""
    kept = [len(times) - 1]
    for at in range(len(times) - 2, -1, -1):
        if times[kept[-1]] - times[at] > (now - times[at]) / PRECISION:
            kept.append(at)
    kept = kept[MOST_LOOKS - 2 :: -1]
    offsets[:] = [offsets[at] for at in kept]
    times[:] = [times[at] for at in kept]
