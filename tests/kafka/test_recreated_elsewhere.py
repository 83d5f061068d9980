"""A topic that is created again on another broker: the client alone would never read it again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from pyrallel_consumer import KafkaConfig, PyrallelConsumer
from tests.kafka.deadline import until, until_asked, wait_until
from tests.kafka.journal import Journal, journaling_worker
from tests.kafka.test_absent_leaders import two_nodes  # noqa: F401 -- a fixture
from tests.kafka_cluster import KafkaCluster, numbered_records
from tests.kafka_node import KafkaNode

MESSAGES, TIMEOUT_SECONDS = 100, 30.0


def make_on(kafka: KafkaCluster, topic: str, node: int) -> None:
    """Creates a topic whose only partition lies on the node; the deleted topic may still exist for a moment."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    created = NewTopic(topic, num_partitions=1, replica_assignment=[[node]])

    def is_created() -> bool:
        try:
            admin.create_topics([created])[topic].result(TIMEOUT_SECONDS)
        except KafkaException:
            return False
        return True

    wait_until(is_created, "the topic is created")
    wait_until(lambda: kafka.partitions(topic) == [0], "the topic has a leader")


def delete(kafka: KafkaCluster, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.delete_topics([topic])[topic].result(TIMEOUT_SECONDS)


@pytest.mark.parametrize(
    "librdkafka",
    [
        {"group.protocol": "classic"},
        {"group.protocol": "classic", "group.instance.id": "one"},
        {"group.protocol": "consumer"},
    ],
    ids=["classic", "classic, static", "consumer"],
)
async def test_it_is_read_from_its_beginning(
    two_nodes: tuple[KafkaCluster, KafkaNode],  # noqa: F811 -- the fixture
    journal: Journal,
    librdkafka: dict[str, Any],
) -> None:
    kafka, second = two_nodes
    topic, group = kafka.new_name("moved"), kafka.new_group()
    await asyncio.to_thread(second.start)
    await asyncio.to_thread(make_on, kafka, topic, 2)
    await asyncio.to_thread(second.restart)  # Its leader epoch is higher now than that of a new topic.
    wait_until(lambda: kafka.partitions(topic) == [0], "the topic has its leader again")
    kafka.produce(topic, numbered_records(MESSAGES, 10), partition=0)
    config = KafkaConfig(
        bootstrap_servers=kafka.bootstrap_servers, consumer_group=group, dlq_enabled=False, librdkafka=librdkafka
    )

    async with PyrallelConsumer(config, journaling_worker(journal), topic) as consumer:
        await until(lambda: journal.finished == MESSAGES, "the old log is worked on")
        await until(lambda: consumer.get_metrics()["topics_known_by_id"] == 1, "the topic's id is known")
        await asyncio.to_thread(delete, kafka, topic)
        await asyncio.to_thread(make_on, kafka, topic, 1)
        new = [(key, b"new-" + (value or b"")) for key, value in numbered_records(2 * MESSAGES, 10)]
        await asyncio.to_thread(kafka.produce, topic, new, partition=0)

        await until(lambda: {value for _, value in new} <= set(journal.history().values), "the new log is worked on")
        await until_asked(
            lambda: kafka.committed_offsets(group, topic) == {0: 2 * MESSAGES}, "the new end is committed"
        )
