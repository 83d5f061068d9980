"""How long things took, counted by bucket: what a histogram of Prometheus is made of. Pure, and only grows."""

from __future__ import annotations

from bisect import bisect_left

from pyrallel_consumer.dto import DURATION_BOUNDS_SECONDS, Durations


class Histogram:
    """Counts durations. ``counts`` and ``total_seconds`` may be written by who cannot afford a call each."""

    __slots__ = ("counts", "total_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(DURATION_BOUNDS_SECONDS) + 1)
        self.total_seconds = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """So many things took ``seconds`` each."""
        self.counts[bucket_of(seconds)] += times
        self.total_seconds += seconds * times

    def taken(self) -> Durations:
        """The distribution as it is now."""
        return Durations(tuple(self.counts), self.total_seconds)


def bucket_of(seconds: float) -> int:
    """The bucket in which ``seconds`` count."""
    return bisect_left(DURATION_BOUNDS_SECONDS, seconds)
