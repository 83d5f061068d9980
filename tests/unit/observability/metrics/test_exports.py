"""Metrics in the user's own tools: a Prometheus registry, OpenTelemetry, and a label for the group."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from pyrallel_consumer import ConfigurationError, KafkaConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.observability.metrics import exports, open_telemetry
from pyrallel_consumer.testing import ConsumerKit


async def worker(item: WorkItem) -> None:
    pass


def config(group: str = "shop", *, group_label: bool = False) -> KafkaConfig:
    config = KafkaConfig(consumer_group=group)
    config.metrics.group_label = group_label
    return config


def processed(registry: CollectorRegistry, **labels: str) -> float | None:
    place = {"topic": "orders", "partition": "0", "status": "success"}
    return registry.get_sample_value("consumer_processed_total", place | labels)


async def test_a_registry_of_the_users_shows_the_consumer_while_it_runs() -> None:
    registry = CollectorRegistry()
    Gauge("shop_open", "Whether the shop is open.", registry=registry).set(1)

    async with ConsumerKit(worker, config=config(), registry=registry) as kit:
        await kit.send(b"1")
        await kit.settled()
        assert processed(registry) == 1
        place = {"topic": "orders", "partition": "0"}
        assert registry.get_sample_value("consumer_processing_latency_seconds_count", place) == 1
        assert registry.get_sample_value("shop_open") == 1
        assert kit.consumer.metrics_address is None

    assert processed(registry) is None
    assert b"consumer_" not in generate_latest(registry)


async def test_consumers_share_a_registry_and_are_added_up_or_told_apart_by_group() -> None:
    registry = CollectorRegistry()
    async with (
        ConsumerKit(worker, config=config("a"), registry=registry) as one,
        ConsumerKit(worker, config=config("b"), registry=registry) as other,
    ):
        for kit in (one, other):
            await kit.send(b"1")
            await kit.settled()
        assert processed(registry) == 2

    async with (
        ConsumerKit(worker, config=config("a", group_label=True), registry=registry) as one,
        ConsumerKit(worker, config=config("b", group_label=True), registry=registry) as other,
    ):
        for kit in (one, other):
            await kit.send(b"1")
            await kit.settled()
        assert processed(registry, group="a") == processed(registry, group="b") == 1
        assert registry.get_sample_value("consumer_in_flight_count", {"group": "a"}) == 0


async def test_a_registry_with_such_metrics_is_refused_by_name() -> None:
    registry = CollectorRegistry()
    Gauge("consumer_in_flight_count", "Somebody else's.", registry=registry)

    with pytest.raises(ConfigurationError, match=r"registry: .*consumer_in_flight_count"):
        async with ConsumerKit(worker, registry=registry):
            pass


def test_what_is_no_registry_is_refused_at_construction() -> None:
    with pytest.raises(ConfigurationError, match="registry='mine'"):
        PyrallelConsumer(KafkaConfig(), worker, "orders", registry="mine")  # type: ignore[call-overload]


def values(reader: InMemoryMetricReader) -> dict[str, dict[tuple[object, ...], float]]:
    data = reader.get_metrics_data()
    found: dict[str, dict[tuple[object, ...], float]] = {}
    for resource in [] if data is None else data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                found[metric.name] = {
                    tuple((point.attributes or {}).values()): getattr(point, "value", 0.0)
                    for point in metric.data.data_points
                }
    return found


async def test_opentelemetry_reads_the_consumer_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider(metric_readers=[reader]).get_meter("test")
    instruments = open_telemetry.OpenTelemetryMetrics(meter)
    monkeypatch.setattr(open_telemetry, "of_process", lambda: instruments)
    settings = config(group_label=True)
    settings.metrics.open_telemetry = True

    async with ConsumerKit(worker, config=settings) as kit:
        await kit.send(b"1")
        await kit.settled()
        found = values(reader)
        assert found["consumer_processed"]["shop", "orders", "0", "success"] == 1
        assert found["consumer_in_flight_count"] == {("shop",): 0}
        assert found["consumer_processing_latency_seconds_count"] == {("shop", "orders", "0"): 1}
        assert found["consumer_processing_latency_seconds_bucket"]["shop", "orders", "0", "+Inf"] == 1
        assert found["consumer_processing_latency_seconds_sum"]["shop", "orders", "0"] >= 0

    assert not any(values(reader).values())


def test_instruments_are_made_once_in_a_process() -> None:
    assert open_telemetry.of_process() is open_telemetry.of_process()


def test_without_opentelemetry_installed_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(exports, "import_module", missing)
    settings = config()
    settings.metrics.open_telemetry = True
    with pytest.raises(ConfigurationError, match=r"open_telemetry.*pyrallel-consumer\[otel\]"):
        PyrallelConsumer(settings, worker, "orders")
