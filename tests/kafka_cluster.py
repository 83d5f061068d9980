"""What tests ask of a real Kafka beside the consumer under test: topics, messages, committed offsets.

Every topic and group has a name of its own, so tests never meet each other's data, nor that of a broker's other users.
Knows nothing of the library. Each call blocks until the broker has done what was asked.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.cimpl import NewTopic

from tests.kafka_admin import Admins
from tests.kafka_node import KafkaNode

TIMEOUT_SECONDS = 30.0
ATTEMPT_SECONDS = 5.0
UNSETTLED = frozenset(
    {"NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS", "NOT_LEADER_FOR_PARTITION"}
)
LOST = frozenset({"_TRANSPORT", "_TIMED_OUT", "_ALL_BROKERS_DOWN"})
"""What a client says that has lost its only broker (``kafka_admin`` says how)."""
T = TypeVar("T")

Record = tuple[bytes | None, bytes | None]


class KafkaCluster:
    """A running Kafka; `node` is None where it is somebody else's (KAFKA_BOOTSTRAP_SERVERS)."""

    def __init__(self, bootstrap_servers: str, node: KafkaNode | None = None) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.node = node
        self._admins = Admins(bootstrap_servers)
        self._topics: list[str] = []

    def new_name(self, prefix: str) -> str:
        return f"{prefix}-{uuid.uuid4().hex[:12]}"

    def new_group(self) -> str:
        return self.new_name("group")

    def new_topic(
        self, partitions: int = 1, config: Mapping[str, str] | None = None, *, name: str | None = None
    ) -> str:
        """Creates a topic and returns its name once the leader of every partition answers."""
        topic = name or self.new_name("topic")
        created = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
        self._admins.made().create_topics([created])[topic].result(TIMEOUT_SECONDS)
        self._topics.append(topic)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not self._is_led(topic, partitions):
            assert time.monotonic() < deadline, f"{topic} has no leaders after {TIMEOUT_SECONDS:.0f} s"
            time.sleep(0.02)
        return topic

    def delete_topic(self, topic: str) -> None:
        self._admins.made().delete_topics([topic])[topic].result(TIMEOUT_SECONDS)
        self._topics.remove(topic)

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        """Makes the log of each partition begin at the offset given."""
        wanted = [TopicPartition(topic, partition, offset) for partition, offset in before.items()]
        for deleted in self._admins.made().delete_records(wanted).values():
            deleted.result(TIMEOUT_SECONDS)

    def topics(self) -> set[str]:
        """The names of all topics."""
        return self._asked(lambda client: set(client.list_topics(timeout=ATTEMPT_SECONDS).topics))

    def partitions(self, topic: str) -> list[int]:
        """The partitions of the topic that have a leader, ascending."""
        return self._asked(lambda client: _led(client, topic))

    def produce(
        self, topic: str, records: Iterable[Record], *, partition: int | None = None, timestamp: int = 0
    ) -> int:
        """Produces (key, value) pairs in order and returns how many, once the broker has acknowledged every one.

        ``timestamp`` is in milliseconds since 1970, 0 is now.
        """
        failures: list[KafkaError] = []

        def note(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failures.append(error)

        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "queue.buffering.max.messages": 1_000_000,
                "delivery.report.only.error": True,
            }
        )
        where = -1 if partition is None else partition  # -1: the client chooses by the key
        count = 0
        for key, value in records:
            while True:
                try:
                    producer.produce(
                        topic, key=key, value=value, partition=where, timestamp=timestamp, on_delivery=note
                    )
                    break
                except BufferError:
                    producer.poll(0.05)
            count += 1
        unsent = producer.flush(TIMEOUT_SECONDS)
        assert not unsent, f"{unsent} messages for {topic} were not acknowledged"
        assert not failures, f"{len(failures)} messages for {topic} failed, the first by: {failures[0]}"
        return count

    def produce_numbered(self, topic: str, messages: int, keys: int, *, partition: int | None = None) -> int:
        """Produces messages round robin over the keys `key-0` ...; the value numbers the messages of its key from 0."""
        return self.produce(topic, numbered_records(messages, keys), partition=partition)

    @contextmanager
    def open_transaction(self, topic: str, messages: int) -> Iterator[None]:
        """A transaction with messages in partition 0: open during the block, aborted at its end."""
        with self._begun() as producer:
            for _ in range(messages):
                producer.produce(topic, value=b"uncommitted", partition=0)
            assert not producer.flush(TIMEOUT_SECONDS)
            yield

    @contextmanager
    def open_offsets(self, group: str, topic: str, partition: int) -> Iterator[None]:
        """A transaction that would commit offset 0 of a partition: open during the block, aborted at its end."""
        with self._begun() as producer, _reader(self.bootstrap_servers, group) as consumer:
            offsets = [TopicPartition(topic, partition, 0)]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), TIMEOUT_SECONDS)
            yield

    @contextmanager
    def _begun(self) -> Iterator[Producer]:
        producer = Producer(
            {"bootstrap.servers": self.bootstrap_servers, "transactional.id": self.new_name("transaction")}
        )
        producer.init_transactions(TIMEOUT_SECONDS)
        producer.begin_transaction()
        try:
            yield producer
        finally:
            producer.abort_transaction(TIMEOUT_SECONDS)

    def commit(self, group: str, offsets: list[TopicPartition]) -> None:
        """Commits offsets, metadata included, for a group that has no members."""
        with _reader(self.bootstrap_servers, group) as consumer:
            for answer in consumer.commit(offsets=offsets, asynchronous=False):
                assert answer.error is None, f"commit of {answer} failed: {answer.error}"

    def committed(self, group: str, topic: str) -> dict[int, TopicPartition]:
        """What the group has committed, by partition; partitions without a commit are left out."""
        answers = self._asked(
            lambda client: client.committed(
                [TopicPartition(topic, partition) for partition in _led(client, topic)], timeout=ATTEMPT_SECONDS
            ),
            group,
        )
        return {answer.partition: answer for answer in answers if answer.offset >= 0}

    def committed_offsets(self, group: str, topic: str) -> dict[int, int]:
        return {partition: answer.offset for partition, answer in self.committed(group, topic).items()}

    def log_starts(self, topic: str) -> dict[int, int]:
        """The lowest offset of each partition that was not deleted."""
        return {partition: low for partition, (low, _) in self._ends(topic).items()}

    def end_offsets(self, topic: str) -> dict[int, int]:
        """The offset after the last record of each partition, transaction markers included."""
        return {partition: high for partition, (_, high) in self._ends(topic).items()}

    def _ends(self, topic: str) -> dict[int, tuple[int, int]]:
        return self._asked(
            lambda client: {
                partition: client.get_watermark_offsets(TopicPartition(topic, partition), timeout=ATTEMPT_SECONDS)
                for partition in _led(client, topic)
            }
        )

    def _asked(self, ask: Callable[[Consumer], T], group: str | None = None) -> T:
        """The answer to a question, of a client of its own.

        A broker that has just started may still be finding its coordinators and leaders, and the client may be lost.
        """
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while True:
            try:
                with _reader(self.bootstrap_servers, group or self.new_group()) as client:
                    return ask(client)
            except KafkaException as error:
                if error.args[0].name() not in UNSETTLED | LOST or time.monotonic() >= deadline:
                    raise
            time.sleep(0.1)

    def _is_led(self, topic: str, partitions: int) -> bool:
        """Whether the leaders know that they lead: they learn it a moment after everybody else."""
        try:
            return len(self.end_offsets(topic)) == partitions
        except KafkaException:
            return False

    def close(self) -> None:
        """Deletes the topics of the tests from a Kafka that is not the tests' own."""
        if self.node is None and self._topics:
            for deleted in self._admins.made().delete_topics(self._topics).values():
                deleted.result(TIMEOUT_SECONDS)


def _led(client: Consumer, topic: str) -> list[int]:
    found = client.list_topics(timeout=ATTEMPT_SECONDS).topics.get(topic)
    return sorted(number for number, at in found.partitions.items() if at.leader >= 0) if found else []


def numbered_records(messages: int, keys: int) -> Iterator[Record]:
    """(`key-N`, number of the message within its key), round robin over the keys."""
    for number in range(messages):
        yield b"key-%d" % (number % keys), b"%d" % (number // keys)


def _reader(bootstrap_servers: str, group: str) -> Consumer:
    """A client that asks about a group without joining it."""
    return Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group, "enable.auto.commit": False})
