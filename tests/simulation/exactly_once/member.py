"""One member: the real work manager and outputs, and simulated loop, poll thread and producer around them."""

from __future__ import annotations

from collections.abc import Collection
from random import Random

from pyrallel_consumer.control_plane.events import Assigned, Commit, Refusal, TransactionAnswered
from pyrallel_consumer.control_plane.offsets.commit_encoder import decode
from pyrallel_consumer.control_plane.offsets.commit_sequence import CommitSequence
from pyrallel_consumer.control_plane.output.outcome import resolved
from pyrallel_consumer.control_plane.policies import OutputLimits, RetryPolicy, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import DlqPayloadMode, TopicPartition, WorkItem
from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.execution_plane.engine import Failed
from pyrallel_consumer.record import Record, Records
from pyrallel_consumer.runtime.outcomes.dead_letters import DeadLetters
from pyrallel_consumer.runtime.outcomes.exhausted import ExhaustedMessages
from pyrallel_consumer.runtime.outcomes.refused_records import RefusedRecords
from pyrallel_consumer.runtime.outcomes.transaction_output import TransactionOutput
from tests.simulation.exactly_once.broker import Broker

RECORDS = (Record("out", b"v"),)
GROUP_ERRORS = ("ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID", "FENCED_MEMBER_EPOCH", "_TIMED_OUT")
Errors = dict[TopicPartition, str | None]


