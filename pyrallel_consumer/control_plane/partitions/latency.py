"""How long items took from submission to completion, by partition, as counts by bucket: a histogram of Prometheus.

This is every message's path, so almost nothing is done per item. In an ordered queue the queue holds the start time of
the running item; any other item holds its own. A duration is appended to a list. The list is sorted into buckets when
somebody reads the histogram, or when it has become long. Quick items are not appended: only their sum is kept, and
their number is that of the successes minus the appended ones. An item that took next to nothing passes its start on to
its successor in the queue. So many of these items are summed at once, and each costs one comparison. Pure: time is
passed in.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

from pyrallel_consumer.dto import DURATION_BOUNDS_SECONDS, Durations

QUICK_SECONDS: Final = DURATION_BOUNDS_SECONDS[0]
"""A duration of at most this belongs to the first bucket."""
MOST_PENDING: Final = 10_000
"""How many durations are kept unsorted; checked once per tick."""


class Histogram:
    """Counts durations. ``pending`` may be appended to directly: seconds that are not in a bucket yet."""

    __slots__ = ("_counts", "_total_seconds", "pending")

    def __init__(self) -> None:
        self.pending: list[float] = []
        self._counts = [0] * (len(DURATION_BOUNDS_SECONDS) + 1)
        self._total_seconds = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """``times`` durations of ``seconds`` each."""
        self._counts[bisect_left(DURATION_BOUNDS_SECONDS, seconds)] += times
        self._total_seconds += seconds * times

    def settle(self) -> None:
        """Sort the pending durations into the buckets."""
        pending = self.pending
        if not pending:
            return
        pending.sort()
        self._total_seconds += sum(pending)
        counts, low, last = self._counts, 0, len(pending)
        for at, bound in enumerate(DURATION_BOUNDS_SECONDS):
            high = bisect_right(pending, bound, low)
            counts[at] += high - low
            low = high
            if low == last:
                break
        counts[-1] += last - low
        pending.clear()

    def taken(self) -> Durations:
        """The distribution as it is now."""
        self.settle()
        return Durations(tuple(self._counts), self._total_seconds)


class Latencies(Histogram):
    """Durations of one partition's messages. ``pending`` is for successes, ``add`` for items that ended otherwise.

    ``quick_seconds`` is the sum of the successes that took at most ``QUICK_SECONDS`` and were not appended. The hot
    path writes it inline, as ``succeeded`` does: a call would cost more than the rest.
    """

    __slots__ = ("_appended", "quick_seconds")

    def __init__(self) -> None:
        super().__init__()
        self.quick_seconds = 0.0
        self._appended = 0

    def succeeded(self, took: float) -> None:
        """A message that took ``took`` seconds is finished."""
        if took > QUICK_SECONDS:
            self.pending.append(took)
        else:
            self.quick_seconds += took

    def settle(self) -> None:
        self._appended += len(self.pending)
        super().settle()

    def taken_of(self, successes: int) -> Durations:
        """The distribution as it is now, with this number of ``successes`` and all added durations."""
        first, *others = self.taken().counts
        quick = successes - self._appended
        return Durations((first + quick, *others), self._total_seconds + self.quick_seconds)
