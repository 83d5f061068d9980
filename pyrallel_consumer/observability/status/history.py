"""The last minutes of a consumer in one small row per second, for the status page's curves.

Owned by the event loop, which notes one row from each second's picture; ``moments`` is a frozen tuple that any thread
may read. Its size does not depend on what the consumer does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

SECONDS_BETWEEN: Final = 1.0
MOST_MOMENTS: Final = 300


class Totals(NamedTuple):
    """What a consumer had done and had before it at one time.

    ``lag`` is what is not committed, None while no broker answers, ``backlog`` what is not finished, of all that is in
    the log as far as is known.
    ``backlogs`` has the backlog of each partition the end of whose log is known, by partition and epoch.
    ``latency`` counts finished messages by how long they took, bucket by bucket; empty where nobody measures.
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
    """One second: rates since the moment before, the rest as it was at ``at``. Latencies are None where none ended.

    ``grown`` is by how much the backlog grew since the moment before, negative where it shrank, of partitions that were
    known at both: what is discovered or revoked is neither growth nor work.
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
    """``bounds`` are the upper bounds of the latency's buckets; one more bucket has what is above."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.moments: tuple[Moment, ...] = ()
        self._bounds = bounds
        self._last: Totals | None = None

    def is_due(self, now: float) -> bool:
        """Whether a moment is to be noted."""
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
    """About the value below which ``part`` of what was counted lies, evenly spread within its bucket; None for none.

    What lies above the last bound counts as that bound.
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
