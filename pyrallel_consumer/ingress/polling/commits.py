"""Commits on their way to the broker, and the broker's answers. Belongs to the poll thread.

Partitions that are no longer assigned are removed just before a commit is sent, because brokers accept commits of
non-owners. At most one asynchronous commit is awaited; an answer to any other commit is late and ignored. No wait here
is unbounded: if the coordinator may be gone, even the last commit before a revoke is sent without waiting.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.control_plane.events import Commit, CommitAnswered, CommitSnapshot
from pyrallel_consumer.control_plane.offsets.commit_encoder import encode
from pyrallel_consumer.control_plane.offsets.commit_sequence import METADATA_TOO_LARGE
from pyrallel_consumer.control_plane.partitions.latency import Histogram
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.client.log_throttle import LogThrottle
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.start_offset import Start

OVERDUE_SECONDS: Final = 5.0
# A coordinator that confirmed a commit within this time is trusted to answer the next one.
TRUSTED_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 2.0
NO_LEADER_EPOCH: Final = -1
ENDED: Final = KafkaError(KafkaError._DESTROY)  # noqa: SLF001 -- the client's public name of it
NO_ANSWER: Final = frozenset({"_TIMED_OUT", "_TRANSPORT", "_WAIT_COORD", "_ALL_BROKERS_DOWN"})

Errors = Mapping[TopicPartition, str | None]
"""Per partition None for success, else the error's name."""


@dataclass(frozen=True, slots=True)
class _Awaited:
    offsets: dict[TopicPartition, int]
    then: Callable[[Errors], None]
    sent_at: float


