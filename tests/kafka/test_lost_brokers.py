"""A client that has forgotten all brokers, permanently, though they are there (librdkafka's issue 5301)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyrallel_consumer import KafkaConfig, OutputConfig, PyrallelConsumer, Record, WorkItem
from pyrallel_consumer.record import Delivery
from tests.kafka.deadline import until, until_asked
from tests.kafka_cluster import KafkaCluster, numbered_records
from tests.metadata_proxy import MetadataProxy

MESSAGES = 50


@pytest.mark.parametrize("delivery", [None, Delivery.AT_LEAST_ONCE, Delivery.EXACTLY_ONCE])
@pytest.mark.parametrize(
    "librdkafka",
    [
        {"group.protocol": "classic", "session.timeout.ms": 6000},
        {"group.protocol": "classic", "session.timeout.ms": 6000, "group.instance.id": "one"},
        {"group.protocol": "consumer"},
    ],
    ids=["classic", "static", "consumer"],
)
async def test_it_goes_on(kafka: KafkaCluster, librdkafka: dict[str, Any], delivery: Delivery | None) -> None:
    topic, group, out = kafka.new_topic(2), kafka.new_group(), kafka.new_topic(1)
    seen: list[str] = []
    lost = [0]

    def take(report: str) -> None:
        brokers = json.loads(report)["brokers"].values()
        lost[0] = 0 if any(b["source"] in {"configured", "learned"} for b in brokers) else lost[0] + 1

    async def plain(item: WorkItem) -> None:
        seen.append(item.id)

    async def recording(item: WorkItem) -> Record:
        seen.append(item.id)
        return Record(out, item.payload)

    kafka.produce(topic, numbered_records(MESSAGES, 10))
    with MetadataProxy(kafka.bootstrap_servers) as proxy:
        config = KafkaConfig(
            bootstrap_servers=proxy.bootstrap_servers,
            consumer_group=group,
            dlq_enabled=False,
            librdkafka=librdkafka
            | {"topic.metadata.refresh.interval.ms": 300, "statistics.interval.ms": 500, "stats_cb": take},
        )
        output = None if delivery is None else OutputConfig(delivery=delivery)
        async with PyrallelConsumer(config, plain if output is None else recording, topic, output=output):
            await until_asked(lambda: sum(kafka.committed_offsets(group, topic).values()) == MESSAGES, "first")
            proxy.hide_brokers()
            await until(lambda: lost[0] > 1, "lost")
            proxy.show_brokers()
            kafka.produce(topic, numbered_records(MESSAGES, 10))
            await until_asked(lambda: sum(kafka.committed_offsets(group, topic).values()) == 2 * MESSAGES, "second")
    assert len(seen) == len(set(seen)) == 2 * MESSAGES
