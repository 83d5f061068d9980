"""The gap window of a partition in bounded size: from the committed offset to the last read one, in buckets.

Pure, and made only when an operator looks: nothing here is on a message's path.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_BUCKETS: Final = 200


class OffsetState(StrEnum):
    """The present state of an unfinished offset. All other offsets are finished, or were never in the log.

    ``failing`` waits for another attempt; ``held`` failed its last one and keeps its offset (dead letter not yet
    acknowledged, or its partition is paused for it); ``stuck`` timed out or was cancelled and has not ended.
    """

    RUNNING = "running"
    QUEUED = "queued"
    FAILING = "failing"
    HELD = "held"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class GapWindow:
    """Offsets ``base`` to ``top`` (exclusive) in buckets of ``width``; the last bucket may be narrower.

    ``counts`` has, for each state that occurs, how many offsets of each bucket are in it; the rest of a bucket is
    finished. ``unseen`` unfinished offsets from ``top`` on were not looked at.
    """

    base: int
    top: int
    width: int
    counts: Mapping[OffsetState, tuple[int, ...]]
    unseen: int = 0

    @property
    def buckets(self) -> int:
        """How many buckets there are; none if there are no offsets above the committed one."""
        return -(-(self.top - self.base) // self.width)


def gap_window(
    base: int,
    top: int,
    unfinished: Iterable[tuple[int, OffsetState]],
    *,
    unseen: int = 0,
    most_buckets: int = MOST_BUCKETS,
) -> GapWindow:
    """Count ``unfinished`` offsets, from ``base`` up to and without ``top``, into buckets of equal width."""
    width = max(1, -(-(top - base) // most_buckets))
    buckets = -(-(top - base) // width)
    counts: dict[OffsetState, list[int]] = {}
    for offset, state in unfinished:
        row = counts.get(state)
        if row is None:
            row = counts[state] = [0] * buckets
        row[(offset - base) // width] += 1
    return GapWindow(base, top, width, {state: tuple(row) for state, row in counts.items()}, unseen)
