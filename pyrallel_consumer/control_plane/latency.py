"""How long items took from submission to completion, by partition, as counts by bucket: a histogram of Prometheus.

The way of every message, so almost nothing is done per item. What was submitted together has one start; items that end
before their submission is over, as those of a worker that never waits, are counted by partition and not touched at
all. The others carry their start, and those that are taken in together are counted by it. Pure: time is passed in.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING

from pyrallel_consumer.dto import DURATION_BOUNDS_SECONDS, Durations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrallel_consumer.control_plane.partition_work import PartitionWork
    from pyrallel_consumer.dto import WorkItem

_start_of = attrgetter("_submitted")


class Histogram:
    """Counts durations."""

    __slots__ = ("_counts", "_total_seconds")

    def __init__(self) -> None:
        self._counts = [0] * (len(DURATION_BOUNDS_SECONDS) + 1)
        self._total_seconds = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """So many things took ``seconds`` each."""
        self._counts[bisect_left(DURATION_BOUNDS_SECONDS, seconds)] += times
        self._total_seconds += seconds * times

    def taken(self) -> Durations:
        """The distribution as it is now. May be called by any thread; then the last ``add`` may be half in it."""
        return Durations(tuple(self._counts), self._total_seconds)


class Start:
    """When items of one partition were submitted together."""

    __slots__ = ("at", "work")

    def __init__(self, at: float, work: PartitionWork) -> None:
        self.at = at
        self.work = work


class Stopwatch:
    """Times what the control loop submits. All times are seconds of one clock.

    ``runs`` is written by the work manager as it hands items out: (partition, how many) in their order.
    """

    __slots__ = ("_untouched", "runs")

    def __init__(self) -> None:
        self.runs: list[tuple[PartitionWork, int]] = []
        self._untouched = 0

    def submitted(self, items: Sequence[WorkItem], started_at: float, now: float, reported: Sequence[WorkItem]) -> None:
        """``items`` were submitted since ``started_at``; ``reported`` are the successes that came meanwhile."""
        runs, self.runs = self.runs, []
        if sum(count for _, count in runs) != len(items):
            runs = [(item.origin.work, 1) for item in items]  # Not all that was handed out was submitted.
        elif len(reported) == len(items) and reported[0] is items[0] and reported[-1] is items[-1]:
            self._untouched += len(items)
            for work, count in runs:
                if work.latency is not None:
                    work.latency.add(now - started_at, count)
            return
        at = 0
        for work, count in runs:
            start = Start(started_at, work)
            for item in items[at : at + count]:
                item._submitted = start  # noqa: SLF001 -- a place that items keep for this class
            at += count

    def succeeded(self, items: Sequence[WorkItem], now: float, *, left: int) -> None:
        """``items`` were taken out of the channel, and ``left`` successes are still in there."""
        if self._untouched >= len(items) + left:
            self._untouched -= len(items)
            return
        for start, count in _counted(items).items():
            if start is None:
                self._untouched -= count
            elif start.work.latency is not None:
                start.work.latency.add(now - start.at, count)

    def failed(self, item: WorkItem, now: float) -> None:
        """The last attempt of ``item`` failed."""
        start = _start(item)
        if start is not None and start.work.latency is not None:
            start.work.latency.add(now - start.at)
        self.forget(item)

    def forget(self, item: WorkItem) -> None:
        """``item`` was given back unfinished, and begins anew when it is submitted again."""
        item._submitted = None  # noqa: SLF001 -- as above


def _start(item: WorkItem) -> Start | None:
    return getattr(item, "_submitted", None)


def _counted(items: Sequence[WorkItem]) -> Counter[Start | None]:
    try:
        return Counter(map(_start_of, items))
    except AttributeError:  # Some of them were not touched, among others that were.
        return Counter(map(_start, items))
