"""Attempts against a model: every item is one record in one list, and each question looks through the list."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.errors import TaskTimeoutError
from pyrallel_consumer.execution_plane.attempts import Exhausted, RetryAt, Uncharged, Verdict
from pyrallel_consumer.testing.messages import work_item
from tests.unit.execution_plane.books_of_attempts import books


@dataclass
class Record:
    root: WorkItem
    state: str
    attempt: int = 1
    is_retry: bool = False
    started_at: float = 0.0
    due_at: float = 0.0
    waits_since: int = 0
    is_timed_out: bool = False
    is_cancelled: bool = False


class AttemptsAgainstAModel(RuleBasedStateMachine):
    @initialize(
        slots=st.integers(1, 9),
        max_attempts=st.integers(1, 4),
        backoff_ms=st.sampled_from([0, 1000, 3000]),
        timeout_ms=st.sampled_from([0, 4000]),
    )
    def begin(self, slots: int, max_attempts: int, backoff_ms: int, timeout_ms: int) -> None:
        self.policy = RetryPolicy(max_attempts, backoff_ms, jitter_ms=0, timeout_ms=timeout_ms)
        self.slots = slots
        self.attempts = books(slots, self.policy)
        self.records: list[Record] = []
        self.now = 0.0
        self.reports = 0

    # Looking through the list

    def of(self, *states: str) -> list[Record]:
        return [record for record in self.records if record.state in states]

    def reserve(self) -> None:
        while len(self.of("running", "due")) < self.slots:
            retries = [record for record in self.of("running", "due") if record.is_retry]
            ripe = [record for record in self.of("waiting") if record.due_at <= self.now]
            if not ripe or len(retries) >= self.slots - self.slots // 4:
                return
            min(ripe, key=lambda record: (record.due_at, record.waits_since)).state = "due"

    def check_verdict(self, record: Record, verdict: Verdict | None, error: BaseException | None) -> None:
        self.reports += 1
        record.state = "gone"
        if error is None:
            assert verdict is None
        elif record.is_cancelled:
            assert verdict == Uncharged(record.attempt)
        elif record.attempt == self.policy.max_attempts:
            assert isinstance(verdict, Exhausted)
            assert verdict.attempt == record.attempt
            assert isinstance(verdict.error, TaskTimeoutError) == record.is_timed_out
        else:
            record.due_at = self.now + min(self.policy.backoff_ms * 2 ** (record.attempt - 1), 30_000) / 1000
            record.state, record.is_retry, record.waits_since = "waiting", True, self.reports
            record.attempt += 1
            record.is_timed_out = False
            assert verdict == RetryAt(record.due_at)
        self.reserve()

    # What can happen

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: len(self.of("running")) < self.slots)
    @rule()
    def an_item_starts(self) -> None:
        self.attempts.start(self.new_record().root, self.now)

    @rule(most=st.integers(0, 3))
    def several_items_start(self, most: int) -> None:
        free = self.slots - len(self.of("running"))
        roots = [self.new_record().root for _ in range(min(most, free))]
        assert [attempt.root for attempt in self.attempts.start_all(roots, self.now)] == roots

    def new_record(self) -> Record:
        """Start a running attempt; with all slots taken, the last due retry gives way to it."""
        if len(self.of("running", "due")) == self.slots:
            max(self.of("due"), key=lambda record: (record.due_at, record.waits_since)).state = "waiting"
        record = Record(work_item(), "running", started_at=self.now)
        self.records.append(record)
        return record

    @precondition(lambda self: self.of("running"))
    @rule(data=st.data(), error=st.sampled_from([None, ValueError()]))
    def an_attempt_ends(self, data: st.DataObject, error: ValueError | None) -> None:
        record = data.draw(st.sampled_from(self.of("running")))
        if error is None:
            self.attempts.ended_ok(record.root, self.now)
            self.check_verdict(record, None, None)
        else:
            self.check_verdict(record, self.attempts.ended_failed(record.root, error, self.now), error)

    @precondition(lambda self: self.of("running"))
    @rule(data=st.data())
    def an_attempt_is_cut_short(self, data: st.DataObject) -> None:
        record = data.draw(st.sampled_from(self.of("running")))
        record.state = "gone"
        assert self.attempts.ended_cancelled(record.root, self.now) == Uncharged(record.attempt)
        self.reserve()

    @rule(limit=st.sampled_from([None, 0, 1, 2]))
    def due_retries_start(self, limit: int | None) -> None:
        self.reserve()
        expected = sorted(self.of("due"), key=lambda record: (record.due_at, record.waits_since))[:limit]
        started = self.attempts.due(self.now, limit)
        assert [(attempt.root, attempt.number) for attempt in started] == [
            (record.root, record.attempt) for record in expected
        ]
        for record in expected:
            record.state, record.started_at = "running", self.now

    @rule()
    def timeouts_are_looked_for(self) -> None:
        expected = [
            record
            for record in self.of("running")
            if self.policy.timeout_ms
            and record.started_at + self.policy.timeout_ms / 1000 <= self.now
            and not record.is_timed_out
            and not record.is_cancelled
        ]
        assert {attempt.root for attempt in self.attempts.expired(self.now)} == {record.root for record in expected}
        for record in expected:
            record.is_timed_out = True

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def some_are_cancelled(self, data: st.DataObject) -> None:
        chosen = {record.root for record in data.draw(st.lists(st.sampled_from(self.records), max_size=3))}
        expected = [record for record in self.of("running") if record.root in chosen and not record.is_cancelled]
        told = self.attempts.cancel(lambda root: root in chosen, self.now)
        assert {attempt.root for attempt in told} == {record.root for record in expected}
        for record in expected:
            record.is_cancelled = True

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def some_are_withdrawn(self, data: st.DataObject) -> None:
        chosen = {record.root for record in data.draw(st.lists(st.sampled_from(self.records), max_size=3))}
        expected = [record for record in self.of("waiting", "due") if record.root in chosen]
        self.attempts.due(self.now, limit=0)  # The books and the model agree on the time.
        self.reserve()
        told = self.attempts.withdraw(lambda root: root in chosen)
        assert {(root, uncharged.attempt) for root, uncharged in told} == {
            (record.root, record.attempt) for record in expected
        }
        for record in expected:
            record.state = "gone"
        self.reserve()

    # What always holds

    @invariant()
    def slots_and_counts_are_those_of_the_model(self) -> None:
        if not hasattr(self, "attempts"):
            return
        assert self.attempts.capacity == self.slots - len(self.of("running", "due")) >= 0
        assert set(self.attempts.running) == {record.root for record in self.of("running")}
        assert self.attempts.waiting_count == len(self.of("waiting", "due"))
        assert set(self.attempts.waiting()) == {record.root for record in self.of("waiting", "due")}
        assert self.attempts.due_count == len(self.of("due"))

    @invariant()
    def what_could_be_done_now_is_announced_for_now(self) -> None:
        if not hasattr(self, "attempts"):
            return
        moment = self.attempts.next_due_at()
        if self.of("due"):
            assert moment is not None
            assert moment <= self.now

    def teardown(self) -> None:
        """Whatever happened before, sweeping and ending every attempt ends all items."""
        for _ in range(10_000):
            if not self.of("running", "waiting", "due"):
                break
            self.now += 10
            self.due_retries_start(None)
            for record in self.of("running"):
                self.attempts.ended_ok(record.root, self.now)
                self.check_verdict(record, None, None)
        if hasattr(self, "attempts"):
            assert self.attempts.capacity == self.slots


TestAttemptsAgainstAModel = AttemptsAgainstAModel.TestCase
TestAttemptsAgainstAModel.settings = settings(max_examples=150, stateful_step_count=40)
