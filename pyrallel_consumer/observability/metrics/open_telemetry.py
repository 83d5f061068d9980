"""The numbers of ``get_metrics()`` as OpenTelemetry metrics, read by the application's own reader when it wants them.

Names are Prometheus', without ``_total``. A histogram is three counters, as in Prometheus: its buckets by ``le``, its
count and its sum. Instruments are made once in a process and can never be removed: after its stop, a consumer's
instruments report nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter

from pyrallel_consumer.dto import Durations, Sizes
from pyrallel_consumer.observability.metrics.families import FAMILIES, Family, Kind
from pyrallel_consumer.observability.metrics.series import HasNumbers, Series

METER: Final = "pyrallel_consumer"
ONE_READING_SECONDS: Final = 0.1
"""The callbacks of one reading follow each other at once: they share the numbers."""


class OpenTelemetryMetrics:
    """The instruments of ``meter``, and the consumers that they report."""

    def __init__(self, meter: Meter) -> None:
        self._lock = threading.Lock()
        self._members: tuple[HasNumbers, ...] = ()
        self._series = Series(())
        self._read_at = float("-inf")
        for family in FAMILIES:
            self._make(meter, family)

    def join(self, measured: HasNumbers) -> Callable[[], None]:
        """Report this consumer. Call the returned function to end that."""
        with self._lock:
            self._members = (*self._members, measured)
            self._read_at = float("-inf")

        def leave() -> None:
            with self._lock:
                self._members = tuple(each for each in self._members if each is not measured)
                self._read_at = float("-inf")

        return leave

    def _make(self, meter: Meter, family: Family) -> None:
        name, said = family.name.removesuffix("_total"), family.help
        match family.kind:
            case Kind.COUNTER:
                meter.create_observable_counter(name, [self._numbers_of(family)], description=said)
            case Kind.GAUGE:
                meter.create_observable_gauge(name, [self._numbers_of(family)], description=said)
            case Kind.HISTOGRAM:
                for suffix, part in (("count", _count), ("sum", _sum)):
                    callback = self._parts_of(family, part)
                    meter.create_observable_counter(f"{name}_{suffix}", [callback], description=said)
                meter.create_observable_counter(f"{name}_bucket", [self._buckets_of(family)], description=said)

    def _now(self) -> Series:
        with self._lock:
            now = time.monotonic()
            if now - self._read_at > ONE_READING_SECONDS:
                self._series = Series(self._members)
                self._read_at = now
            return self._series

    def _numbers_of(self, family: Family) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return self._parts_of(family, _itself)

    def _parts_of(
        self, family: Family, part: Callable[[Any], float]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            series = self._now()
            names = series.labels(family)
            for labels, value in series.of(family).items():
                yield Observation(part(value), dict(zip(names, labels, strict=True)))

        return read

    def _buckets_of(self, family: Family) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            series = self._now()
            names = (*series.labels(family), "le")
            for labels, value in series.of(family).items():
                bounds = (*map(str, map(float, value.bounds)), "+Inf")
                for bound, count in zip(bounds, accumulate(value.counts), strict=True):
                    yield Observation(count, dict(zip(names, (*labels, bound), strict=True)))

        return read


def of_process() -> OpenTelemetryMetrics:
    """The instruments of the application's meter provider, made when first asked for."""
    with _lock:
        if not _made:
            _made.append(OpenTelemetryMetrics(get_meter(METER)))
        return _made[0]


def _itself(number: float) -> float:
    return number


def _count(histogram: Durations | Sizes) -> float:
    return sum(histogram.counts)


def _sum(histogram: Durations | Sizes) -> float:
    return histogram.total


_lock = threading.Lock()
_made: list[OpenTelemetryMetrics] = []
