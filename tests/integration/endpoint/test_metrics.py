"""The metrics of running consumers: what is scraped is what their numbers say."""

from __future__ import annotations

import asyncio
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http import HTTPStatus
from itertools import accumulate
from typing import Any

import pytest

from pyrallel_consumer import ConfigurationError, EmbeddedBroker, PyrallelConsumer, WorkItem
from pyrallel_consumer.dto import DURATION_BOUNDS_SECONDS, Durations
from pyrallel_consumer.execution_plane.engine import EngineStatus, RunningAttempt, StuckAttempt
from pyrallel_consumer.observability.metrics.families import FAMILIES, Kind
from pyrallel_consumer.observability.status import status_feed
from tests.integration.conftest import Produce, producing_to
from tests.integration.consuming import committed, execution, ignore, kafka, new_group, until
from tests.integration.endpoint.asked import (
    LONGEST_ANSWER_SECONDS,
    Samples,
    ask,
    ask_json,
    got,
    metered,
    reasons,
    scraped,
    until_reasons,
)
from tests.third_party_engine import ThirdPartyEngine


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def expected(metrics: dict[str, Any]) -> Samples:
    """The samples that correspond to ``get_metrics()``."""
    samples: Samples = {}
    for family in FAMILIES:
        if not family.labels and family.name not in metrics:
            continue  # This consumer takes no batches, or returns no records.
        figure = metrics.get(family.name, {})
        for values, value in figure.items() if family.labels else [((), figure)]:
            values = (values,) if isinstance(values, str) else values  # noqa: PLW2901 -- one label, and no tuple then
            labels = tuple(sorted(zip(family.labels, map(str, values), strict=True)))
            if family.kind is not Kind.HISTOGRAM:
                samples[family.name, labels] = value
                continue
            assert isinstance(value, Durations)
            counts = list(accumulate(value.counts))
            bounds = (*map(str, DURATION_BOUNDS_SECONDS), "+Inf")
            for bound, count in zip(bounds, counts, strict=True):
                samples[f"{family.name}_bucket", tuple(sorted((*labels, ("le", bound))))] = count
            samples[f"{family.name}_count", labels] = counts[-1]
            samples[f"{family.name}_sum", labels] = value.total_seconds
    return samples


class ShyEngine(ThirdPartyEngine):
    """An engine that works, and raises whenever its status is asked."""

    def status(self) -> EngineStatus:
        raise KeyError("status")

    def stuck(self, now: float) -> Sequence[StuckAttempt]:
        raise KeyError("stuck")

    def longest_running(self, most: int) -> Sequence[RunningAttempt]:
        raise KeyError("longest_running")


@pytest.mark.usefixtures("no_thread_is_left")
async def test_an_engine_that_raises_when_it_is_looked_at_goes_on_working_and_all_else_is_shown(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce
) -> None:
    topic, group, engine = new_topic(1), new_group(), ShyEngine()
    config = kafka(embedded_broker.bootstrap_servers, group, metrics=metered())
    async with PyrallelConsumer(config, None, topic, engine=engine) as consumer:
        produce(topic, 10)
        await until(lambda: len(engine.submitted) == 10)
        for path in ("/status.json", "/metrics", "/snapshot.json", "/livez", "/"):
            assert (await ask(consumer, path))[0] == HTTPStatus.OK
        failures = consumer.get_runtime_snapshot().picture_failures
        assert failures > 0
        await until(lambda: consumer.get_runtime_snapshot().picture_failures > failures)  # the close-up fails as well
        produce(topic, 10)
        await until(lambda: len(engine.submitted) == 20)
        await until(lambda: consumer.get_runtime_snapshot().processed == 20)
        assert consumer.get_metrics()["consumer_picture_failures_total"] > failures
        await until_reasons(consumer, [])
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [20]


