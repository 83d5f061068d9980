"""The broker that a benchmark runs against: the embedded one, a real Kafka of its own, or one that stands elsewhere."""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker

TIMEOUT_SECONDS: Final = 30.0
PATIENT: Final = {"broker.session.timeout.ms": "30000", "broker.heartbeat.interval.ms": "2000"}
"""A node whose machine is fully busy is no dead node: the tests' own settings fence it after 2 s."""


class BenchmarkBroker(ABC):
    """``kind`` says in the report what it is; ``client_settings`` are what consumers need to be quick with it."""

    kind: str
    bootstrap_servers: str
    client_settings: Mapping[str, Any]

    def new_topic(self, partitions: int) -> str:
        """Create a topic with a unique name, and return the name."""
        topic = f"benchmark-{uuid.uuid4().hex[:12]}"
        self._create(topic, partitions)
        return topic

    def reset(self, topic: str, partitions: int) -> None:
        """Create a topic of this name; an older topic of that name is deleted first."""
        if self._exists(topic):
            self.forget(topic)
        self._create(topic, partitions)

    @abstractmethod
    def _exists(self, topic: str) -> bool: ...

    @abstractmethod
    def _create(self, topic: str, partitions: int) -> None: ...

    @abstractmethod
    def forget(self, topic: str) -> None:
        """Delete what is no longer needed, where the broker can."""

    def forget_group(self, group: str) -> None:  # noqa: B027 -- only a real broker can
        """Delete a group, where the broker can and nobody is in it."""


class _Embedded(BenchmarkBroker):
    def __init__(self, broker: EmbeddedBroker) -> None:
        self.kind = "embedded broker (librdkafka's mock cluster)"
        self.bootstrap_servers = broker.bootstrap_servers
        self.client_settings = dict(broker.client_settings)
        self._broker = broker

    def _exists(self, topic: str) -> bool:  # noqa: ARG002 -- a real broker looks
        return False  # it begins empty, and every name is used once

    def _create(self, topic: str, partitions: int) -> None:
        self._broker.create_topic(topic, partitions)

    def forget(self, topic: str) -> None:
        pass  # the mock cluster deletes no topics; its process ends with the benchmark


class _Real(BenchmarkBroker):
    def __init__(self, bootstrap_servers: str, kind: str) -> None:
        self.kind = kind
        self.bootstrap_servers = bootstrap_servers
        self.client_settings = {}
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})

    def _exists(self, topic: str) -> bool:
        return topic in self._admin.list_topics(timeout=TIMEOUT_SECONDS).topics

    def _create(self, topic: str, partitions: int) -> None:
        self._admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(TIMEOUT_SECONDS)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not self._is_led(topic, partitions):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{topic} has no leaders after {TIMEOUT_SECONDS:.0f} s")
            time.sleep(0.05)

    def forget(self, topic: str) -> None:
        self._admin.delete_topics([topic])[topic].result(TIMEOUT_SECONDS)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self._exists(topic):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{topic} is still there {TIMEOUT_SECONDS:.0f} s after it was deleted")
            time.sleep(0.05)

    def forget_group(self, group: str) -> None:
        with suppress(KafkaException):  # whoever was killed is in it until its session ends
            self._admin.delete_consumer_groups([group])[group].result(TIMEOUT_SECONDS)

    def _is_led(self, topic: str, partitions: int) -> bool:
        found = self._admin.list_topics(timeout=TIMEOUT_SECONDS).topics.get(topic)
        leaders = [at.leader for at in found.partitions.values()] if found else []
        return len(leaders) == partitions and min(leaders) >= 0


@contextmanager
def open_broker(
    bootstrap_servers: str | None, *, is_kafka: bool, report: Callable[[str], None]
) -> Iterator[BenchmarkBroker]:
    """The broker at ``bootstrap_servers``, a real Kafka started for this, or (by default) the embedded one."""
    if bootstrap_servers:
        yield _Real(bootstrap_servers, f"Kafka at {bootstrap_servers}")
    elif is_kafka:
        from tests.kafka_node import KafkaNode  # noqa: PLC0415 -- only who asks for it needs a JDK and the tests

        with KafkaNode(PATIENT, report=report) as node:
            yield _Real(node.bootstrap_servers, "Apache Kafka 4.3, one KRaft node on this machine")
    else:
        with EmbeddedBroker() as broker:
            yield _Embedded(broker)
