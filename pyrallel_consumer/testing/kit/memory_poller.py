"""The poll thread's stand-in: reads a ``MemoryKafka`` on the event loop, and tells the control loop the same facts.

The books of assignments and epochs, and where reading begins, are the real ones. Nothing here waits: every step is a
callback that somebody asked for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import Any, Final

from pyrallel_consumer.control_plane.events import (
    Commit,
    CommitAnswered,
    CommitSnapshot,
    Lost,
    Pause,
    PollerClosed,
    PollerFailed,
    Resume,
    RevokeAsked,
    TransactionAnswered,
)
from pyrallel_consumer.control_plane.offsets.commit_encoder import encode
from pyrallel_consumer.control_plane.partitions.latency import Histogram
from pyrallel_consumer.dto import Message, TopicPartition
from pyrallel_consumer.errors import BrokerError
from pyrallel_consumer.ingress.polling.poller_policy import PollerPolicy, reset_of
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.start_offset import Start
from pyrallel_consumer.ingress.reading.subscription import Subscription
from pyrallel_consumer.testing.kit.clock import KitTimers
from pyrallel_consumer.testing.kit.memory_kafka import MemoryKafka
from pyrallel_consumer.testing.kit.memory_producer import MemoryTransactions

SLICE: Final = 100
"""Messages that are handed on of one partition before the next one has its turn."""


class MemoryPoller:
    """Has what ``BrokerPoller`` has. ``deliver`` is called on the loop."""

    group_protocol: Final = "consumer"

    def __init__(
        self,
        configuration: Mapping[str, Any],
        *,
        kafka: MemoryKafka,
        timers: KitTimers,
        subscription: Subscription,
        deliver: Callable[[object], None],
        policy: PollerPolicy,
        transactions: MemoryTransactions | None = None,
    ) -> None:
        self.is_alive = False
        self.has_looked = asyncio.Event()
        """Set when all existing partitions have been assigned, or their assignment has failed."""
        self.ended: Future[None] = Future()
        self._kafka = kafka
        self._timers = timers
        self._subscription = subscription
        self._deliver = deliver
        self._most = policy.poll_batch_size
        self._transactions = transactions
        self._reset = reset_of(configuration)
        self._assignments = Assignments()
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._commands: deque[Callable[[], None]] = deque()
        self._questions = 0
        self._granted = 0
        self._given = 0
        self._commits = 0
        self._rebalances = 0
        self._is_due = False
        self._is_reading = True
        self._is_dead = False

    # Called by the consumer

    def start(self) -> Future[None]:
        """Read the topics from now on."""
        self.is_alive = True
        self._kafka.on_change = self._wake
        started: Future[None] = Future()
        started.set_result(None)
        self._wake()
        return started

    def grant(self, total: int) -> None:
        if total > self._granted:
            self._granted = total
            self._wake()

    def commit(self, command: Commit) -> None:
        self._ask(lambda: self._commit(command))

    def pause(self, command: Pause) -> None:
        self._ask(lambda: self._set_paused(command.tp, command.epoch, is_paused=True))

    def resume(self, command: Resume) -> None:
        self._ask(lambda: self._set_paused(command.tp, command.epoch, is_paused=False))

    def stop_fetching(self) -> None:
        self._is_reading = False

    def close(self, seconds: float) -> None:
        """``seconds`` is not needed: nothing here takes time."""
        del seconds
        self._ask(lambda: self._revoke(list(self._assignments), self._closed))

    def abandon(self) -> None:
        self.is_alive = False
        self._is_dead = True
        if not self.ended.done():
            self.ended.set_result(None)

    def get_metrics(self) -> dict[str, Any]:
        """The same names as a ``BrokerPoller``'s."""
        return {
            "polls": 0,
            "reads": 0,
            "messages": self._given,
            "messages_read_ahead": 0,
            "last_poll_at": self._timers.time(),
            "rebalances": self._rebalances,
            "assigned_partitions": len(self._assignments),
            "topics_known_by_id": 0,
            "commits_sent": self._commits,
            "commit_failures": {},
            "commit_durations": Histogram().taken(),
            "log_end_offsets": {tp: self._kafka.end_of(tp) for tp in self._assignments},
            "client_errors": {},
            "is_broker_connected": True,
            "broker_silent_seconds": 0.0,
        }

    # Called by the kit

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left to do or to read, except in paused partitions."""
        return not self._is_due and not self._questions and not (self._is_reading and self._unread())

    def die(self) -> None:
        """As by kill -9: from now on nothing reaches Kafka, and nothing comes from it."""
        self._is_dead = True

    def give_and_take(self, tps: Collection[TopicPartition], *, is_lost: bool, then: Callable[[], None]) -> None:
        """Another member gets these partitions and gives them back; ``then`` is called when they are assigned again.

        With ``is_lost`` it has them without asking.
        """

        def take_back() -> None:
            self._assign(tps)
            then()

        def give() -> None:
            if not is_lost:
                self._revoke(tps, take_back)
                return
            for tp, epoch in self._release(tps):
                self._deliver(Lost(tp, epoch))
            take_back()

        self._rebalances += 1
        self._ask(give)

    # On the loop

    def _ask(self, command: Callable[[], None]) -> None:
        self._commands.append(command)
        self._wake()

    def _wake(self) -> None:
        if not self._is_due and not self._is_dead:
            self._is_due = True
            self._timers.call_soon(self._turn)

    def _turn(self) -> None:
        self._is_due = False
        while self._commands and not self._is_dead:
            self._commands.popleft()()
        if self._is_dead or not self.is_alive or not self._is_reading:
            return
        self._assign([tp for tp in self._wanted() if self._assignments.epoch_of(tp) is None])
        self.has_looked.set()
        if not self._questions:
            self._hand_on()

    def _wanted(self) -> list[TopicPartition]:
        topics = set(self._subscription.matching(self._kafka.topics))
        return [tp for tp in self._kafka.places if tp.topic in topics]

    def _assign(self, tps: Collection[TopicPartition]) -> None:
        if self._questions or not tps or not self._is_reading:
            return
        try:
            starts = [self._kafka.start_of(tp, self._reset) for tp in tps]
        except BrokerError as error:
            self._deliver(PollerFailed(error))
            self.abandon()
            return
        for assigned in self._assignments.assign(starts):
            self._positions[assigned.tp] = assigned.start_offset
            self._deliver(assigned)
        self._kafka.commit(_first_commit(start) for start in starts if start.must_commit)
        self._wake()

    def _hand_on(self) -> None:
        room = min(self._granted - self._given, self._most)
        messages: list[Message] = []
        for tp in self._unread():
            read = self._kafka.read(tp, self._positions[tp], min(SLICE, room - len(messages)))
            self._positions[tp] += len(read)
            messages += read
            if read:
                self._positions[tp] = self._positions.pop(tp)  # The others go first next time.
        if messages:
            self._given += len(messages)
            for fact in self._assignments.split(messages):
                self._deliver(fact)
            self._wake()

    def _unread(self) -> list[TopicPartition]:
        return [
            tp
            for tp, position in self._positions.items()
            if tp not in self._paused and position < self._kafka.end_of(tp)
        ]

    def _commit(self, command: Commit) -> None:
        live = self._live(command.snapshots)
        self._commits += 1
        self._write(live)
        errors: dict[TopicPartition, str | None] = dict.fromkeys(each.tp for each in live)
        if self._transactions is None:
            self._deliver(CommitAnswered(command.number, errors))
        else:
            self._deliver(TransactionAnswered(command.number, errors, tuple(live)))

    def _write(self, snapshots: Collection[CommitSnapshot]) -> None:
        """Offsets and maps; with ``exactly_once`` also the records and letters of their transaction."""
        if snapshots and self._transactions is not None:
            self._transactions.write(snapshots)
        self._kafka.commit(snapshots)

    def _live(self, snapshots: Collection[CommitSnapshot]) -> list[CommitSnapshot]:
        return [each for each in snapshots if self._assignments.is_current(each.tp, each.epoch)]

    def _set_paused(self, tp: TopicPartition, epoch: int, *, is_paused: bool) -> None:
        if self._assignments.is_current(tp, epoch):
            (self._paused.add if is_paused else self._paused.discard)(tp)

    def _revoke(self, tps: Collection[TopicPartition], then: Callable[[], None]) -> None:
        """Ask the loop to finish with these partitions; commit its answer, give them up, and call ``then``."""
        ours = tuple((tp, epoch) for tp in tps if (epoch := self._assignments.epoch_of(tp)) is not None)
        self._questions += 1
        answers: list[tuple[CommitSnapshot, ...]] = []

        def let_go() -> None:
            self._questions -= 1
            self._write(self._live(answers[0]))
            self._release(tps)
            then()

        def answer(snapshots: tuple[CommitSnapshot, ...]) -> None:
            answers.append(snapshots)
            self._ask(let_go)

        self._deliver(RevokeAsked(ours, answer))

    def _release(self, tps: Collection[TopicPartition]) -> list[tuple[TopicPartition, int]]:
        for tp in tps:
            self._positions.pop(tp, None)
            self._paused.discard(tp)
        return self._assignments.release(tps)

    def _closed(self) -> None:
        self._deliver(PollerClosed())
        self.abandon()


def _first_commit(start: Start) -> CommitSnapshot:
    return CommitSnapshot(start.tp, 0, start.offset, encode(start.restored, start.tp), 0, start.leader_epoch)
