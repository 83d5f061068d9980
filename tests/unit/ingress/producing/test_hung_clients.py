"""A client's call that never returns does not stop transactions: a new producer with the same id takes over."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.control_plane.events import CommitSnapshot
from pyrallel_consumer.control_plane.output.outcome import NOT_WRITTEN
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.producing import transactions
from pyrallel_consumer.ingress.producing.transaction import Transaction
from pyrallel_consumer.ingress.producing.transactions import Transactions

TP = TopicPartition("orders", 0)
PATIENCE_SECONDS = 60
ABORTABLE = KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, "not a member", txn_requires_abort=True))
FATAL = KafkaException(KafkaError(KafkaError._FATAL, "fatal", fatal=True))  # noqa: SLF001 -- the client's name


class Client:
    """A producer; ``behaviour`` tells by method which error it raises, or the event that it waits for."""

    def __init__(self, behaviour: dict[str, KafkaException | threading.Event]) -> None:
        self._behaviour = behaviour

    def __getattr__(self, method: str) -> Any:
        def call(*_: object) -> None:
            behaves = self._behaviour.get(method)
            if isinstance(behaves, threading.Event):
                behaves.wait(PATIENCE_SECONDS)
            elif behaves is not None:
                raise behaves

        return call

    def list_topics(self, *, timeout: float) -> Any:
        return SimpleNamespace(cluster_id=f"a real one, asked for at most {timeout} s")


class Admin:
    """The group has committed nothing."""

    def __init__(self, _: object) -> None:
        pass

    def list_consumer_group_offsets(self, *_: object, **__: object) -> dict[str, Future[Any]]:
        future: Future[Any] = Future()
        future.set_result(SimpleNamespace(topic_partitions=[ClientPartition(*TP, -1001)]))
        return {"group": future}


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Not set before the test is over."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("method", ["send_offsets_to_transaction", "commit_transaction", "abort_transaction", "purge"])
def test_a_new_producer_finds_out_the_outcome_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, never: threading.Event, method: str
) -> None:
    before: dict[str, dict[str, KafkaException | threading.Event]] = {
        "abort_transaction": {"send_offsets_to_transaction": ABORTABLE},
        "purge": {"commit_transaction": FATAL},
    }
    behaviours = iter([before.get(method, {}) | {method: never}])
    monkeypatch.setattr(transactions, "Producer", lambda _: Client(next(behaviours, {})))
    monkeypatch.setattr(transactions, "AdminClient", Admin)
    monkeypatch.setattr(transactions, "HUNG_SECONDS", 0.5)
    monkeypatch.setattr(transactions, "FAREWELL_SECONDS", 0.5)
    outcomes: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    told: list[object] = []
    owner = Transactions({"transactional.id": "one", "bootstrap.servers": "nowhere:1"}, "group", told.append)
    owner.start().result(PATIENCE_SECONDS)
    for _ in range(2):
        snapshot = CommitSnapshot(TP, 1, 5, "", 1, None)
        owner.put(Transaction([snapshot], object(), lambda errors, _: outcomes.put(errors[TP])))

    found = [outcomes.get(timeout=PATIENCE_SECONDS) for _ in range(2)]
    owner.abandon()
    owner.ended.result(PATIENCE_SECONDS)

    assert found == [NOT_WRITTEN, None]
    assert told == []
    assert owner.clients_made > 1
