"""The numbers of ``get_metrics()`` in Prometheus' format, read when ``/metrics`` or a user's registry is asked.

Each endpoint has a registry of its own, never the global one of the client library. Nothing is kept here, so a
partition that is gone from the numbers is gone from the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pyrallel_consumer.dto import Durations, Sizes
from pyrallel_consumer.observability.metrics.families import FAMILIES, Family, Kind, Merge
from pyrallel_consumer.observability.metrics.series import AllMeasured, Series

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_SHARED = {
    Merge.SUM: "Sum over the consumers of the process.",
    Merge.MAX: "Largest of the consumers of the process.",
    Merge.MIN: "Smallest of the consumers of the process.",
}


def metrics_application(measured: AllMeasured) -> WSGIApplication:
    """What answers ``/metrics``."""
    registry = CollectorRegistry()
    registry.register(ConsumerCollector(measured))
    application: WSGIApplication = make_wsgi_app(registry)
    return application


class ConsumerCollector(Collector):
    """Asks every consumer for its numbers, once per scrape."""

    def __init__(self, measured: AllMeasured) -> None:
        self._measured = measured

    def describe(self) -> Iterable[Metric]:
        """The names, without numbers, for the registration."""
        return [_made(family, family.labels) for family in FAMILIES]

    def collect(self) -> Iterator[Metric]:
        series = Series(self._measured())
        for family in FAMILIES:
            metric = _made(family, series.labels(family))
            for labels, value in series.of(family).items():
                _put(metric, labels, value)
            yield metric


def _made(family: Family, labels: tuple[str, ...]) -> Metric:
    said = f"{family.help} {_SHARED[family.merge]}"
    match family.kind:
        case Kind.COUNTER:
            return CounterMetricFamily(family.name, said, labels=labels)
        case Kind.GAUGE:
            return GaugeMetricFamily(family.name, said, labels=labels)
        case Kind.HISTOGRAM:
            return HistogramMetricFamily(family.name, said, labels=labels)


def _put(metric: Metric, labels: tuple[str, ...], value: Any) -> None:
    if isinstance(metric, HistogramMetricFamily):
        assert isinstance(value, Durations | Sizes)
        bounds = [*map(str, map(float, value.bounds)), "+Inf"]
        metric.add_metric(labels, list(zip(bounds, accumulate(value.counts), strict=True)), value.total)
    elif isinstance(metric, CounterMetricFamily | GaugeMetricFamily):
        metric.add_metric(labels, value)
