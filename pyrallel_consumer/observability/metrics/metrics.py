"""``/metrics``: the numbers of ``get_metrics()`` in Prometheus' format, read when they are asked for.

A registry of its own for each endpoint, never the global one of the client library. Nothing is kept here, so a
partition that is gone from the numbers is gone from the page.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pyrallel_consumer.dto import DURATION_BOUNDS_SECONDS, Durations
from pyrallel_consumer.observability.http.watched import AllWatched, Watched
from pyrallel_consumer.observability.metrics.families import FAMILIES, Family, Kind, Merge

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_SHARED = {
    Merge.SUM: "Sum over the consumers of the process.",
    Merge.MAX: "Largest of the consumers of the process.",
    Merge.MIN: "Smallest of the consumers of the process.",
}
_MERGES: Mapping[Merge, Callable[[Any, Any], Any]] = {Merge.SUM: operator.add, Merge.MAX: max, Merge.MIN: min}


def metrics_application(watched: AllWatched) -> WSGIApplication:
    """What answers ``/metrics``."""
    registry = CollectorRegistry()
    registry.register(ConsumerCollector(watched))
    application: WSGIApplication = make_wsgi_app(registry)
    return application


class ConsumerCollector(Collector):
    """Asks every consumer for its numbers, once per scrape."""

    def __init__(self, watched: AllWatched) -> None:
        self._watched = watched

    def describe(self) -> Iterable[Metric]:
        """What registration needs to know: names, and no numbers yet."""
        return [_made(family) for family in FAMILIES]

    def collect(self) -> Iterator[Metric]:
        numbers = [_numbers(each) for each in self._watched()]
        for family in FAMILIES:
            metric = _made(family)
            for labels, value in _merged(family, numbers).items():
                _put(metric, labels, value)
            yield metric


def _numbers(watched: Watched) -> Mapping[str, Any]:
    """None where they cannot be had: the other consumers of the process are shown all the same."""
    try:
        return watched.metrics()
    except Exception as error:  # noqa: BLE001 -- pictures end nothing: see ``Pictures``
        watched.note_failure("/metrics", error)
        return {}


def _merged(family: Family, numbers: Iterable[Mapping[str, Any]]) -> dict[tuple[str, ...], Any]:
    merged: dict[tuple[str, ...], Any] = {}
    for each in numbers:
        for labels, value in _labelled(family, each.get(family.name)):
            before = merged.get(labels)
            merged[labels] = value if before is None else _MERGES[family.merge](before, value)
    return merged


def _labelled(family: Family, figure: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if figure is None:
        return
    if not family.labels:
        yield (), figure
        return
    for labels, value in figure.items():
        yield (labels,) if isinstance(labels, str) else tuple(map(str, labels)), value


def _made(family: Family) -> Metric:
    said = f"{family.help} {_SHARED[family.merge]}"
    match family.kind:
        case Kind.COUNTER:
            return CounterMetricFamily(family.name, said, labels=family.labels)
        case Kind.GAUGE:
            return GaugeMetricFamily(family.name, said, labels=family.labels)
        case Kind.HISTOGRAM:
            return HistogramMetricFamily(family.name, said, labels=family.labels)


def _put(metric: Metric, labels: tuple[str, ...], value: Any) -> None:
    if isinstance(metric, HistogramMetricFamily):
        assert isinstance(value, Durations)
        bounds = [*map(str, DURATION_BOUNDS_SECONDS), "+Inf"]
        metric.add_metric(labels, list(zip(bounds, accumulate(value.counts), strict=True)), value.total_seconds)
    elif isinstance(metric, CounterMetricFamily | GaugeMetricFamily):
        metric.add_metric(labels, value)
