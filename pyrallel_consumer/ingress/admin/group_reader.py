"""Reads what a group has committed, and where the logs begin and end, without joining the group.

The client has no partitions and commits nothing. All calls block for a bounded time. Each raises a BrokerError if the
broker refuses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.client.client_errors import translate_client_error
from pyrallel_consumer.ingress.client.client_events import ClientLog
from pyrallel_consumer.ingress.client.client_settings import observer_configuration, protocol_choice
from pyrallel_consumer.ingress.client.group_client import FeatureLog
from pyrallel_consumer.ingress.reading.group_protocol import ProtocolTrial

REACH_SECONDS: Final = 5.0
TIMEOUT_SECONDS: Final = 15.0


class Noted(NamedTuple):
    """What a group committed for a partition; without an offset if it never did."""

    offset: int | None
    metadata: str | None


class Cluster(NamedTuple):
    """The brokers' addresses, and every topic the user may see with its number of partitions."""

    brokers: tuple[str, ...]
    topics: Mapping[str, int]


class GroupReader:
    """Reads the state of ``group`` with the settings of ``config``. Close it, or use it as a ``with`` block."""

    def __init__(self, config: KafkaConfig, group: str) -> None:
        self._said: list[KafkaError] = []
        ours = {"group.id": group, "logger": ClientLog(time.monotonic), "error_cb": self._said.append}
        configuration: dict[str, Any] = observer_configuration(config) | ours
        self._trial = ProtocolTrial(protocol_choice(config))
        configuration = FeatureLog.installed_in(configuration, self._trial)
        self._servers = ",".join(config.bootstrap_servers)
        with translating("making a client"):
            self._client = Consumer(configuration)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def cluster(self) -> Cluster:
        """The brokers and the topics."""
        try:
            found = self._client.list_topics(timeout=REACH_SECONDS)
        except KafkaException as error:
            self._client.poll(0)  # lets the client log the reason: the exception says only that no broker answered
            doing = f"looking for a broker at {self._servers}"
            raise translate_client_error(self._said[0] if self._said else error, doing) from error
        brokers = sorted(f"{broker.host}:{broker.port}" for broker in found.brokers.values())
        topics = {name: len(topic.partitions) for name, topic in found.topics.items() if topic.error is None}
        return Cluster(tuple(brokers), topics)

    def topics(self) -> Mapping[str, int]:
        """Every topic the user may see, with its number of partitions."""
        return self.cluster().topics

    def protocol_trial(self) -> ProtocolTrial:
        """What a member knows about the group's protocol before it joins. Call this after ``cluster``."""
        self._client.poll(0)  # serves the client's log
        return self._trial

    def ends(self, tp: TopicPartition) -> tuple[int, int]:
        """Where the log begins, and where it ends."""
        with translating(f"asking for the ends of {tp}"):
            return self._client.get_watermark_offsets(ClientPartition(*tp), timeout=TIMEOUT_SECONDS)

    def noted(self, tp: TopicPartition) -> Noted:
        """What the group has committed."""
        with translating(f"asking what was committed for {tp}"):
            [answer] = self._client.committed([ClientPartition(*tp)], timeout=TIMEOUT_SECONDS)
            if answer.error is not None:
                raise KafkaException(answer.error)
        return Noted(answer.offset if answer.offset >= 0 else None, answer.metadata)


@contextmanager
def translating(doing: str) -> Iterator[None]:
    """Translates the client's errors into ours; ``doing`` says during which action."""
    try:
        yield
    except KafkaException as error:
        raise translate_client_error(error, doing) from error
