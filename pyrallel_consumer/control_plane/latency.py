"""How long items took from submission to completion, by partition, as counts by bucket: a histogram of Prometheus.

The way of every message, so almost nothing is done per item. Items are submitted in batches and, from workers that do
not wait, come back in the same order: then a batch, or as much of it as came back, is counted by partition in one
addition each, after one comparison of lists. Only when something comes back out of order do items get their start
written on them; those that are taken in together are then counted by it. Pure: time is passed in.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from operator import attrgetter
from typing import TYPE_CHECKING

from pyrallel_consumer.dto import DURATION_BOUNDS_SECONDS, Durations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrallel_consumer.control_plane.partition_work import PartitionWork
    from pyrallel_consumer.dto import WorkItem

    Run = tuple[PartitionWork, int]

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


class _Batch:
    """Items that were submitted together; the first ``done`` of them are counted, ``runs`` tells of the others."""

    __slots__ = ("at", "done", "items", "runs")

    def __init__(self, at: float, items: list[WorkItem], runs: list[Run]) -> None:
        self.at = at
        self.items = items
        self.runs = runs
        self.done = 0

    def count(self, times: int, now: float) -> None:
        """The next ``times`` items have ended."""
        self.done += times
        seconds, runs = now - self.at, self.runs
        while times:
            work, left = runs[0]
            counted = min(left, times)
            if work.latency is not None:
                work.latency.add(seconds, counted)
            times -= counted
            if counted == left:
                del runs[0]
            else:
                runs[0] = work, left - counted

    def count_all(self, now: float) -> None:
        """All items have ended, and none was counted before."""
        seconds = now - self.at
        for work, times in self.runs:
            if work.latency is not None:
                work.latency.add(seconds, times)

    def stamp(self) -> None:
        """Write on each item that is not counted when it was submitted."""
        at = self.done
        for work, count in self.runs:
            start = Start(self.at, work)
            for item in self.items[at : at + count]:
                item._submitted = start  # noqa: SLF001 -- a place that items keep for this class
            at += count


class Stopwatch:
    """Times what the control loop submits. All times are seconds of one clock.

    ``runs`` is written by the work manager as it hands items out: (partition, how many) in their order.
    """

    __slots__ = ("_batches", "runs")

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self._batches: deque[_Batch] = deque()

    def submitted(self, items: list[WorkItem], at: float) -> None:
        """``items``, in this order and not to be changed any more, are submitted ``at`` this time."""
        runs, self.runs = self.runs, []
        if sum(count for _, count in runs) != len(items):
            runs = [(item.origin.work, 1) for item in items]  # Not all that was handed out is submitted.
        self._batches.append(_Batch(at, items, runs))

    def succeeded(self, items: list[WorkItem], now: float) -> None:
        """``items`` were taken in."""
        batches, at = self._batches, 0
        if batches and items == batches[0].items and not batches[0].done:  # All of it: the way of most messages.
            batches.popleft().count_all(now)
            return
        while at < len(items) and batches:
            batch = batches[0]
            left = len(batch.items) - batch.done
            times = min(left, len(items) - at)
            if items[at : at + times] != batch.items[batch.done : batch.done + times]:
                break
            batch.count(times, now)
            at += times
            if times == left:
                batches.popleft()
        if at < len(items):
            self._stamp()
            for start, count in _counted(items[at:]).items():
                _add(start, now, count)

    def failed(self, item: WorkItem, now: float) -> None:
        """The last attempt of ``item`` failed."""
        self._stamp()
        _add(_start(item), now, 1)
        item._submitted = None  # noqa: SLF001 -- as above; it may be submitted again

    def forget(self, item: WorkItem) -> None:
        """``item`` was given back unfinished, and begins anew when it is submitted again."""
        self._stamp()
        item._submitted = None  # noqa: SLF001 -- as above

    def _stamp(self) -> None:
        while self._batches:
            self._batches.popleft().stamp()


def _add(start: Start | None, now: float, times: int) -> None:
    if start is not None and start.work.latency is not None:
        start.work.latency.add(now - start.at, times)


def _start(item: WorkItem) -> Start | None:
    return getattr(item, "_submitted", None)


def _counted(items: Sequence[WorkItem]) -> Counter[Start | None]:
    try:
        return Counter(map(_start_of, items))
    except AttributeError:  # Some of them were never submitted here.
        return Counter(map(_start, items))
