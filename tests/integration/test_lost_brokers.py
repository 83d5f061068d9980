"""A client that has forgotten all brokers, permanently, though they are there (librdkafka's issue 5301)."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pyrallel_consumer import KafkaConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.ingress.client.forgotten import FORGOTTEN
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.conftest import Produce, producing_to
from tests.integration.consuming import Book, committed, new_group, until
from tests.metadata_proxy import MetadataProxy

TOPIC, PARTITIONS, MESSAGES = "orders", 2, 50
PROTOCOLS: dict[str, dict[str, Any]] = {
    "classic": {"group.protocol": "classic", "session.timeout.ms": 3000, "heartbeat.interval.ms": 150},
    "consumer": {"group.protocol": "consumer"},
}


class Reports:
    """The client's statistics. ``without_brokers`` counts the last ones in a row that told of none."""

    def __init__(self) -> None:
        self.without_brokers = 0

    @property
    def is_lost(self) -> bool:
        """Whether the client has not begun anew at its bootstrap servers, which it does at once or never."""
        return self.without_brokers > 1

    def take(self, report: str) -> None:
        brokers = json.loads(report)["brokers"].values()
        is_any = any(each["source"] in {"configured", "learned"} for each in brokers)
        self.without_brokers = 0 if is_any else self.without_brokers + 1


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({TOPIC: PARTITIONS}) as broker:
        yield broker


@pytest.fixture
def proxy(broker: EmbeddedBroker) -> Iterator[MetadataProxy]:
    with MetadataProxy(broker.bootstrap_servers) as proxy:
        yield proxy


@pytest.fixture
def produce(broker: EmbeddedBroker) -> Produce:
    return producing_to(broker.bootstrap_servers)


def config_of(proxy: MetadataProxy, group: str, reports: Reports, protocol: str) -> KafkaConfig:
    return KafkaConfig(
        bootstrap_servers=proxy.bootstrap_servers,
        consumer_group=group,
        dlq_enabled=False,
        librdkafka=PROTOCOLS[protocol]
        | {
            "topic.metadata.refresh.interval.ms": 300,
            "statistics.interval.ms": 500,
            "stats_cb": reports.take,
        },
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_consumer_without_brokers_joins_with_another_client(
    broker: EmbeddedBroker, proxy: MetadataProxy, produce: Produce, protocol: str
) -> None:
    book, reports, group = Book(), Reports(), new_group()

    async def worker(item: WorkItem) -> None:
        book.begin(item)
        book.end(item)

    produce(TOPIC, MESSAGES, partitions=PARTITIONS)
    async with PyrallelConsumer(config_of(proxy, group, reports, protocol), worker, TOPIC):
        await until(lambda: committed(broker.bootstrap_servers, group, TOPIC, PARTITIONS) == [MESSAGES // 2] * 2)
        proxy.hide_brokers()
        await until(lambda: reports.is_lost)
        proxy.show_brokers()
        produce(TOPIC, MESSAGES, partitions=PARTITIONS)

        await until(lambda: committed(broker.bootstrap_servers, group, TOPIC, PARTITIONS) == [MESSAGES] * 2)

    book.assert_each_ran_once_in_order(2 * MESSAGES)


async def test_what_finishes_after_the_loss_delays_the_next_client_by_no_session(
    broker: EmbeddedBroker, proxy: MetadataProxy, produce: Produce
) -> None:
    """A client that waits for the answer to a commit ends with its session, after 45 s: a thread of its own waits."""
    book, reports, group, go = Book(), Reports(), new_group(), asyncio.Event()

    async def worker(item: WorkItem) -> None:
        book.begin(item)
        if item.offset == 0:
            await go.wait()
        book.end(item)

    produce(TOPIC, MESSAGES, partitions=PARTITIONS)
    async with PyrallelConsumer(config_of(proxy, group, reports, "consumer"), worker, TOPIC):
        await until(lambda: len(book.messages) == MESSAGES - PARTITIONS)
        proxy.hide_brokers()
        await until(lambda: reports.is_lost)
        go.set()
        await until(lambda: len(book.messages) == MESSAGES)
        proxy.show_brokers()
        await until(lambda: FORGOTTEN in [thread.name for thread in threading.enumerate()])
        produce(TOPIC, MESSAGES, partitions=PARTITIONS)

        await until(lambda: committed(broker.bootstrap_servers, group, TOPIC, PARTITIONS) == [MESSAGES] * 2)

    assert len(book.messages) == 2 * MESSAGES
