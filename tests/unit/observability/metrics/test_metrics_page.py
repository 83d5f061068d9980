"""The page of metrics made of plain numbers: the fixed names and labels, and several consumers on one page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pyrallel_consumer.control_plane.partitions.latency import Histogram
from pyrallel_consumer.dto import BatchFigures, Durations, RuntimeSnapshot, Sizes
from pyrallel_consumer.observability.http.watched import Watched
from pyrallel_consumer.observability.metrics.families import FAMILIES, Kind
from pyrallel_consumer.observability.metrics.figures import figures
from pyrallel_consumer.observability.metrics.metrics import ConsumerCollector, metrics_application
from pyrallel_consumer.record import Delivery, OutputFigures
from tests.unit.control_plane.pictures import picture

PLACE = {"topic": "orders", "partition": "3"}
THE_NINE = {
    ("consumer_processed", "counter", ("topic", "partition", "status")),
    ("consumer_processing_latency_seconds", "histogram", ("topic", "partition")),
    ("consumer_in_flight_count", "gauge", ()),
    ("consumer_parallel_lag", "gauge", ("topic", "partition")),
    ("consumer_gap_count", "gauge", ("topic", "partition")),
    ("consumer_internal_queue_depth", "gauge", ("topic", "partition")),
    ("consumer_oldest_task_duration_seconds", "gauge", ("topic", "partition")),
    ("consumer_backpressure_active", "gauge", ()),
    ("consumer_metadata_size_bytes", "gauge", ("topic",)),
}


def shown(*numbers: Mapping[str, Any]) -> CollectorRegistry:
    """The registry of an endpoint whose consumers have these numbers."""
    watched = [
        cast("Watched", SimpleNamespace(group="g", has_group_label=False, metrics=lambda each=each: each))
        for each in numbers
    ]
    registry = CollectorRegistry()
    registry.register(ConsumerCollector(lambda: watched))
    return registry


def test_the_names_types_and_labels_that_people_scrape_by_are_there() -> None:
    families = {(family.name.removesuffix("_total"), family.kind.value, family.labels) for family in FAMILIES}
    assert families >= THE_NINE
    parsed = text_string_to_metric_families(generate_latest(shown()).decode())
    assert {(family.name, family.type) for family in parsed} == {(name, kind) for name, kind, _ in families}


def test_counters_end_in_total_and_every_metric_says_what_it_is() -> None:
    assert all((family.kind is Kind.COUNTER) == family.name.endswith("_total") for family in FAMILIES)
    assert all(family.help.endswith(".") for family in FAMILIES)
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_every_metric_has_a_figure() -> None:
    snapshot: RuntimeSnapshot = replace(picture(), batches=BatchFigures(), output=OutputFigures(Delivery.EXACTLY_ONCE))
    poller = {"commits_sent": 0, "commit_failures": {}, "commit_durations": Histogram().taken(), "log_end_offsets": {}}
    assert {family.name for family in FAMILIES} <= figures(snapshot, poller).keys()


def test_batches_show_their_sizes_waits_and_fill_and_are_missing_where_there_are_none() -> None:
    sizes = Sizes((1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0), 801)
    batches = BatchFigures(500, sizes, Durations(total_seconds=0.03), searches=1, search_calls=16)
    poller: dict[str, Any] = {"commits_sent": 0, "commit_failures": {}, "log_end_offsets": {}}
    assert "consumer_batch_size" not in figures(picture(), poller)
    page = shown(figures(replace(picture(), batches=batches), poller))
    assert page.get_sample_value("consumer_batch_size_bucket", {"le": "1.0"}) == 1
    assert page.get_sample_value("consumer_batch_size_bucket", {"le": "500.0"}) == 3
    assert page.get_sample_value("consumer_batch_size_sum") == 801
    assert page.get_sample_value("consumer_batch_wait_seconds_sum") == 0.03
    assert page.get_sample_value("consumer_batch_fill_ratio") == pytest.approx(801 / 1500)
    assert page.get_sample_value("consumer_batch_search_calls_total") == 16


def test_consumers_that_share_a_page_are_summed_up_and_the_worst_of_states_and_ages_is_shown() -> None:
    durations = [Histogram(), Histogram()]
    durations[0].add(0.003, 2)
    durations[1].add(0.03)
    both = shown(
        *(
            {
                "consumer_processed_total": {("orders", 3, "success"): 10 * factor},
                "consumer_in_flight_count": factor,
                "consumer_backpressure_active": factor - 1,
                "consumer_oldest_task_duration_seconds": {("orders", 3): 4.0 / factor},
                "consumer_metadata_size_bytes": {"orders": 100 * factor},
                "consumer_processing_latency_seconds": {("orders", 3): histogram.taken()},
            }
            for factor, histogram in zip((1, 2), durations, strict=True)
        )
    )
    value = both.get_sample_value
    assert value("consumer_processed_total", {**PLACE, "status": "success"}) == 30
    assert value("consumer_in_flight_count") == 3
    assert value("consumer_backpressure_active") == 1
    assert value("consumer_oldest_task_duration_seconds", PLACE) == 4.0
    assert value("consumer_metadata_size_bytes", {"topic": "orders"}) == 200
    assert value("consumer_processing_latency_seconds_count", PLACE) == 3
    assert value("consumer_processing_latency_seconds_sum", PLACE) == pytest.approx(0.036)
    assert value("consumer_processing_latency_seconds_bucket", {**PLACE, "le": "0.0025"}) == 0
    assert value("consumer_processing_latency_seconds_bucket", {**PLACE, "le": "0.005"}) == 2
    assert value("consumer_processing_latency_seconds_bucket", {**PLACE, "le": "+Inf"}) == 3


def test_while_no_broker_answers_the_brokers_lag_has_no_series() -> None:
    poller = {"commits_sent": 0, "commit_failures": {}, "log_end_offsets": {("orders", 3): 15}}
    for is_connected in (True, False):
        shown_now = shown(figures(picture(is_broker_connected=is_connected), poller))
        assert shown_now.get_sample_value("consumer_broker_lag", PLACE) == (5 if is_connected else None)
        assert shown_now.get_sample_value("consumer_broker_connected") == is_connected
    both = shown(*({"consumer_broker_connected": each} for each in (1, 0, 1)))
    assert both.get_sample_value("consumer_broker_connected") == 0


def test_what_a_consumer_has_no_number_for_is_left_out() -> None:
    assert shown({}).get_sample_value("consumer_in_flight_count") is None
    assert shown({}, {"consumer_in_flight_count": 0}).get_sample_value("consumer_in_flight_count") == 0


def test_the_global_registry_is_left_alone() -> None:
    before = generate_latest(prometheus_client.REGISTRY)
    metrics_application(list)
    assert b"consumer_processed" not in before + generate_latest(prometheus_client.REGISTRY)
