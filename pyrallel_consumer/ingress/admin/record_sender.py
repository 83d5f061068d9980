"""Sends records in order and gets the broker's answer to each: this puts replayed letters back into their topics.

Idempotent and acknowledged by all replicas, as dead letters are. It has no thread of its own: the caller sends and
calls ``serve``. It looks up a topic before it sends, so that producing never creates a missing topic.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.control_plane.failures.letter import Record
from pyrallel_consumer.ingress.client.client_errors import advice_for, translate_client_error
from pyrallel_consumer.ingress.client.client_events import ClientLog
from pyrallel_consumer.ingress.client.client_settings import producer_configuration

TIMEOUT_SECONDS: Final = 15.0
FULL_QUEUE_SECONDS: Final = 0.05
BY_KEY: Final = -1
# Lingers less than the library's other producers: a replay waits until each batch is acknowledged.
PRODUCING: Final[dict[str, Any]] = {"linger.ms": 2}


class Answer(NamedTuple):
    """The broker's answer for one record; ``code`` is None for success."""

    token: int
    code: str | None
    said: str


class RecordSender:
    """Sends with the settings of ``config``, and with ``more`` of the client's.

    ``under_way`` counts records that are not answered yet.
    """

    def __init__(self, config: KafkaConfig, more: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.under_way = 0
        self._answers: list[Answer] = []
        self._partitions: dict[str, int] = {}
        ours = {"logger": ClientLog(time.monotonic)}
        self._configuration = PRODUCING | producer_configuration(config) | ours | dict(more)
        self._client = self._made()

    def _made(self) -> Producer:
        with _translating("making a producer"):
            return Producer(self._configuration)

    def partitions(self, topic: str) -> int:
        """How many partitions the topic had at the first request; 0 if it does not exist."""
        if topic not in self._partitions:
            with _translating(f"looking for topic {topic!r}"):
                found = self._client.list_topics(timeout=TIMEOUT_SECONDS).topics.get(topic)
            self._partitions[topic] = len(found.partitions) if found is not None and found.error is None else 0
        return self._partitions[topic]

    def send(self, token: int, topic: str, partition: int, record: Record) -> None:
        """Send to the partition; if the topic does not have it, to the partition of the key. An ``Answer`` follows."""
        chosen = partition if partition < self.partitions(topic) else BY_KEY
        while True:
            try:
                self._client.produce(
                    topic,
                    value=record.value,
                    key=record.key,
                    partition=chosen,
                    headers=[*record.headers],
                    on_delivery=partial(self._note, token),
                )
            except BufferError:
                self._client.poll(FULL_QUEUE_SECONDS)
            except KafkaException as error:
                self._answers.append(_answer(token, error.args[0]))
                return
            else:
                self.under_way += 1
                return

    def serve(self, seconds: float) -> None:
        """Take the broker's answers, for at most ``seconds``."""
        self._client.poll(seconds)

    def take_answers(self) -> list[Answer]:
        answers, self._answers = self._answers, []
        return answers

    def _note(self, token: int, error: KafkaError | None, _: Message) -> None:
        self.under_way -= 1
        self._answers.append(Answer(token, None, "") if error is None else _answer(token, error))


def _answer(token: int, error: KafkaError) -> Answer:
    code = error.name()
    return Answer(token, code, f"{error.str()} ({code}){advice_for(code)}")


@contextmanager
def _translating(doing: str) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise translate_client_error(error, doing) from error
