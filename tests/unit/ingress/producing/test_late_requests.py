"""A request that may be late never meets the next transaction of the same producer: the transaction gets a new one."""

from __future__ import annotations

import queue
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from pyrallel_consumer.control_plane.events import CommitSnapshot, Refusal
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.producing import transactions
from pyrallel_consumer.ingress.producing.transaction import DISOWNED, Transaction
from pyrallel_consumer.ingress.producing.transactions import Transactions

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.output.unwritten import Unwritten

TP = TopicPartition("orders", 0)
PATIENCE_SECONDS = 60


class Client:
    """A producer; ``trouble`` happens in the first call of a method."""

    def __init__(self, configuration: dict[str, Any], trouble: dict[str, Callable[[dict[str, Any]], None]]) -> None:
        self.calls: list[str] = []
        self._configuration = configuration
        self._trouble = dict(trouble)

    def __getattr__(self, method: str) -> Any:
        def call(*_: object) -> None:
            self.calls.append(method)
            if method in self._trouble:
                self._trouble.pop(method)(self._configuration)

        return call

    def list_topics(self, *, timeout: float) -> Any:
        return SimpleNamespace(cluster_id=f"a real one, asked for at most {timeout} s")


class Rig:
    """Two transactions, one after the other; ``trouble`` is the first producer's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.clients: list[Client] = []
        self._monkeypatch = monkeypatch

    def run(self, first: str | None = None, /, **trouble: Callable[[dict[str, Any]], None]) -> list[int]:
        """Returns how many transactions each producer began; ``first`` is the error of the first one."""

        def made(configuration: dict[str, Any]) -> Client:
            self.clients.append(Client(configuration, {} if self.clients else trouble))
            return self.clients[-1]

        self._monkeypatch.setattr(transactions, "Producer", made)
        outcomes: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        configuration = {"transactional.id": "one", "bootstrap.servers": "nowhere:1"}
        owner = Transactions(configuration, "group", print, lambda: self.now)
        owner.start().result(PATIENCE_SECONDS)
        for _ in range(2):
            snapshot = CommitSnapshot(TP, 1, 5, "", 1, None)
            owner.put(Transaction([snapshot], object(), lambda errors, _: outcomes.put(errors[TP])))
        assert [outcomes.get(timeout=PATIENCE_SECONDS) for _ in range(2)] == [first, None]
        owner.abandon()
        owner.ended.result(PATIENCE_SECONDS)
        return [client.calls.count("begin_transaction") for client in self.clients]

    def is_slow(self, _: object) -> None:
        self.now += transactions.PROMPT_SECONDS * 1.5


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


def times_out(_: object) -> None:
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer", retriable=True))  # noqa: SLF001 -- the client's name


def loses_its_broker(configuration: dict[str, Any]) -> None:
    configuration["error_cb"](KafkaError(KafkaError._TRANSPORT, "disconnected"))  # noqa: SLF001 -- the client's name


def test_while_all_answers_are_prompt_one_producer_does_it_all(rig: Rig) -> None:
    assert rig.run() == [2]


@pytest.mark.parametrize("method", ["send_offsets_to_transaction", "commit_transaction"])
@pytest.mark.parametrize("trouble", [times_out, loses_its_broker])
def test_after_a_call_that_was_made_again_or_lost_its_broker_the_next_transaction_has_a_new_producer(
    rig: Rig, method: str, trouble: Callable[[dict[str, Any]], None]
) -> None:
    assert rig.run(None, **{method: trouble}) == [1, 1]
    assert "init_transactions" in rig.clients[1].calls


def test_after_a_slow_call_which_the_client_may_have_repeated_by_itself_too(rig: Rig) -> None:
    assert rig.run(commit_transaction=rig.is_slow) == [1, 1]


def is_refused(transaction: Transaction) -> None:
    refusal = Refusal(cast("Unwritten", None), "invoices", "MSG_SIZE_TOO_LARGE", "too large", is_certain=False)
    transaction.refusals.append(refusal)


@pytest.mark.parametrize(
    ("happens", "code", "begun"),
    [(is_refused, "MSG_SIZE_TOO_LARGE", [1, 1]), (Transaction.disown, DISOWNED, [2])],
    ids=["a refused record leaves a gap in the numbers of its producer's records", "a revoke leaves none"],
)
def test_after_an_abort_the_next_transaction_has_a_new_producer_if_that_one_may_send_no_more(
    rig: Rig,
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[Transaction], None],
    code: str,
    begun: list[int],
) -> None:
    left = [happens]

    class Records:
        def __init__(self, _client: object, transaction: Transaction, _is_over: object) -> None:
            self._transaction = transaction

        def write(self) -> None:
            if left:
                left.pop()(self._transaction)

    monkeypatch.setattr(transactions, "TransactionRecords", Records)
    assert rig.run(code) == begun