async def test_a_bug_in_a_close_up_ends_no_consumer(
    embedded_broker: EmbeddedBroker,
    new_topic: Callable[[int], str],
    produce: Produce,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def bug(*_: object, **__: object) -> None:
        raise KeyError("a bug in a picture")

    monkeypatch.setattr(status_feed, "close_up_of_all", bug)
    topic = new_topic(1)
    config = kafka(embedded_broker.bootstrap_servers, new_group(), metrics=metered())
    async with PyrallelConsumer(config, ignore, topic) as consumer:
        await ask(consumer, "/status.json")
        await until(lambda: consumer.get_runtime_snapshot().picture_failures > 1)
        produce(topic, 10)
        await until(lambda: consumer.get_runtime_snapshot().processed == 10)


@pytest.mark.usefixtures("no_thread_is_left")
async def test_metrics_and_health_are_served_from_start_to_stop(
    embedded_broker: EmbeddedBroker,
    new_topic: Callable[[int], str],
    produce: Produce,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "pyrallel_consumer")
    topic, group = new_topic(2), new_group()
    produce(topic, 100, partitions=2)
    config = kafka(embedded_broker.bootstrap_servers, group, metrics=metered())
    consumer = PyrallelConsumer(config, ignore, topic, execution_config=execution())
    assert consumer.metrics_address is None
    async with consumer:
        address = consumer.metrics_address
        assert f"status page, metrics and health at http://{config.metrics.host}:" in caplog.text
        await until(lambda: sum(each.committed_offset for each in consumer.get_runtime_snapshot().partitions) == 100)
        samples = scraped((await ask(consumer, "/metrics"))[1])
        for partition in ("0", "1"):
            place = (("partition", partition), ("topic", topic))
            labels = tuple(sorted((*place, ("status", "success"))))
            assert samples["consumer_processed_total", labels] == 50
            assert samples["consumer_parallel_lag", place] == 0
        assert await ask_json(consumer, "/livez") == (
            HTTPStatus.OK,
            {"status": "ok", "consumers": [{"group": group, "state": "running", "status": "ok", "reasons": []}]},
        )
        assert (await ask_json(consumer, "/readyz"))[0] == HTTPStatus.OK
        assert (await ask(consumer, "/nowhere"))[0] == HTTPStatus.NOT_FOUND
        assert (await asyncio.to_thread(got, address, "/metrics", "POST"))[0] == HTTPStatus.METHOD_NOT_ALLOWED
    assert consumer.metrics_address is None
    with pytest.raises(urllib.error.URLError):
        got(address, "/livez")


@pytest.mark.usefixtures("no_thread_is_left")
async def test_a_port_that_is_taken_is_said_by_the_name_of_its_setting(embedded_broker: EmbeddedBroker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = kafka(embedded_broker.bootstrap_servers, new_group(), metrics=metered(port))
        consumer = PyrallelConsumer(config, ignore, "orders", execution_config=execution())
        with pytest.raises(ConfigurationError, match=rf"metrics\.port {port} \(METRICS_PORT\).*is taken"):
            await consumer.start()
        assert consumer.metrics_address is None


@pytest.mark.usefixtures("no_thread_is_left")
async def test_what_is_scraped_is_what_get_metrics_says(broker: EmbeddedBroker) -> None:
    producing_to(broker.bootstrap_servers)("orders", 60, partitions=2)
    orders = [("orders", partition) for partition in (0, 1)]

    async def worker(item: WorkItem) -> None:
        if item.offset % 10 == 0:
            raise ValueError("invalid data")
        await asyncio.sleep(0.001)

    config = kafka(broker.bootstrap_servers, new_group(), metrics=metered())
    consumer = PyrallelConsumer(config, worker, "orders", execution_config=execution(max_retries=2, retry_backoff_ms=1))
    async with consumer:
        await until(
            lambda: (
                consumer.get_metrics()["consumer_broker_lag"] == dict.fromkeys(orders, 0)
                and all(consumer.get_metrics()["consumer_starved_seconds_total"].values())
            ),
            consumer.get_metrics,
        )
        deadline = time.monotonic() + LONGEST_ANSWER_SECONDS
        while True:  # Numbers move on: the page is that of a picture before or after it.
            before = expected(consumer.get_metrics())
            page = scraped((await ask(consumer, "/metrics"))[1])
            if page in (before, expected(consumer.get_metrics())):
                break
            assert time.monotonic() < deadline, {key: (before.get(key), page.get(key)) for key in before | page}
        metrics = consumer.get_metrics()
    assert metrics["consumer_processed_total"] == {
        (*place, status): count for place in orders for status, count in (("success", 27), ("failure", 3))
    }
    latency = metrics["consumer_processing_latency_seconds"]
    assert {place: sum(latency[place].counts) for place in orders} == dict.fromkeys(orders, 30)
    assert all(latency[place].total_seconds > 0.0005 * 27 for place in orders)
    assert metrics["consumer_retries_total"] == 6
    assert metrics["consumer_dlq_records_total"] == 6
    assert sum(metrics["consumer_commit_latency_seconds"].counts) >= 1
    assert metrics["consumer_rebalances_total"] == 1
    assert metrics["consumer_parallel_lag"] == metrics["consumer_gap_count"] == dict.fromkeys(orders, 0)


@pytest.mark.usefixtures("no_thread_is_left")
async def test_series_of_a_revoked_partition_vanish_and_count_on_when_it_comes_back(broker: EmbeddedBroker) -> None:
    produce = producing_to(broker.bootstrap_servers)
    produce("orders", 40, partitions=2)
    group = new_group()
    first = PyrallelConsumer(kafka(broker.bootstrap_servers, group, metrics=metered()), ignore, "orders")
    places = {("orders", 0), ("orders", 1)}

    async def shown(wanted: int) -> set[tuple[str, int]]:
        """The partitions of the page, when it has the expected number; each family has the same ones."""
        await until(lambda: len(first.get_runtime_snapshot().partitions) == wanted, first.get_runtime_snapshot)
        by_family: dict[str, set[tuple[str, int]]] = {}
        for name, labels in scraped((await ask(first, "/metrics"))[1]):
            if "partition" in dict(labels):
                place = dict(labels)["topic"], int(dict(labels)["partition"])
                by_family.setdefault(name, set()).add(place)
        by_family.pop("consumer_broker_lag", None)  # It is known a moment later.
        assert len(by_family) >= 12
        [common] = {frozenset(found) for found in by_family.values()}
        return set(common)

    async with first:
        assert await shown(2) == places
        await until(lambda: first.get_runtime_snapshot().processed == 40)
        async with PyrallelConsumer(kafka(broker.bootstrap_servers, group), ignore, "orders"):
            [kept] = await shown(1)
            assert kept in places
        assert await shown(2) == places
        produce("orders", 40, partitions=2)
        await until(lambda: first.get_runtime_snapshot().processed == 80, first.get_runtime_snapshot)
        processed = first.get_metrics()["consumer_processed_total"]
        assert {(*place, "success"): 40 for place in places}.items() <= processed.items()


@pytest.mark.usefixtures("no_thread_is_left")
async def test_consumers_of_a_process_share_an_endpoint_until_the_last_one_stops(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce
) -> None:
    topic, port, groups = new_topic(1), free_port(), [new_group(), new_group()]
    produce(topic, 10)
    consumers = [
        PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, group, metrics=metered(port)), ignore, topic)
        for group in groups
    ]
    processed = "consumer_processed_total", (("partition", "0"), ("status", "success"), ("topic", topic))

    async def page() -> Samples:
        return scraped((await asyncio.to_thread(got, ("127.0.0.1", port), "/metrics"))[1])

    async with consumers[0]:
        async with consumers[1]:
            await until(lambda: [each.get_runtime_snapshot().processed for each in consumers] == [10, 10])
            both = await page()
            assert (both[processed], both["consumer_assigned_partitions", ()]) == (20, 2)
            _, document = await ask_json(consumers[0], "/readyz")
            assert [each["group"] for each in document["consumers"]] == groups
        assert (await page())[processed] == 10
    with pytest.raises(urllib.error.URLError):
        got(("127.0.0.1", port), "/livez")
    # The port is free again, for anybody.
    again = PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, groups[0], metrics=metered(port)), ignore, topic)
    async with again:
        assert await reasons(again) in ([], ["not_assigned"])
