"""Metrics of several members on one page: sums, largest and smallest, and counters that never go back."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from pyrallel_consumer.observability.http.members import Sums


def page(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


def values(merged: Iterable[Metric]) -> dict[str, float]:
    """Samples by name and labels, as Prometheus writes them."""
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for metric in merged
        for sample in metric.samples
    }


def shown(processed: int, in_flight: int, *, is_paused: bool = False, topic: str = "orders") -> list[Metric]:
    return page(
        "# TYPE consumer_processed_total counter\n"
        f'consumer_processed_total{{topic="{topic}",partition="0",status="success"}} {processed}\n'
        "# TYPE consumer_in_flight_count gauge\n"
        f"consumer_in_flight_count {in_flight}\n"
        "# TYPE consumer_backpressure_active gauge\n"
        f"consumer_backpressure_active {int(is_paused)}\n"
    )


PROCESSED = "consumer_processed_total partition=0 status=success topic=orders"


def test_counters_and_gauges_add_up_and_some_gauges_are_the_largest() -> None:
    merged = values(Sums().merged({(1, 100): shown(5, 2), (2, 200): shown(7, 3, is_paused=True)}))
    assert merged == {PROCESSED: 12, "consumer_in_flight_count": 5, "consumer_backpressure_active": 1}


def test_what_a_member_had_counted_when_it_ended_is_kept() -> None:
    sums = Sums()
    sums.merged({(1, 100): shown(5, 2), (2, 200): shown(7, 3)})
    assert values(sums.merged({(1, 100): shown(6, 2)}))[PROCESSED] == 13
    merged = values(sums.merged({(1, 100): shown(6, 0), (2, 201): shown(1, 1)}))
    assert merged[PROCESSED] == 14
    assert merged["consumer_in_flight_count"] == 1


def test_series_of_different_labels_stand_beside_each_other() -> None:
    merged = values(Sums().merged({(1, 100): shown(5, 2), (2, 200): shown(7, 3, topic="letters")}))
    assert merged[PROCESSED] == 5
    assert merged[PROCESSED.replace("orders", "letters")] == 7


def test_histograms_add_up() -> None:
    text = (
        "# TYPE consumer_commit_latency_seconds histogram\n"
        'consumer_commit_latency_seconds_bucket{{le="0.1"}} {0}\n'
        'consumer_commit_latency_seconds_bucket{{le="+Inf"}} {0}\n'
        "consumer_commit_latency_seconds_count {0}\n"
        "consumer_commit_latency_seconds_sum {0}\n"
    )
    merged = values(Sums().merged({(1, 1): page(text.format(1)), (2, 2): page(text.format(2))}))
    assert set(merged.values()) == {3}
    assert len(merged) == 4
