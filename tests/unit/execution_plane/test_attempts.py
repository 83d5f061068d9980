"""Attempts of an engine: slots, retries, timeouts and cancellations, case by case."""

from __future__ import annotations

import pytest

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.errors import DoNotRetry, InvariantViolation, RetryLater, TaskTimeoutError
from pyrallel_consumer.execution_plane.attempts import Attempts, Exhausted, RetryAt, Uncharged, Verdict
from pyrallel_consumer.execution_plane.retry import MOST_UNCHARGED
from pyrallel_consumer.testing.messages import work_item
from tests.unit.execution_plane.books_of_attempts import books


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
