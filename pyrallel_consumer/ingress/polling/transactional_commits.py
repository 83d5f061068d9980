"""Commits as transactions, exactly once: the poll thread's side.

Ownership is checked, and the group's metadata is read, in one step. Then the transaction belongs to the producer
thread.

The broker accepts offsets of another member's partition under a current generation. So partitions that are no longer
assigned are removed here, and a transaction under way with them is disowned. No wait for the other thread is unbounded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

from confluent_kafka import Consumer

from pyrallel_consumer.control_plane.events import Commit, CommitSnapshot, Refusal, TransactionAnswered
from pyrallel_consumer.control_plane.offsets.commit_encoder import encode
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.client.log_throttle import LogThrottle
from pyrallel_consumer.ingress.polling.commits import Commits, Errors
from pyrallel_consumer.ingress.producing.transaction import Transaction
from pyrallel_consumer.ingress.producing.transactions import Transactions
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.start_offset import Start
from pyrallel_consumer.log import Log

LOGGER: Final = Log("pyrallel_consumer.ingress")
LAST_SECONDS: Final = 2.0
"""How long a rebalance callback waits for the last transaction of the revoked partitions."""
START_SECONDS: Final = 10.0
"""How long it waits for the transaction that commits where partitions begin."""
UNKNOWN_EPOCH: Final = -1


class TransactionalCommits(Commits):
    """As ``Commits``, by way of ``transactions``."""

    is_transactional = True

    def __init__(
        self, assignments: Assignments, clock: Callable[[], float], throttle: LogThrottle, transactions: Transactions
    ) -> None:
        super().__init__(assignments, clock, throttle)
        self._transactions = transactions
        self._under_way: dict[Transaction, float] = {}
        """When each was given to the producer thread; those that have ended stay until the next one begins."""

    @property
    def is_awaited(self) -> bool:
        return any(not each.ended.is_set() for each in self._under_way)

    @property
    def awaited_since(self) -> float | None:
        return next((sent_at for each, sent_at in self._under_way.items() if not each.ended.is_set()), None)

    def obey(self, client: Consumer, command: Commit, deliver: Callable[[object], None]) -> None:
        def tell(errors: Errors, refusals: Sequence[Refusal]) -> None:
            deliver(TransactionAnswered(command.number, errors, live, tuple(refusals)))

        live = tuple(self._live(command.snapshots))
        if live:
            self._begin(client, live, tell)
        else:
            tell({}, ())

    def send(self, client: Consumer, snapshots: Sequence[CommitSnapshot], then: Callable[[Errors], None]) -> None:
        live = self._live(snapshots)
        if live:
            self._begin(client, live, lambda errors, _: then(errors))
        else:
            then({})

    def commit_before_revoke(self, client: Consumer, snapshots: Sequence[CommitSnapshot]) -> None:
        live = self._live(snapshots)
        if live:
            self._wait(self._begin(client, live, lambda *_: None), LAST_SECONDS, "the last one of revoked partitions")

    def commit_starts(self, client: Consumer, starts: Sequence[Start]) -> set[TopicPartition]:
        snapshots = [
            CommitSnapshot(each.tp, UNKNOWN_EPOCH, each.offset, encode(each.restored, each.tp), 0, each.leader_epoch)
            for each in starts
        ]
        failed = {each.tp for each in starts}
        transaction = self._begin(
            client, snapshots, lambda errors, _: failed.intersection_update(tp for tp in errors if errors[tp])
        )
        if not self._wait(transaction, START_SECONDS, "the one that says where partitions begin"):
            return {each.tp for each in starts}
        return failed

    def disown(self, tps: Collection[TopicPartition]) -> None:
        for transaction in self._under_way:
            transaction.disown(tps)

    def _begin(
        self,
        client: Consumer,
        snapshots: Sequence[CommitSnapshot],
        tell: Callable[[Errors, Sequence[Refusal]], None],
    ) -> Transaction:
        sent_at = self._clock()
        transaction = Transaction(snapshots, client.consumer_group_metadata(), partial(self._note_end, sent_at, tell))
        self._under_way = {each: at for each, at in self._under_way.items() if not each.ended.is_set()}
        self._under_way[transaction] = sent_at
        self.sent += 1
        self._transactions.put(transaction)
        return transaction

    def _note_end(
        self,
        sent_at: float,
        tell: Callable[[Errors, Sequence[Refusal]], None],
        errors: Errors,
        refusals: Sequence[Refusal],
    ) -> None:
        """On the producer's thread."""
        self.durations.add(self._clock() - sent_at)
        self.failed_by_code.update(code for code in errors.values() if code is not None)
        tell(errors, refusals)

    def _wait(self, transaction: Transaction, seconds: float, which: str) -> bool:
        """Wait for its end within a bound; then it is disowned. Returns whether it has ended."""
        if transaction.ended.wait(seconds):
            return True
        transaction.disown()
        LOGGER.warning("a transaction, %s, did not end within %g s: it is aborted, or the broker knows", which, seconds)
        return False
