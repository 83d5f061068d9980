"""Topics by list and by pattern: which ones are subscribed to, and which never are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pyrallel_consumer import KafkaConfig, PyrallelConsumer, UnknownTopicError
from tests.kafka.deadline import until
from tests.kafka.history import shown
from tests.kafka.journal import Journal, journaling_worker
from tests.kafka.protocols import each_group_protocol
from tests.kafka_cluster import KafkaCluster

pytestmark = each_group_protocol

Settings = Callable[..., KafkaConfig]

MESSAGES = 100


def produced(kafka: KafkaCluster, topic: str) -> str:
    kafka.new_topic(partitions=2, name=topic)
    kafka.produce_numbered(topic, messages=MESSAGES, keys=10)
    return topic


def topics_of(journal: Journal) -> dict[str, int]:
    counted: dict[str, int] = {}
    for topic, _, _ in journal.history().finished:
        counted[topic] = counted.get(topic, 0) + 1
    return counted


async def test_a_list_of_topics_is_consumed_in_the_order_of_keys_within_each(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    first, second = (produced(kafka, kafka.new_name("listed")) for _ in range(2))
    group = kafka.new_group()

    async with PyrallelConsumer(settings(group), journaling_worker(journal), [first, second]):
        await until(lambda: journal.finished >= 2 * MESSAGES, "all messages were worked on")

    history = journal.history()
    assert topics_of(journal) == {first: MESSAGES, second: MESSAGES}
    assert not history.run_twice, shown(history.run_twice)
    assert history.order_violations() == []
    for topic in (first, second):
        assert kafka.committed_offsets(group, topic) == kafka.end_offsets(topic)


async def test_a_pattern_takes_whole_names_and_new_topics_and_never_the_dead_letters(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    prefix = kafka.new_name("by-pattern")
    first = produced(kafka, f"{prefix}-1")
    produced(kafka, f"{prefix}-1.dlq")
    produced(kafka, f"not-{first}")
    produced(kafka, f"{prefix}-1-longer")
    config = settings(kafka.new_group(), librdkafka={"topic.metadata.refresh.interval.ms": 500})

    async with PyrallelConsumer(config, journaling_worker(journal), rf"^{prefix}-\d+(\.dlq)?"):
        await until(lambda: journal.finished >= MESSAGES, "the topic that was there is worked on")
        second = await asyncio.to_thread(produced, kafka, f"{prefix}-2")
        await until(lambda: journal.finished >= 2 * MESSAGES, "the topic that came later is worked on")

    assert topics_of(journal) == {first: MESSAGES, second: MESSAGES}
    assert not journal.history().run_twice, shown(journal.history().run_twice)


async def test_a_pattern_that_matches_nothing_yet_waits_for_the_first_topic(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    prefix = kafka.new_name("awaited")
    config = settings(kafka.new_group(), librdkafka={"topic.metadata.refresh.interval.ms": 500})

    async with PyrallelConsumer(config, journaling_worker(journal), f"^{prefix}.*"):
        topic = await asyncio.to_thread(produced, kafka, f"{prefix}-1")
        await until(lambda: journal.finished >= MESSAGES, "the topic that came later is worked on")

    assert topics_of(journal) == {topic: MESSAGES}


async def test_a_topic_that_does_not_exist_is_named_when_the_consumer_starts(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    missing = kafka.new_name("missing")
    consumer = PyrallelConsumer(settings(kafka.new_group()), journaling_worker(journal), [kafka.new_topic(), missing])

    with pytest.raises(UnknownTopicError, match=missing):
        await consumer.start()
