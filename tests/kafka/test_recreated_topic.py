"""A topic that is deleted and created again under its name: offsets begin at zero again, and nothing of it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer import BrokerError, KafkaConfig, PyrallelConsumer, TopicPartition
from pyrallel_consumer.config.typed.choices import OffsetReset
from tests.kafka.deadline import until, until_asked
from tests.kafka.journal import Journal, journaling_worker
from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import KafkaNode

Settings = Callable[..., KafkaConfig]

each_protocol = pytest.mark.parametrize(
    "librdkafka",
    [{"group.protocol": "classic"}, {"group.protocol": "consumer"}],
    ids=["cooperative-sticky", "group.protocol=consumer"],
)
OLD_MESSAGES = 1_000
KAFKAS_OWN_HEARTBEATS = {
    "group.consumer.heartbeat.interval.ms": "5000",
    "group.consumer.min.heartbeat.interval.ms": "5000",
    "group.consumer.session.timeout.ms": "45000",
    "group.consumer.min.session.timeout.ms": "45000",
}


def values_of(log: str, messages: int) -> list[tuple[bytes, bytes]]:
    return [(b"key-%d" % (number % 10), b"%s-%d" % (log.encode(), number)) for number in range(messages)]


@pytest.mark.parametrize("new_messages", [300, 3_000], ids=["shorter than the old", "longer than the old"])
async def test_a_topic_recreated_between_two_runs_is_read_from_its_beginning(
    kafka: KafkaCluster, settings: Settings, journal: Journal, new_messages: int
) -> None:
    topic, group = kafka.new_topic(), kafka.new_group()
    kafka.produce(topic, values_of("old", OLD_MESSAGES))
    async with PyrallelConsumer(settings(group), journaling_worker(journal), topic):
        await until(lambda: journal.finished == OLD_MESSAGES, "the old log was worked on")

    kafka.delete_topic(topic)
    kafka.new_topic(name=topic)
    new = values_of("new", new_messages)
    kafka.produce(topic, new)
    async with PyrallelConsumer(settings(group), journaling_worker(journal), topic):
        await until(lambda: journal.finished == OLD_MESSAGES + new_messages, "the new log was worked on")

    ran = [value for value in journal.history().values if value and value.startswith(b"new")]
    assert sorted(ran) == sorted(value for _, value in new)
    assert kafka.committed_offsets(group, topic) == {0: new_messages}


@each_protocol
async def test_a_topic_recreated_while_it_is_consumed_is_read_from_its_beginning(
    kafka: KafkaCluster, settings: Settings, journal: Journal, librdkafka: dict[str, Any]
) -> None:
    topic, group = kafka.new_topic(), kafka.new_group()
    kafka.produce(topic, values_of("old", OLD_MESSAGES))
    new = values_of("new", 3 * OLD_MESSAGES)
    # By offsets alone nobody can tell a new log that is longer than what was read of the old one from the old one.
    first, rest = new[: OLD_MESSAGES // 2], new[OLD_MESSAGES // 2 :]

    def recreate() -> None:
        kafka.delete_topic(topic)
        kafka.new_topic(name=topic)
        kafka.produce(topic, first)

    config = settings(group, librdkafka=librdkafka)
    async with PyrallelConsumer(config, journaling_worker(journal), topic) as consumer:
        await until(lambda: journal.finished == OLD_MESSAGES, "the old log was worked on")
        await until(lambda: consumer.get_metrics()["topics_known_by_id"] == 1, "the topic's id is known")
        await until_asked(
            lambda: kafka.committed_offsets(group, topic) == {0: OLD_MESSAGES}, "the old end is committed"
        )
        await asyncio.to_thread(recreate)
        await until(
            lambda: left_out(journal, [value for _, value in first]) == [], "what the new log held was worked on"
        )
        await asyncio.to_thread(kafka.produce, topic, rest)
        await until(lambda: left_out(journal, [value for _, value in new]) == [], "the rest of it was worked on")
        await until_asked(lambda: kafka.committed_offsets(group, topic) == {0: len(new)}, "the new end is committed")


@pytest.fixture(scope="module")
def ordinary_kafka(kafka: KafkaCluster) -> Iterator[KafkaCluster]:
    """A Kafka whose KIP-848 members learn of a change as late as with Kafka's own defaults."""
    if kafka.node is None:
        yield kafka
        return
    with KafkaNode(KAFKAS_OWN_HEARTBEATS) as node:
        cluster = KafkaCluster(node.bootstrap_servers, node)
        yield cluster
        cluster.close()


