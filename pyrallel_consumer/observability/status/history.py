"""The last minutes of a consumer, one small row per second, for the status page's curves.

Owned by the event loop, which adds one row from each second's snapshot; ``moments`` is a frozen tuple that any thread
may read. Its size does not depend on the consumer's load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

SECONDS_BETWEEN: Final = 1.0
MOST_MOMENTS: Final = 300


class Totals(NamedTuple):
    """The finished and the remaining messages of a consumer at one time.

    ``lag`` counts messages in the log that are not committed, None while no broker answers. ``backlog`` counts
    unfinished messages, as far as the log's end is known. ``backlogs`` has the backlog of each partition with a known
    log end, by partition and epoch. ``latency`` counts finished messages by duration, bucket by bucket; empty if
    durations are not measured.
    """

    at: float
    finished: int
    failed: int
    lag: int | None
    backlog: int
    load: int
    in_flight: int
    latency: Sequence[int] = ()
    backlogs: Mapping[object, int] = MappingProxyType({})


class Moment(NamedTuple):
    """One second: rates since the moment before, all else at the time ``at``. Latencies are None if no message ended.

    ``grown`` is the growth of the backlog since the moment before, negative if it shrank. It counts only partitions
    that were known at both: a discovered or revoked partition is neither growth nor work.
    """

    at: float
    finished_per_second: float
    failed_per_second: float
    lag: int | None
    backlog: int
    load: int
    in_flight: int
    latency_median: float | None
    latency_p99: float | None
    grown: int = 0


class History:
    """``bounds`` are the upper bounds of the latency's buckets; one more bucket has the longer latencies."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.moments: tuple[Moment, ...] = ()
        self._bounds = bounds
        self._last: Totals | None = None

    def is_due(self, now: float) -> bool:
        """Whether the next row is due."""
        return self._last is None or now >= self._last.at + SECONDS_BETWEEN

    def note(self, totals: Totals) -> None:
        """The consumer as it is now. Totals that shrank, as when partitions are revoked, count as no change."""
        last, self._last = self._last, totals
        if last is None or totals.at <= last.at:
            return
        seconds = totals.at - last.at
        counts = [max(0, new - old) for new, old in zip(totals.latency, last.latency, strict=False)]
        moment = Moment(
            at=totals.at,
            finished_per_second=max(0, totals.finished - last.finished) / seconds,
            failed_per_second=max(0, totals.failed - last.failed) / seconds,
            lag=totals.lag,
            backlog=totals.backlog,
            load=totals.load,
            in_flight=totals.in_flight,
            latency_median=quantile(counts, self._bounds, 0.5),
            latency_p99=quantile(counts, self._bounds, 0.99),
            grown=sum(now - last.backlogs[each] for each, now in totals.backlogs.items() if each in last.backlogs),
        )
        self.moments = (*self.moments[1 - MOST_MOMENTS :], moment)


def quantile(counts: Sequence[int], bounds: Sequence[float], part: float) -> float | None:
    """The approximate quantile ``part`` of the counted values, evenly spread within a bucket; None without values.

    A value above the last bound counts as that bound.
    """
    wanted = sum(counts) * part
    if not wanted:
        return None
    low = 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and wanted <= count:
            return min(bound, low + (bound - low) * wanted / count)
        wanted -= count
        low = bound
    return low
