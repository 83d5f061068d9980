"""The check for dead-letter topics at the start never ends the producer, whatever the client answers."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from pyrallel_consumer.ingress.producing.letter_topics import MOST_LOOKS, LetterTopics


class Client:
    """A stand-in for the client's producer, with the answer or the error given."""

    def __init__(self, answer: Any) -> None:
        self.asked = 0
        self._answer = answer

    def list_topics(self, *, timeout: float) -> Any:
        self.asked += 1
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def looked(answer: Any) -> int:
    client: Any = Client(answer)
    topics = LetterTopics({}, lambda _: ("orders.dlq",), time.monotonic)
    for _ in range(2 * MOST_LOOKS):
        topics.look(client)
    asked: int = client.asked
    return asked


def test_a_broker_that_does_not_answer_is_asked_again_and_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    assert looked(KafkaException(KafkaError(KafkaError._TRANSPORT))) == MOST_LOOKS  # noqa: SLF001 -- the client's name
    assert caplog.records == []


def test_a_broker_that_is_not_yet_back_in_its_cluster_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    assert looked(SimpleNamespace(brokers={}, topics={})) == MOST_LOOKS
    assert caplog.records == []


def test_a_client_that_fails_otherwise_is_told_once_and_not_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    assert looked(ValueError("no")) == 1
    assert ["could not be looked for" in record.getMessage() for record in caplog.records] == [True]
