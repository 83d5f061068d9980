"""One embedded broker for all integration tests of a run; a topic of its own for each test that asks.

Tests that inject faults start a broker of their own: the others share this one.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest
from confluent_kafka import KafkaError, Message, Producer

from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker

DELIVERY_TIMEOUT_SECONDS = 60.0
MESSAGES_BETWEEN_POLLS = 10_000
CHOSEN_BY_THE_CLIENT = -1
NewTopic = Callable[[int], str]
"""Makes a topic with so many partitions, and returns its name."""


class Produce(Protocol):
    def __call__(
        self,
        topic: str,
        n: int,
        key_of: Callable[[int], bytes | None] = ...,
        value_of: Callable[[int], bytes | None] = ...,
        partitions: int | None = None,
    ) -> None:
        """Produce ``n`` messages and wait for the broker's word on each; ``key_of`` and ``value_of`` take their index.

        ``partitions=None`` lets the client choose by key; a number deals the messages out to this many partitions in
        turn. Compressed, so that the broker, which drops what is older than 5 MB, keeps a million small messages.
        """


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def new_topic(embedded_broker: EmbeddedBroker) -> Callable[[int], str]:
    """Create a topic with this many partitions, under a unique name."""
    numbers = itertools.count()

    def create(partitions: int) -> str:
        name = f"topic-{next(numbers)}"
        embedded_broker.create_topic(name, partitions)
        return name

    return create


@pytest.fixture(scope="session")
def produce(embedded_broker: EmbeddedBroker) -> Produce:
    return producing_to(embedded_broker.bootstrap_servers)


def producing_to(bootstrap_servers: str) -> Produce:
    """The ``produce`` fixture for a broker other than the shared one."""

    def produce(
        topic: str,
        n: int,
        key_of: Callable[[int], bytes | None] = lambda i: f"key-{i % 100}".encode(),
        value_of: Callable[[int], bytes | None] = lambda i: f"value-{i}".encode(),
        partitions: int | None = None,
    ) -> None:
        refused: list[KafkaError] = []

        def note(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                refused.append(error)

        producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "compression.type": "lz4",
                "linger.ms": 5,
                "queue.buffering.max.messages": 10_000_000,
                "delivery.report.only.error": True,
                "on_delivery": note,
            }
        )
        for i in range(n):
            partition = CHOSEN_BY_THE_CLIENT if partitions is None else i % partitions
            producer.produce(topic, value_of(i), key_of(i), partition)
            if i % MESSAGES_BETWEEN_POLLS == 0:
                producer.poll(0)
        unanswered = producer.flush(DELIVERY_TIMEOUT_SECONDS)
        assert (unanswered, refused) == (0, [])

    return produce


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """Whatever a test does to a consumer, all of the consumer's threads end."""
    yield
    deadline = time.monotonic() + DELIVERY_TIMEOUT_SECONDS
    pause = threading.Event()
    while left := [thread.name for thread in threading.enumerate() if thread.name.startswith("pyrallel-")]:
        assert time.monotonic() < deadline, f"left: {left}"
        pause.wait(0.02)
