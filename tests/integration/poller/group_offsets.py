"""The offsets of a group at the broker, read and written by a client of the test's own."""

from __future__ import annotations

import itertools

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.poller.loop_side import DEADLINE_SECONDS

GROUPS = (f"group-{number}" for number in itertools.count())


def committed(broker: EmbeddedBroker, group: str, *tps: TopicPartition) -> list[tuple[int, str]]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": group})
    try:
        answers = consumer.committed([ClientPartition(*tp) for tp in tps], timeout=DEADLINE_SECONDS)
    finally:
        consumer.close()
    return [(answer.offset, answer.metadata or "") for answer in answers]
