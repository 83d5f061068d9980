"""A topic for one run of a demo or a benchmark: created, filled, inspected from outside, removed.

A separate client, which does not join the group, asks every question about offsets. So the answers do not
depend on the consumers under test. All calls block; where a loop is running, make them on another thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.dto import Headers
from pyrallel_consumer.errors import BrokerError
from pyrallel_consumer.ingress.client.client_errors import translate_client_error
from pyrallel_consumer.ingress.client.client_events import ClientLog
from pyrallel_consumer.ingress.client.client_settings import (
    admin_configuration,
    observer_configuration,
    producer_configuration,
)

TIMEOUT_SECONDS: Final = 10.0
REACH_SECONDS: Final = 5.0
DELIVERY_SECONDS: Final = 60.0
BETWEEN_LOOKS: Final = 1000
BETWEEN_TRIES_SECONDS: Final = 0.05
# Small repetitive records shrink to a third, and the embedded broker keeps 5 MB per partition in the form in which they
# were sent.
PRODUCING: Final[dict[str, Any]] = {
    "compression.type": "lz4",
    "linger.ms": 5,
    "queue.buffering.max.messages": 200_000,
    "delivery.report.only.error": True,
}


Given: TypeAlias = tuple[bytes | None, bytes | None] | tuple[bytes | None, bytes | None, Headers]
"""Key and value of a record, and its headers if it has some."""


class LogBounds(NamedTuple):
    """One partition from outside: the ends of its log, and the group's committed offset, if there is one."""

    begin_offset: int
    end_offset: int
    committed_offset: int | None

    @property
    def size(self) -> int:
        """The number of offsets between the beginning and the end of the log."""
        return self.end_offset - self.begin_offset

    @property
    def lag(self) -> int:
        """The number of offsets between the committed offset and the end of the log."""
        return self.end_offset - (self.begin_offset if self.committed_offset is None else self.committed_offset)


class ScratchTopic:
    """The topic ``name`` on the cluster of ``config``. Every method raises a BrokerError if the broker refuses."""

    def __init__(self, config: KafkaConfig, name: str, partitions: int) -> None:
        self.name = name
        self.partitions = partitions
        self._config = config

    def create(self) -> None:
        """Create the topic, with the broker's own replication factor; returns when each partition has a leader."""
        said: list[KafkaError] = []
        admin = AdminClient(admin_configuration(self._config) | _speaking() | {"error_cb": said.append})
        try:
            admin.list_topics(timeout=REACH_SECONDS)
        except KafkaException as error:
            admin.poll(0)  # lets the client log the reason: the exception says only that no broker answered
            doing = f"looking for a broker at {','.join(self._config.bootstrap_servers)}"
            raise translate_client_error(said[0] if said else error, doing) from error
        with _translating(f"creating topic {self.name!r}"):
            admin.create_topics([NewTopic(self.name, num_partitions=self.partitions)])[self.name].result(
                TIMEOUT_SECONDS
            )
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not self._is_led():
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"topic {self.name!r} has no leaders {TIMEOUT_SECONDS:g} s after it was created",
                    code="LEADER_NOT_AVAILABLE",
                    retriable=True,
                )
            time.sleep(BETWEEN_TRIES_SECONDS)

    def append(self, records: Iterable[Given], is_wanted: Callable[[], bool] = lambda: True) -> int:
        """Produce these and return how many, once all are acknowledged; ends early when not wanted."""
        failures: list[KafkaError] = []

        def note(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failures.append(error)

        producer = Producer(producer_configuration(self._config) | PRODUCING | _speaking() | {"on_delivery": note})
        count = 0
        with _translating(f"producing to {self.name!r}"):
            for key, value, *headers in records:
                while not _is_taken(producer, self.name, key, value, *headers):
                    producer.poll(BETWEEN_TRIES_SECONDS)
                count += 1
                if count % BETWEEN_LOOKS == 0:
                    producer.poll(0)
                    if failures or not is_wanted():
                        break
            unsent = producer.flush(DELIVERY_SECONDS)
            if failures:
                raise KafkaException(failures[0])
        if unsent:
            raise BrokerError(
                f"producing to {self.name!r}: {unsent} records were not acknowledged within {DELIVERY_SECONDS:g} s",
                code="_MSG_TIMED_OUT",
                retriable=True,
            )
        return count

    def bounds(self) -> dict[int, LogBounds]:
        """Log and committed offset of every partition, as the broker has them now."""
        asked = [TopicPartition(self.name, partition) for partition in range(self.partitions)]
        with _translating(f"asking for the offsets of {self.name!r}"), _observer(self._config) as observer:
            committed = {answer.partition: answer for answer in observer.committed(asked, timeout=TIMEOUT_SECONDS)}
            bounds = {}
            for tp in asked:
                begin_offset, end_offset = observer.get_watermark_offsets(tp, timeout=TIMEOUT_SECONDS)
                answer = committed[tp.partition]
                if answer.error is not None:
                    raise KafkaException(answer.error)
                offset = answer.offset if answer.offset >= 0 else None
                bounds[tp.partition] = LogBounds(begin_offset, end_offset, offset)
            return bounds

    def remove(self) -> None:
        """Delete the topic and the group of ``config``; neither has to exist."""
        admin = AdminClient(admin_configuration(self._config) | _speaking())
        with _translating(f"deleting topic {self.name!r}"):
            futures = [
                *admin.delete_topics([self.name]).values(),
                *admin.delete_consumer_groups([self._config.consumer_group]).values(),
            ]
            for future in futures:
                try:
                    future.result(TIMEOUT_SECONDS)
                except KafkaException as error:
                    if error.args[0].name() not in {"UNKNOWN_TOPIC_OR_PART", "GROUP_ID_NOT_FOUND"}:
                        raise

    def _is_led(self) -> bool:
        """Whether the leaders know that they lead; they learn it a moment after everybody else."""
        try:
            return len(self.bounds()) == self.partitions
        except BrokerError:
            return False


def _speaking() -> dict[str, Any]:
    """Settings that send the client's log lines to the library's log, each kind now and then only."""
    return {"logger": ClientLog(time.monotonic)}


def _is_taken(
    producer: Producer, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None
) -> bool:
    try:
        producer.produce(topic, value, key, headers=[] if headers is None else [*headers])
    except BufferError:
        return False
    return True


@contextmanager
def _observer(config: KafkaConfig) -> Iterator[Consumer]:
    """A client that may ask about the group without joining it."""
    observer = Consumer(observer_configuration(config) | _speaking())
    try:
        yield observer
    finally:
        observer.close()


@contextmanager
def _translating(doing: str) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise translate_client_error(error, doing) from error