def config_of(kafka: KafkaCluster, librdkafka: dict[str, Any], reset: OffsetReset = "earliest") -> KafkaConfig:
    return KafkaConfig(
        bootstrap_servers=kafka.bootstrap_servers,
        consumer_group=kafka.new_group(),
        auto_offset_reset=reset,
        librdkafka=librdkafka,
    )


def made_anew(kafka: KafkaCluster, topic: str, messages: int) -> list[bytes]:
    """Delete the topic, create it and fill it at once; returns the values of the new log."""
    new = values_of("new", messages)
    kafka.delete_topic(topic)
    kafka.new_topic(name=topic)
    kafka.produce(topic, new)
    return [value for _, value in new]


async def until_committed(kafka: KafkaCluster, config: KafkaConfig, topic: str, offset: int) -> None:
    """Waits for the end: it comes after all first runs, because messages that were read too early run again."""
    await until_asked(
        lambda: kafka.committed_offsets(config.consumer_group, topic) == {0: offset}, "the end of the log is committed"
    )


def left_out(journal: Journal, values: list[bytes]) -> list[bytes]:
    return sorted(set(values) - set(journal.history().values))


@each_protocol
@pytest.mark.parametrize("reset", ["earliest", "latest"])
@pytest.mark.parametrize("new_messages", [50, 300, 3_000])
async def test_nothing_of_a_new_log_is_skipped_however_long_it_is_when_it_is_first_seen(
    ordinary_kafka: KafkaCluster, journal: Journal, librdkafka: dict[str, Any], reset: OffsetReset, new_messages: int
) -> None:
    kafka, config = ordinary_kafka, config_of(ordinary_kafka, librdkafka, reset)
    topic = kafka.new_topic()

    async with PyrallelConsumer(config, journaling_worker(journal), topic) as consumer:
        await until(lambda: len(consumer.get_runtime_snapshot().partitions) == 1, "the partition is assigned")
        await asyncio.to_thread(kafka.produce, topic, values_of("old", OLD_MESSAGES))
        await until(lambda: journal.finished == OLD_MESSAGES, "the old log was worked on")
        await until(lambda: consumer.get_metrics()["topics_known_by_id"] == 1, "the topic's id is known")
        new = await asyncio.to_thread(made_anew, kafka, topic, new_messages)
        await until(lambda: left_out(journal, new) == [], "all of the new log was worked on")
        await until_committed(kafka, config, topic, new_messages)


@each_protocol
async def test_a_new_log_that_came_while_its_partition_was_paused_is_read_from_its_beginning(
    ordinary_kafka: KafkaCluster, journal: Journal, librdkafka: dict[str, Any]
) -> None:
    kafka, config = ordinary_kafka, config_of(ordinary_kafka, librdkafka)
    topic = kafka.new_topic()
    kafka.produce(topic, values_of("old", OLD_MESSAGES))

    async with PyrallelConsumer(config, journaling_worker(journal), topic) as consumer:
        await until(lambda: journal.finished == OLD_MESSAGES, "the old log was worked on")
        await until(lambda: consumer.get_metrics()["topics_known_by_id"] == 1, "the topic's id is known")
        consumer.pause_partition(TopicPartition(topic, 0))
        await until(
            lambda: any(each.paused_for for each in consumer.get_runtime_snapshot().partitions),
            "the partition is paused",
        )
        new = await asyncio.to_thread(made_anew, kafka, topic, 3 * OLD_MESSAGES)
        consumer.resume_partition(TopicPartition(topic, 0))
        await until(lambda: left_out(journal, new) == [], "all of the new log was worked on")
        await until_committed(kafka, config, topic, 3 * OLD_MESSAGES)


async def test_a_group_that_may_not_begin_by_itself_ends_with_a_sentence_when_its_topic_is_made_anew(
    ordinary_kafka: KafkaCluster, journal: Journal
) -> None:
    kafka, config = ordinary_kafka, config_of(ordinary_kafka, {"group.protocol": "classic"}, "none")
    topic = kafka.new_topic()
    kafka.produce(topic, values_of("old", OLD_MESSAGES))
    kafka.commit(config.consumer_group, [ClientPartition(topic, 0, 0)])
    consumer = PyrallelConsumer(config, journaling_worker(journal), topic)

    await consumer.start()
    await until(lambda: journal.finished == OLD_MESSAGES, "the old log was worked on")
    await until(lambda: consumer.get_metrics()["topics_known_by_id"] == 1, "the topic's id is known")
    await asyncio.to_thread(made_anew, kafka, topic, 3 * OLD_MESSAGES)

    with pytest.raises(BrokerError) as raised:
        await consumer.wait_closed()
    assert raised.value.code == "_AUTO_OFFSET_RESET"
