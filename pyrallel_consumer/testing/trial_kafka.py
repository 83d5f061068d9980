"""A Kafka for tests of a consumer: it fills and reads topics with unique names, and removes them at the end.

It is the Kafka of ``KAFKA_BOOTSTRAP_SERVERS`` if that is set, an ``EmbeddedBroker`` otherwise. Every name carries a
random part, so runs never meet each other's records.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.consumer import started_consumers
from pyrallel_consumer.control_plane.failures.letter import Record
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.errors import ConfigurationError, StateError
from pyrallel_consumer.ingress.admin.dead_letter_reader import DeadLetterReader
from pyrallel_consumer.ingress.admin.scratch_topic import Given, ScratchTopic
from pyrallel_consumer.testing.broker.embedded_broker import PLAIN_PARTITIONS, EmbeddedBroker
from pyrallel_consumer.testing.written_record import WrittenRecord

SERVERS = "KAFKA_BOOTSTRAP_SERVERS"
BETWEEN_LOOKS_SECONDS = 0.02


class TrialKafka:
    """``with TrialKafka() as kafka:``. All but ``until_done`` block; a refusal of the broker is a ``BrokerError``.

    ``config`` has its address and a unique group; you may change it. ``port`` is the embedded broker's port, by default
    a free one. ``broker`` is an embedded broker that runs already.
    """

    def __init__(self, *, port: int = 0, broker: EmbeddedBroker | None = None) -> None:
        self._port = port
        self._given_broker = broker
        self._run = uuid.uuid4().hex[:8]
        self._stack = ExitStack()
        self._broker: EmbeddedBroker | None = None
        self._topics: dict[str, ScratchTopic] = {}
        self._config: KafkaConfig | None = None

    @property
    def config(self) -> KafkaConfig:
        if self._config is None:
            raise StateError("this TrialKafka is not open: use it as `with TrialKafka() as kafka:`")
        return self._config

    def topic(
        self,
        name: str,
        records: Iterable[Given] = (),
        *,
        partitions: int = PLAIN_PARTITIONS,
        dead_letters: bool = False,
    ) -> str:
        """Create a topic that holds these records; its name is ``name`` and a random part.

        A record is ``(key, value)`` or ``(key, value, headers)``; key and value may be None.
        ``dead_letters`` creates its dead-letter topic, too: its name and ``config.dlq_topic_suffix``.
        """
        full_name = f"{name}-{self._run}"
        for created in (full_name, full_name + self.config.dlq_topic_suffix)[: 1 + dead_letters]:
            self._topics[created] = topic = ScratchTopic(self.config, created, partitions)
            if self._broker is None:
                topic.create()
                self._stack.callback(topic.remove)
            else:
                self._broker.create_topic(created, partitions)
        self.append(full_name, records)
        return full_name

    def append(self, topic: str, records: Iterable[Given]) -> int:
        """Produce these records to a topic of this object; returns how many, once all are acknowledged."""
        return self._made(topic).append(records)

    def size(self, topic: str) -> int:
        """How many records the topic's log holds now."""
        return sum(each.size for each in self._made(topic).bounds().values())

    def records(self, topic: str) -> list[WrittenRecord]:
        """The records of a topic of this object, by partition, in the order of offsets; also of a dead-letter topic."""
        found: list[WrittenRecord] = []
        with DeadLetterReader(self.config, self.config.consumer_group) as reader:
            for partition, bounds in self._made(topic).bounds().items():
                place = TopicPartition(topic, partition)
                stored = reader.read(place, bounds.begin_offset, bounds.end_offset) if bounds.size else ()
                found += [_written(place, each.record) for each in stored if each is not None]
        return found

    def lag(self, topic: str) -> int:
        """How many records the group of ``config`` has not committed yet: 0 when all are done."""
        return sum(each.lag for each in self._made(topic).bounds().values())

    def _made(self, topic: str) -> ScratchTopic:
        if topic not in self._topics:
            known = ", ".join(map(repr, sorted(self._topics))) or "none"
            raise ConfigurationError(
                f"topic: {topic!r} was not made by this TrialKafka; topic() makes one and returns its name, and makes "
                f"its dead-letter topic with dead_letters=True (made here: {known})"
            )
        return self._topics[topic]

    async def until_done(self, topic: str, *, timeout_seconds: float = 60.0) -> None:
        """Return when the group of ``config`` has committed all that the topic holds.

        Raises the error of a consumer of that group in this process that failed, and TimeoutError.
        """
        deadline = time.monotonic() + timeout_seconds
        while lag := await asyncio.to_thread(self.lag, topic):
            for consumer in started_consumers(self.config.consumer_group):
                if consumer.error is not None:
                    raise consumer.error
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {timeout_seconds:g} s, {lag} records of {topic!r} are not committed")
            await asyncio.sleep(BETWEEN_LOOKS_SECONDS)

    def __enter__(self) -> Self:
        group = f"trial-{self._run}"
        if self._given_broker is None and not self._port and os.environ.get(SERVERS):
            self._config = KafkaConfig(consumer_group=group)
            return self
        self._broker = self._given_broker or self._stack.enter_context(EmbeddedBroker(port=self._port))
        # With this protocol members join and leave at once on this broker, and the broker asks for no password.
        self._config = KafkaConfig(
            bootstrap_servers=self._broker.bootstrap_servers,
            consumer_group=group,
            security_protocol=None,
            group_protocol="consumer",
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._config = None
        self._stack.close()


def _written(place: TopicPartition, record: Record) -> WrittenRecord:
    return WrittenRecord(
        place.topic, record.value, record.key, record.headers, partition=place.partition, timestamp=record.timestamp
    )
