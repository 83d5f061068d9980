"""A real Prometheus with the shipped configuration scrapes a consumer: every query of the dashboard has data."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from pyrallel_consumer import EmbeddedBroker, MetricsConfig, PyrallelConsumer, WorkItem
from tests.integration.consuming import execution, kafka
from tests.monitoring.dashboard import DASHBOARD, filled_in, queries
from tests.monitoring.prometheus_server import PrometheusServer

PARTITIONS = 4
PATIENCE_SECONDS = 90.0
EXPORTER, CONSUMER = "kafka-exporter:9308", "host.docker.internal:9091"
NOBODY = "127.0.0.1:9"  # the port of nothing: there is no exporter here


async def work(item: WorkItem) -> None:
    await asyncio.sleep(0.002)
    if item.key == b"key-7":
        raise ValueError("invalid data")


@asynccontextmanager
async def traffic(broker: EmbeddedBroker) -> AsyncIterator[None]:
    """A few hundred messages a second while the block runs; one key's all fail."""
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})

    async def produce() -> None:
        number = 0
        while True:
            for _ in range(40):
                number += 1
                producer.produce("orders", b"", b"key-%d" % (number % 50), number % PARTITIONS)
            producer.poll(0)
            await asyncio.sleep(0.1)

    task = asyncio.create_task(produce())
    yield
    task.cancel()
    assert await asyncio.to_thread(producer.flush, 30) == 0


OF_SOME = re.compile("consumer_(batch|output|transaction)")
"""Only consumers that take batches, or whose workers return records, have these."""


def without_data(prometheus: PrometheusServer) -> list[str]:
    """The queries of the dashboard that come back empty, or with no number."""
    return [
        name
        for name, query in queries().items()
        if not any(math.isfinite(value) for value in prometheus.query(query)) and not OF_SOME.search(query)
    ]


@pytest.mark.usefixtures("prometheus_programs")
async def test_every_query_of_the_dashboard_has_data_every_rule_is_evaluated_and_the_numbers_are_the_consumers(
    tmp_path: Path,
) -> None:
    with EmbeddedBroker({"orders": PARTITIONS, "orders.dlq": 1}) as broker:
        config = kafka(broker.bootstrap_servers, "billing", metrics=MetricsConfig(enabled=True, port=0))
        async with PyrallelConsumer(config, work, "orders", execution_config=execution(max_retries=2)) as consumer:
            assert consumer.metrics_address is not None
            here = "{}:{}".format(*consumer.metrics_address)
            with PrometheusServer(tmp_path, {EXPORTER: NOBODY, CONSUMER: here}) as prometheus:
                async with traffic(broker):
                    await until_asked(lambda: not without_data(prometheus), lambda: without_data(prometheus))
                    await until_asked(lambda: bool(prometheus.query('ALERTS{alertname="DeadLetters"}')))
                await until_asked(lambda: is_told(prometheus, consumer))
                await until_asked(lambda: rules_by_health(prometheus).keys() == {"ok"})
                assert len(rules_by_health(prometheus)["ok"]) >= 10
                targets = await asyncio.to_thread(prometheus.ask, "targets")
                values = await asyncio.to_thread(variable_values, prometheus)
    assert {target["labels"]["job"]: target["health"] for target in targets["activeTargets"]} == {
        "pyrallel-consumer": "up",
        "kafka-exporter": "down",
    }
    assert values == {"instance": [here], "topic": ["orders"]}


async def until_asked(holds: Callable[[], bool], what: Callable[[], object] = lambda: "nothing more is known") -> None:
    """Wait for an answer of Prometheus on another thread: the consumer's loop goes on meanwhile."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, f"waited in vain: {what()}"
        await asyncio.sleep(0.5)


def is_told(prometheus: PrometheusServer, consumer: PyrallelConsumer) -> bool:
    """Whether Prometheus has the numbers of ``get_metrics()``."""
    metrics = consumer.get_metrics()
    processed = sum(metrics["consumer_processed_total"].values())
    letters = metrics["consumer_dlq_records_total"]
    return (
        processed > 0
        and letters > 0
        and (
            prometheus.query("sum(consumer_processed_total)"),
            prometheus.query("sum(consumer_dlq_records_total)"),
            prometheus.query("sum(consumer_processing_latency_seconds_count)"),
            prometheus.query("sum(consumer_broker_lag)"),
        )
        == ([processed], [letters], [processed], [0])
    )


def rules_by_health(prometheus: PrometheusServer) -> dict[str, list[str]]:
    by_health: dict[str, list[str]] = {}
    for group in prometheus.ask("rules")["groups"]:
        for rule in group["rules"]:
            by_health.setdefault(rule["health"], []).append(rule["name"])
    return by_health


def variable_values(prometheus: PrometheusServer) -> dict[str, list[str]]:
    """What Grafana offers for the dashboard's variables."""
    found: dict[str, list[str]] = {}
    for variable in DASHBOARD["templating"]["list"][1:]:
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", filled_in(variable["definition"]))
        assert asked is not None
        found[variable["name"]] = prometheus.ask(f"label/{asked[2]}/values", **{"match[]": asked[1]})
    return found