class Member:
    """``under_way`` is the producer's open transaction, with its outcome once the broker has decided."""

    def __init__(self, random: Random, broker: Broker, name: str, clock: list[float], policy: WorkPolicy) -> None:
        self.name = name
        self.manager = WorkManager(policy)
        self.commits = CommitSequence(self.manager, 0.05, float("inf"))
        self.running: list[WorkItem] = []
        self.epochs: dict[TopicPartition, int] = {}
        self.under_way: Commit | None = None
        self.outcome: tuple[Errors, list[Refusal]] | None = None
        self._random = random
        self._broker = broker
        self._clock = clock
        self._positions: dict[TopicPartition, int] = {}
        self._returned = self._returned_records()
        exhausted = ExhaustedMessages(self.manager, _fail, self._now, ErrorText())
        self._exhausted = exhausted
        self.output = TransactionOutput(
            self.manager,
            self._returned,
            RefusedRecords(self.manager, exhausted, RetryPolicy(max_attempts=1)),
            limits=OutputLimits(),
            clock=self._now,
            is_transacting=lambda: self.commits.is_under_way,
        )
        self.output.take_letter_answers = exhausted.take_answers
        exhausted.dead_letters = DeadLetters(
            self.manager,
            self.output,
            suffix=".dlq",
            payload_mode=DlqPayloadMode.FULL,
            clock=self._now,
        )

    def _returned_records(self) -> dict[WorkItem, tuple[int, Records]]:
        return {}

    def _now(self) -> float:
        return self._clock[0]

    # Assignments

    def assign(self, tp: TopicPartition, epoch: int) -> None:
        """Begin at the group's committed offsets, by a stable read."""
        offset, metadata = self._broker.offsets[tp]
        self.epochs[tp] = epoch
        self._positions[tp] = offset
        self.manager.assign(Assigned(tp, epoch, offset, decode(metadata, tp, offset)))

    def revoke(self, tp: TopicPartition, *, has_time: bool) -> None:
        """The revoke: workers end or are cancelled, the open transaction ends, and a last one is sent."""
        self.manager.stop_dispatching([tp])
        self._end_work(tp, has_time=has_time)
        if self.under_way is not None and has_time:
            self.produce()
            self.hear()
        is_known = not self.commits.is_under_way
        snapshots = self.manager.end([(tp, self.epochs[tp])], is_lost=not is_known)
        is_taken = not (self._broker.refusals(snapshots) or self._broker.too_large(snapshots))
        if snapshots and is_taken and self._random.random() < 0.8:
            self._broker.commit(self.name, snapshots)  # Whether this member hears of it or not.
        if self.under_way is not None and self.outcome is None:
            self._disown({tp})
        self.let_go(tp)

    def lose(self, tp: TopicPartition) -> None:
        """It learns that the partition has another owner."""
        self.manager.end([(tp, self.epochs[tp])], is_lost=True)
        self._end_work(tp, has_time=False)
        if self.under_way is not None and self.outcome is None:
            self._disown({tp})
        self.let_go(tp)

    def let_go(self, tp: TopicPartition) -> None:
        del self.epochs[tp]
        self._exhausted.forget_ended()
        self.output.forget_ended()

    # Work

    def read(self, most: int) -> None:
        for tp, epoch in self.epochs.items():
            at, log = self._positions[tp], self._broker.logs[tp]
            end = min(len(log), at + most)
            if end > at:
                self.manager.add(tp, epoch, [self._broker.message(tp, offset) for offset in range(at, end)])
                self._positions[tp] = end

    def start(self, most: int) -> None:
        self._exhausted.pump()
        self.output.pump()
        self.running += self.manager.take(most)
        self._exhausted.take_condemned()

    def _end_work(self, tp: TopicPartition, *, has_time: bool) -> None:
        """The partition goes: its workers end, or are cancelled."""
        for item in [item for item in self.running if item.tp == tp]:
            if has_time:
                self.finish(item)
            else:
                self.running.remove(item)
                self.manager.cancel(item)

    def finish(self, item: WorkItem) -> None:
        """A worker returned one record, or none, or failed permanently."""
        self.running.remove(item)
        kind = item.offset % 5
        if kind == 4 and self.manager.is_current(item):
            self._exhausted.take(Failed(item, ValueError("invalid data"), 2))
            return
        if kind != 3:
            self._returned[item] = item.attempt, RECORDS
        self.output.succeed([item])

    # Transactions

    def tick(self) -> None:
        if self.commits.is_under_way:
            return
        command = self.commits.next(self._now())
        if command is None:
            return
        live = tuple(s for s in command.snapshots if self.epochs.get(s.tp) == s.epoch)
        self.under_way, self.outcome = Commit(command.number, live), None
        if not live:
            self.outcome = {}, []

    def produce(self, *, is_calm: bool = False) -> None:
        """The broker decides about the open transaction."""
        job = self.under_way
        if job is None or self.outcome is not None:
            return
        broker, random = self._broker, self._random
        owns_all = all(broker.owners[s.tp] == self.name for s in job.snapshots)
        refusals = broker.refusals(job.snapshots)
        if not owns_all:
            self.outcome = self._failed(random.choice(GROUP_ERRORS[:3])), []
        elif refusals:
            self.outcome = self._failed("INVALID_RECORD"), refusals
        elif broker.too_large(job.snapshots):
            self.outcome = self._failed("OFFSET_METADATA_TOO_LARGE"), []
        elif not is_calm and random.random() < 0.2:
            self.outcome = self._failed(random.choice(GROUP_ERRORS)), []
        elif not is_calm and random.random() < 0.2:
            if random.random() < 0.5:
                broker.commit(self.name, job.snapshots)
            self.outcome = dict(self._resolve(job)), []
        else:
            broker.commit(self.name, job.snapshots)
            self.outcome = dict.fromkeys((s.tp for s in job.snapshots), None), []

    def hear(self) -> None:
        """The loop processes the outcome."""
        if self.under_way is None or self.outcome is None:
            return
        job, (errors, refusals) = self.under_way, self.outcome
        self.under_way = self.outcome = None
        answered = TransactionAnswered(job.number, errors, job.snapshots, tuple(refusals))
        self.commits.answer(answered)
        self.output.take_outcome(answered)

    def _resolve(self, job: Commit) -> Errors:
        """A new producer found the old one's transaction resolved, and reads the group's offsets."""
        return resolved(job.snapshots, {s.tp: self._broker.offsets[s.tp] for s in job.snapshots})

    def _failed(self, code: str) -> Errors:
        return dict.fromkeys((s.tp for s in self.under_way.snapshots), code) if self.under_way else {}

    def _disown(self, tps: Collection[TopicPartition]) -> None:
        job = self.under_way
        if job is not None and any(s.tp in tps for s in job.snapshots):
            self.outcome = self._failed("_DISOWNED"), []


def _fail(error: BaseException) -> None:
    raise error
