"""A topic that is deleted and created anew under its name: offsets begin at zero again, and nothing of it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pyrallel_consumer import KafkaConfig, PyrallelConsumer
from tests.kafka.deadline import until, until_asked
from tests.kafka.journal import Journal, journaling_worker
from tests.kafka_cluster import KafkaCluster

Settings = Callable[..., KafkaConfig]

each_protocol = pytest.mark.parametrize(
    "librdkafka", [{}, {"group.protocol": "consumer"}], ids=["cooperative-sticky", "group.protocol=consumer"]
)
OLD_MESSAGES = 1_000


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

    async with PyrallelConsumer(settings(group, librdkafka=librdkafka), journaling_worker(journal), topic):
        await until(lambda: journal.finished == OLD_MESSAGES, "the old log was worked on")
        await until_asked(
            lambda: kafka.committed_offsets(group, topic) == {0: OLD_MESSAGES}, "the old end is committed"
        )
        await asyncio.to_thread(recreate)
        await until(lambda: journal.finished == OLD_MESSAGES + len(first), "what the new log held was worked on")
        await asyncio.to_thread(kafka.produce, topic, rest)
        await until(lambda: journal.finished == OLD_MESSAGES + len(new), "the rest of it was worked on")

    history = journal.history()
    ran = [value for value in history.values if value and value.startswith(b"new")]
    assert sorted(ran) == sorted(value for _, value in new)
    assert kafka.committed_offsets(group, topic) == {0: len(new)}
