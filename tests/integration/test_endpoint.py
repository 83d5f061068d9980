"""What a running consumer shows over HTTP: metrics, and whether it is alive and ready."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pyrallel_consumer import ConfigurationError, MetricsConfig, PyrallelConsumer
from pyrallel_consumer.ingress.embedded import EmbeddedBroker
from tests.integration.conftest import Produce
from tests.integration.consuming import execution, ignore, kafka, new_group, until

LONGEST_ANSWER_SECONDS = 20.0


def got(address: tuple[str, int] | None, path: str, method: str = "GET") -> tuple[int, str]:
    """Status and body; whatever it is, for refusals are answers too."""
    assert address is not None
    request = urllib.request.Request(f"http://{address[0]}:{address[1]}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=LONGEST_ANSWER_SECONDS) as answer:  # noqa: S310 -- it is http
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def scraped(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The samples of a page of metrics by name and sorted labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def ask(consumer: PyrallelConsumer, path: str) -> tuple[int, str]:
    return await asyncio.to_thread(got, consumer.metrics_address, path)


async def ask_json(consumer: PyrallelConsumer, path: str) -> tuple[int, Any]:
    status, text = await ask(consumer, path)
    return status, json.loads(text)


@pytest.mark.usefixtures("no_thread_is_left")
async def test_metrics_and_health_are_served_from_start_to_stop(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce
) -> None:
    topic, group = new_topic(2), new_group()
    produce(topic, 100, partitions=2)
    config = kafka(embedded_broker.bootstrap_servers, group, metrics=MetricsConfig(enabled=True, port=0))
    consumer = PyrallelConsumer(config, ignore, topic, execution_config=execution())
    assert consumer.metrics_address is None
    async with consumer:
        address = consumer.metrics_address
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
        config = kafka(embedded_broker.bootstrap_servers, new_group(), metrics=MetricsConfig(enabled=True, port=port))
        consumer = PyrallelConsumer(config, ignore, "orders", execution_config=execution())
        with pytest.raises(ConfigurationError, match=rf"metrics\.port {port} \(METRICS_PORT\).*is taken"):
            await consumer.start()
        assert consumer.metrics_address is None