class Commits:
    """Sends commits and takes their answers; ``sent`` counts requests, ``failed_by_code`` refused partitions.

    ``durations`` covers all requests that were answered or failed.
    """

    def __init__(self, assignments: Assignments, clock: Callable[[], float], throttle: LogThrottle) -> None:
        self._assignments = assignments
        self._clock = clock
        self._throttle = throttle
        self._awaited: _Awaited | None = None
        self._confirmed_at = float("-inf")
        self.coming: deque[Commit] = deque()
        """Commits that the loop has commanded and that are not sent yet; the loop appends them."""
        self.sent = 0
        self.failed_by_code: Counter[str] = Counter()
        self.durations = Histogram()

    is_transactional: ClassVar[bool] = False
    """Whether commands are obeyed while a callback waits: the loop waits for the one under way before it answers."""

    def obey(self, client: Consumer, command: Commit, deliver: Callable[[object], None]) -> None:
        """Carry out the loop's command; ``CommitAnswered`` is delivered."""
        self.send(client, command.snapshots, lambda errors: deliver(CommitAnswered(command.number, errors)))

    def disown(self, tps: Collection[TopicPartition]) -> None:
        """These partitions are no longer assigned."""

    @property
    def is_awaited(self) -> bool:
        """Whether an asynchronous commit is still unanswered."""
        return self._awaited is not None

    @property
    def awaited_since(self) -> float | None:
        """When the unanswered asynchronous commit was sent; None if there is none."""
        return None if self._awaited is None else self._awaited.sent_at

    def send(self, client: Consumer, snapshots: Sequence[CommitSnapshot], then: Callable[[Errors], None]) -> None:
        """Commit without waiting; ``then`` gets the answer, at once if nothing is left to commit."""
        live = self._live(snapshots)
        if not live:
            then({})
            return
        self._awaited = _Awaited({s.tp: s.offset for s in live}, then, self._clock())
        self.sent += 1
        try:
            client.commit(offsets=[_offer(s) for s in live], asynchronous=True)
        except KafkaException as error:
            self._answer(self._awaited, dict.fromkeys(self._awaited.offsets, error.args[0]))

    def on_commit(self, error: KafkaError | None, partitions: Sequence[ClientPartition] | None) -> None:
        """The client's callback: an asynchronous commit was answered."""
        awaited = self._awaited
        if awaited is None:
            return
        told = {TopicPartition(p.topic, p.partition): p for p in partitions or ()}
        if not told and error is not None:
            self._answer(awaited, dict.fromkeys(awaited.offsets, error))
        elif {tp: p.offset for tp, p in told.items()} == awaited.offsets:
            self._answer(awaited, {tp: p.error or error for tp, p in told.items()})

    def client_ended(self) -> None:
        """Another client commits from now on: requests to the last client get no answer any more."""
        if self._awaited is not None:
            self._answer(self._awaited, dict.fromkeys(self._awaited.offsets, ENDED))

    def commit_before_revoke(self, client: Consumer, snapshots: Sequence[CommitSnapshot]) -> None:
        """Commit inside a rebalance callback; waits for the answer if the coordinator is trusted to give one."""
        live = self._live(snapshots)
        if not live:
            return
        if self._coordinator_answers(client, live[0].tp):
            self._commit_and_wait(client, live)
            return
        self.sent += 1
        try:
            client.commit(offsets=[_offer(s) for s in live], asynchronous=True)
        except KafkaException as error:
            self._note(dict.fromkeys((s.tp for s in live), error.args[0]))

    def _commit_and_wait(self, client: Consumer, snapshots: Sequence[CommitSnapshot]) -> None:
        """Commit now or never. If metadata is too large, the whole request is refused: then each partition is committed
        alone, and the one with the large metadata without its map, so that at least its offset is committed.
        """
        try:
            answer = self._commit_now(client, [_offer(s) for s in snapshots])
            self._note({TopicPartition(p.topic, p.partition): p.error for p in answer or ()})
        except KafkaException as error:
            self._note(dict.fromkeys((s.tp for s in snapshots), error.args[0]))
            if error.args[0].name() != METADATA_TOO_LARGE:
                return
            if len(snapshots) > 1:
                for snapshot in snapshots:
                    self._commit_and_wait(client, [snapshot])
            elif snapshots[0].metadata:
                self._commit_and_wait(client, [replace(snapshots[0], metadata="")])

    def commit_starts(self, client: Consumer, starts: Sequence[Start]) -> set[TopicPartition]:
        """Commit the starts of partitions, waiting; returns the partitions for which it failed.

        Called right after the coordinator has answered which offsets are committed, so it is available.
        """
        try:
            answer = self._commit_now(
                client,
                [_offered(each.tp, each.offset, encode(each.restored, each.tp), each.leader_epoch) for each in starts],
            )
        except KafkaException as error:
            return self._note(dict.fromkeys((each.tp for each in starts), error.args[0]))
        return self._note({TopicPartition(p.topic, p.partition): p.error for p in answer or ()})

    def _commit_now(self, client: Consumer, offers: list[ClientPartition]) -> list[ClientPartition] | None:
        self.sent += 1
        sent_at = self._clock()
        try:
            return client.commit(offsets=offers, asynchronous=False)
        finally:
            self.durations.add(self._clock() - sent_at)

    def _live(self, snapshots: Sequence[CommitSnapshot]) -> list[CommitSnapshot]:
        return [s for s in snapshots if self._assignments.is_current(s.tp, s.epoch)]

    def _coordinator_answers(self, client: Consumer, tp: TopicPartition) -> bool:
        # A synchronous commit has no timeout: with a frozen broker it takes minutes. So ask a question with one first.
        now = self._clock()
        if self._awaited is not None and now - self._awaited.sent_at > OVERDUE_SECONDS:
            return False
        if now - self._confirmed_at < TRUSTED_SECONDS:
            return True
        try:
            client.committed([ClientPartition(tp.topic, tp.partition)], timeout=PROBE_SECONDS)
        except KafkaException as error:
            return error.args[0].name() not in NO_ANSWER
        return True

    def _answer(self, awaited: _Awaited, errors: Mapping[TopicPartition, KafkaError | None]) -> None:
        self._awaited = None
        self.durations.add(self._clock() - awaited.sent_at)
        self._note(errors)
        awaited.then({tp: None if error is None else error.name() for tp, error in errors.items()})

    def _note(self, errors: Mapping[TopicPartition, KafkaError | None]) -> set[TopicPartition]:
        failed = {tp: error for tp, error in errors.items() if error is not None}
        if not failed:
            self._confirmed_at = self._clock()
        for tp, error in failed.items():
            self.failed_by_code[error.name()] += 1
            place: dict[str, object] = {"topic": tp.topic, "partition": tp.partition}
            epoch = self._assignments.epoch_of(tp)
            if epoch is not None:  # The start is committed before there is an epoch.
                place["epoch"] = epoch
            code = error.name()
            self._throttle.log(
                logging.WARNING, f"commit {code}", f"commit of {tp} failed: {error.str()}", {**place, "code": code}
            )
        return set(failed)


def _offer(snapshot: CommitSnapshot) -> ClientPartition:
    return _offered(snapshot.tp, snapshot.offset, snapshot.metadata, snapshot.leader_epoch)


def _offered(tp: TopicPartition, offset: int, metadata: str, leader_epoch: int | None) -> ClientPartition:
    known = NO_LEADER_EPOCH if leader_epoch is None else leader_epoch
    return ClientPartition(tp.topic, tp.partition, offset, metadata, known)
