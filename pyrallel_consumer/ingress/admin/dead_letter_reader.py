"""Reads dead-letter topics: their records in order, and the progress that a group has committed for them.

The client does not join the group: it assigns partitions itself, and commits only on demand. All calls
block for a bounded time. Each raises a BrokerError if the broker refuses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, cast

from confluent_kafka import KafkaException, Message
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer import dto
from pyrallel_consumer.control_plane.failures.letter import Record
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.errors import BrokerError
from pyrallel_consumer.ingress.admin.group_reader import GroupReader, translating
from pyrallel_consumer.ingress.client.client_errors import translate_client_error
from pyrallel_consumer.message import headers_of

POLL_SECONDS: Final = 0.1
STALL_SECONDS: Final = 30.0
"""A broker that has more records and sends none for this long counts as away."""
AT_ONCE: Final = 500


class StoredRecord(NamedTuple):
    """One record of a topic."""

    offset: int
    record: Record


class DeadLetterReader(GroupReader):
    """Reads with the settings of ``config``, and commits for ``group``. Close it, or use it as a ``with`` block."""

    def group_metadata(self) -> Any:
        """What a transaction needs to know about the group, of which this client is no member."""
        return self._client.consumer_group_metadata()

    def note(self, tp: TopicPartition, offset: int, metadata: str) -> None:
        """Commit; returns when the broker has confirmed it."""
        place = ClientPartition(tp.topic, tp.partition, offset, metadata or "")
        with translating(f"committing what was done of {tp}"):
            answers = self._client.commit(offsets=[place], asynchronous=False)
            refused = next((answer.error for answer in answers or () if answer.error is not None), None)
            if refused is not None:
                raise KafkaException(refused)

    def read(self, tp: TopicPartition, start: int, end: int) -> Iterator[StoredRecord | None]:
        """The records from ``start`` up to ``end``, in order; yields None now and then while none arrives."""
        with translating(f"reading {tp}"):
            self._client.assign([ClientPartition(tp.topic, tp.partition, start)])
            position, came_at = start, time.monotonic()
            while position < end:
                messages = self._client.consume(AT_ONCE, 0) or _some(self._client.poll(POLL_SECONDS))
                for message in messages:
                    stored = _stored(message)
                    if stored.offset >= end:
                        return
                    yield stored
                if messages:
                    position, came_at = (messages[-1].offset() or 0) + 1, time.monotonic()
                    continue
                [reached] = self._client.position([ClientPartition(*tp)])
                if reached.offset > position:  # past the gaps of compaction and transactions
                    position, came_at = reached.offset, time.monotonic()
                elif time.monotonic() - came_at > STALL_SECONDS:
                    raise self._stalled(tp, position)
                yield None

    def _stalled(self, tp: TopicPartition, position: int) -> BrokerError:
        doing = f"reading {tp} from offset {position}: nothing came for {STALL_SECONDS:g} s"
        if self._said:
            error = translate_client_error(self._said[-1], doing)
            if isinstance(error, BrokerError):
                return error
        return BrokerError(doing, code="_TIMED_OUT", retriable=True)


def _some(message: Message | None) -> list[Message]:
    return [] if message is None else [message]


def _stored(message: Message) -> StoredRecord:
    error = message.error()
    if error is not None:
        raise KafkaException(error)
    kind, at_ms = message.timestamp()
    # Headers that were read are pairs with bytes as values; the client's types also cover headers to produce.
    headers = headers_of(cast("dto.Message", message)) or []
    record = Record(message.key(), message.value(), headers, at_ms if kind and at_ms >= 0 else None)
    return StoredRecord(message.offset() or 0, record)
