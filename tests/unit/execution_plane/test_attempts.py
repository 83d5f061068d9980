"""The books of attempts: slots, retries, timeouts; by example, and against a model that keeps one list."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.errors import DoNotRetry, InvariantViolation, RetryLater, TaskTimeoutError
from pyrallel_consumer.execution_plane.attempts import Attempts, Exhausted, RetryAt, Uncharged, Verdict
from pyrallel_consumer.execution_plane.retry import MOST_UNCHARGED
from pyrallel_consumer.testing.messages import work_item

POLICY = RetryPolicy(max_attempts=3, backoff_ms=1000, jitter_ms=0, timeout_ms=30_000)


def books(slots: int = 8, policy: RetryPolicy = POLICY) -> Attempts:
    return Attempts(policy, slots, jitter=lambda: 0.0)


def failed_once(attempts: Attempts, now: float = 0.0) -> WorkItem:
    """An item that waits for its second attempt, due one second after ``now``."""
    item = work_item()
    attempts.start(item, now)
    attempts.ended_failed(item, ValueError(), now)
    return item


def test_a_running_attempt_holds_a_slot_until_it_ended() -> None:
    attempts = books(slots=2)
    item = work_item()
    attempts.start(item, 0)
    assert attempts.capacity == 1
    attempts.ended_ok(item, 1)
    assert attempts.capacity == 2
    assert not attempts.running


def test_a_failed_attempt_is_tried_again_after_its_wait_as_the_next_item_of_the_same_root() -> None:
    attempts = books()
    item = work_item()
    attempts.start(item, 0)
    assert attempts.ended_failed(item, ValueError(), 5) == RetryAt(due_at=6)
    assert attempts.due(5.9) == []
    [attempt] = attempts.due(6)
    assert attempt.root is item
    assert (attempt.item.attempt, attempt.number) == (2, 2)
    assert attempts.retries_total == 1


def died(attempts: Attempts, item: WorkItem, now: float = 0.0, *, alone: bool = False, held: bool = False) -> Verdict:
    return attempts.ended_by_death(item, ValueError(), now, may_give_up=alone, is_held=held)


def test_who_died_with_others_in_the_last_attempt_has_its_number_once_more() -> None:
    attempts = books(policy=RetryPolicy(max_attempts=1, backoff_ms=1000, jitter_ms=0))
    item = work_item()
    attempts.start(item, 0)
    verdict = died(attempts, item)
    assert isinstance(verdict, RetryAt)
    assert (verdict.due_at, verdict.is_charged) == (1, False)
    [attempt] = attempts.due(1)
    assert attempt.number == 1
    assert isinstance(died(attempts, item, 1, alone=True), Exhausted)


def test_who_died_with_others_before_is_charged() -> None:
    attempts = books()
    item = work_item()
    attempts.start(item, 0)
    assert died(attempts, item) == RetryAt(due_at=1)
    assert [attempt.number for attempt in attempts.due(1)] == [2]


def test_a_held_retry_takes_no_slot_until_it_is_released_and_its_time_has_come() -> None:
    attempts = books(slots=1)
    item = work_item()
    attempts.start(item, 0)
    died(attempts, item, held=True)
    assert attempts.due(100) == []
    assert (attempts.capacity, attempts.waiting(), attempts.waiting_count) == (1, [item], 1)
    assert attempts.next_due_at() is None
    attempts.release(item)
    assert attempts.next_due_at() == 1
    assert [attempt.root for attempt in attempts.due(1)] == [item]


def test_a_held_retry_can_be_withdrawn_and_is_then_not_released() -> None:
    attempts = books()
    item = work_item()
    attempts.start(item, 0)
    died(attempts, item, held=True)
    assert attempts.withdraw(lambda _: True) == [(item, Uncharged(2))]
    attempts.release(item)
    assert attempts.waiting_count == 0


def test_the_last_attempt_s_error_and_number_are_told() -> None:
    attempts = books(policy=RetryPolicy(max_attempts=2, backoff_ms=0, jitter_ms=0))
    item = failed_once(attempts)
    attempts.due(0)
    error = ValueError("again")
    assert attempts.ended_failed(item, error, 0) == Exhausted(error, attempt=2)
    assert attempts.next_due_at() is None


def test_attempts_are_counted_from_the_submitted_item_s_number() -> None:
    attempts = books()
    item = work_item(attempt=3)
    attempts.start(item, 0)
    verdict = attempts.ended_failed(item, ValueError(), 0)
    assert isinstance(verdict, Exhausted)
    assert verdict.attempt == 3


def test_retry_later_and_do_not_retry_steer_the_retries() -> None:
    attempts = books()
    later, never = work_item(), work_item()
    attempts.start(later, 0)
    attempts.start(never, 0)
    assert attempts.ended_failed(later, RetryLater(delay_ms=250), 0) == RetryAt(0.25)
    assert isinstance(attempts.ended_failed(never, DoNotRetry(), 0), Exhausted)


def test_a_waiting_retry_holds_no_slot_and_a_due_one_does() -> None:
    attempts = books(slots=4)
    failed_once(attempts)
    assert (attempts.capacity, attempts.waiting_count, attempts.due_count) == (4, 1, 0)
    assert attempts.due(1, limit=0) == []
    assert (attempts.capacity, attempts.waiting_count, attempts.due_count) == (3, 1, 1)


def test_a_slot_that_falls_free_goes_to_a_due_retry_before_new_work() -> None:
    attempts = books(slots=1)
    retried, other = failed_once(attempts), work_item()
    attempts.start(other, 0.5)
    assert attempts.due(2) == []
    assert attempts.next_due_at() == 30.5  # The retry waits for the slot, not for a time.
    attempts.ended_ok(other, 3)
    assert attempts.capacity == 0
    assert attempts.next_due_at() == 1
    [attempt] = attempts.due(3)
    assert attempt.root is retried


def test_retries_leave_a_quarter_of_the_slots_to_new_work() -> None:
    attempts = books(slots=8)
    for _ in range(20):
        failed_once(attempts)
    assert len(attempts.due(1)) == 6
    assert attempts.capacity == 2
    assert attempts.due(100) == []


def test_an_attempt_times_out_once_and_keeps_its_slot_until_it_ended() -> None:
    attempts = books(slots=1)
    item = work_item()
    attempts.start(item, 1)
    assert attempts.next_due_at() == 31
    assert attempts.expired(30.9) == []
    [attempt] = attempts.expired(31)
    assert (attempt.root, attempt.is_timed_out, attempt.marked_at) == (item, True, 31)
    assert attempts.expired(32) == []
    assert (attempts.capacity, attempts.timeouts_total, attempts.next_due_at()) == (0, 1, None)
    assert isinstance(attempts.ended_failed(item, ValueError(), 40), RetryAt)
    assert attempts.capacity == 1


@pytest.mark.parametrize("error", [ValueError(), DoNotRetry(), RetryLater(5, charge=False), TimeoutError()])
def test_a_timed_out_attempt_that_raises_has_failed_by_timeout_whatever_it_raises(error: Exception) -> None:
    attempts = books(policy=RetryPolicy(max_attempts=1, timeout_ms=1000))
    item = work_item(offset=1)
    attempts.start(item, 0)
    attempts.expired(1)
    verdict = attempts.ended_failed(item, error, 2)
    assert isinstance(verdict, Exhausted)
    assert type(verdict.error) is TaskTimeoutError
    assert str(verdict.error) == "attempt 1 of test-0-1 ran longer than 1000 ms"
    assert verdict.error.__cause__ is error


@pytest.mark.parametrize("is_together", [True, False])
def test_a_call_that_returned_after_its_timeout_or_a_cancel_is_done(*, is_together: bool) -> None:
    attempts = books(slots=2, policy=RetryPolicy(max_attempts=1, timeout_ms=1000))
    overdue, cancelled = work_item(), work_item()
    running = [attempts.start(overdue, 0), attempts.start(cancelled, 0.5)]
    attempts.expired(1)
    attempts.cancel(lambda root: root is cancelled, 1.2)
    if is_together:
        attempts.all_ended_ok(running, 2)
    else:
        attempts.ended_ok(overdue, 2)
        attempts.ended_ok(cancelled, 2)
    assert (attempts.capacity, attempts.waiting_count, attempts.timeouts_total) == (2, 0, 1)


def test_ctrl_c_in_a_worker_is_no_failed_attempt() -> None:
    attempts = books(policy=RetryPolicy(max_attempts=1, timeout_ms=1000))
    item, overdue = work_item(), work_item()
    attempts.start(overdue, 0)
    attempts.expired(1)
    attempts.start(item, 1)
    assert attempts.ended_failed(item, KeyboardInterrupt(), 2) == Uncharged(attempt=1)
    assert attempts.ended_failed(overdue, KeyboardInterrupt(), 2) == Uncharged(attempt=1)
    assert (attempts.capacity, attempts.waiting_count) == (8, 0)


def test_a_message_is_put_off_uncharged_a_thousand_times_and_then_each_time_counts() -> None:
    attempts = books(policy=RetryPolicy(max_attempts=2, backoff_ms=0, jitter_ms=0))
    item = work_item()
    attempts.start(item, 0)
    for _ in range(MOST_UNCHARGED):
        verdict = attempts.ended_failed(item, RetryLater(delay_ms=1000, charge=False), 0)
        assert isinstance(verdict, RetryAt)
        assert (verdict.due_at, verdict.attempt, verdict.is_charged) == (1, 1, False)
        [attempt] = attempts.due(1)
        assert attempt.number == 1
        assert attempt.item is not item  # A retry, for the slots.
    assert attempts.ended_failed(item, RetryLater(delay_ms=1000, charge=False), 0) == RetryAt(1)
    [attempt] = attempts.due(1)
    assert attempt.number == 2
    assert isinstance(attempts.ended_failed(item, RetryLater(delay_ms=1000, charge=False), 0), Exhausted)


def test_without_a_timeout_nothing_expires() -> None:
    attempts = books(policy=RetryPolicy(timeout_ms=0))
    attempts.start(work_item(), 0)
    assert attempts.next_due_at() is None
    assert attempts.expired(1e9) == []


def test_a_cancelled_attempt_is_uncharged_however_it_fails() -> None:
    attempts = books()
    items = [work_item() for _ in range(2)]
    for item in items:
        attempts.start(item, 0)
    assert [attempt.root for attempt in attempts.cancel(lambda root: root is items[0], 1)] == items[:1]
    assert attempts.cancel(lambda root: root is items[0], 2) == []
    assert attempts.ended_failed(items[0], DoNotRetry(), 3) == Uncharged(attempt=1)
    assert isinstance(attempts.ended_failed(items[1], DoNotRetry(), 3), Exhausted)


def test_a_cancelled_attempt_does_not_time_out_later() -> None:
    attempts = books()
    attempts.start(work_item(), 0)
    attempts.cancel(lambda _: True, 1)
    assert attempts.next_due_at() is None
    assert attempts.expired(100) == []


def test_an_attempt_cut_short_by_the_program_s_end_is_uncharged() -> None:
    attempts = books()
    item = failed_once(attempts)
    attempts.due(1)
    assert attempts.ended_cancelled(item, 2) == Uncharged(attempt=2)
    assert attempts.capacity == 8


def test_withdrawing_forgets_waiting_and_due_retries_and_nothing_else() -> None:
    attempts = books(slots=2)
    due, waiting, kept = failed_once(attempts, 0), failed_once(attempts, 0.2), failed_once(attempts, 0.4)
    running = work_item()
    attempts.start(running, 0.5)
    attempts.due(1, limit=0)
    assert attempts.capacity == 0
    withdrawn = attempts.withdraw(lambda root: root is not kept)
    assert withdrawn == [(due, Uncharged(2)), (waiting, Uncharged(2))]
    assert (attempts.capacity, attempts.waiting_count, attempts.due_count) == (1, 1, 0)
    assert list(attempts.running) == [running]
    assert [attempt.root for attempt in attempts.due(100)] == [kept]


def test_a_held_slot_that_is_withdrawn_passes_to_the_next_retry_in_time() -> None:
    attempts = books(slots=1)
    first, second = failed_once(attempts, 0), failed_once(attempts, 1)
    attempts.due(10, limit=0)
    attempts.withdraw(lambda root: root is first)
    assert (attempts.due_count, attempts.capacity) == (1, 0)
    assert [attempt.root for attempt in attempts.due(10)] == [second]


def test_a_retry_steps_back_for_an_item_whose_slot_was_counted_as_free_before() -> None:
    attempts = books(slots=2)
    retried = failed_once(attempts)
    first, second = work_item(), work_item()
    assert attempts.capacity == 2
    attempts.start(first, 0.9)
    attempts.ended_failed(first, ValueError(), 1)
    assert (attempts.due_count, attempts.capacity) == (1, 1)
    attempts.start(first, 1)
    attempts.start(second, 1)
    assert (attempts.due_count, attempts.waiting_count, attempts.capacity) == (0, 2, 0)
    attempts.ended_ok(second, 2)
    assert [attempt.root for attempt in attempts.due(2)] == [retried]


def test_starting_without_capacity_or_twice_and_ending_what_does_not_run_are_our_bugs() -> None:
    attempts = books(slots=2)
    item = work_item()
    attempts.start(item, 0)
    with pytest.raises(InvariantViolation, match="twice or without capacity"):
        attempts.start(item, 0)
    attempts.start(work_item(), 0)
    with pytest.raises(InvariantViolation, match="twice or without capacity"):
        attempts.start(work_item(), 0)
    with pytest.raises(InvariantViolation, match="twice or without capacity"):
        attempts.start_all([work_item()], 0)
    with pytest.raises(InvariantViolation, match="does not run"):
        attempts.ended_ok(work_item(), 0)


# The model: every item is one record in one list, and each question is answered by looking through it.


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
