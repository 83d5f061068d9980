"""Commits as transactions, the poll thread's side: since when one has had no outcome."""

from __future__ import annotations

from typing import cast

from confluent_kafka import Consumer

from pyrallel_consumer.control_plane.events import Commit, CommitSnapshot
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.client.log_throttle import LogThrottle
from pyrallel_consumer.ingress.polling.transactional_commits import TransactionalCommits
from pyrallel_consumer.ingress.producing.transaction import Transaction
from pyrallel_consumer.ingress.producing.transactions import Transactions
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.start_offset import Start
from pyrallel_consumer.log import Log

TP = TopicPartition("orders", 0)


class Given:
    """Takes transactions, as their producer's thread does."""

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []

    def put(self, transaction: Transaction) -> None:
        self.transactions.append(transaction)


class Client:
    def consumer_group_metadata(self) -> object:
        return object()


class Rig:
    def __init__(self) -> None:
        self.now = 0.0
        assignments = Assignments()
        [assigned] = assignments.assign([Start(TP, 0, OffsetMap(0, 0, ()))], set())
        self.epoch = assigned.epoch
        self.given = Given()
        self.commits = TransactionalCommits(
            assignments, self._clock, LogThrottle(Log("test"), self._clock), cast("Transactions", self.given)
        )

    def _clock(self) -> float:
        return self.now

    def commit(self, now: float) -> Transaction:
        self.now = now
        command = Commit(1, (CommitSnapshot(TP, self.epoch, 5, "", 1, None),))
        self.commits.obey(cast("Consumer", Client()), command, lambda _fact: None)
        return self.given.transactions[-1]


def test_the_oldest_transaction_without_an_outcome_tells_since_when_the_coordinator_has_been_silent() -> None:
    """A member that is cut off would else begin messages that others have done: see ``CoordinatorSilence``."""
    rig = Rig()
    seen = [rig.commits.awaited_since]

    first, second = rig.commit(10.0), rig.commit(11.0)
    seen.append(rig.commits.awaited_since)
    first.end({TP: None})
    seen.append(rig.commits.awaited_since)
    second.end(second.failed("_DISOWNED"))
    seen.append(rig.commits.awaited_since)

    assert seen == [None, 10.0, 11.0, None]
