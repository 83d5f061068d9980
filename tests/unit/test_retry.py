"""The waits between attempts, and when there is none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.errors import DoNotRetry, RetryLater
from pyrallel_consumer.execution_plane.retry import backoff_ms, next_wait_ms

EXPONENTIAL = RetryPolicy(max_attempts=10, backoff_ms=100, max_backoff_ms=1000, jitter_ms=50)
LINEAR = RetryPolicy(max_attempts=10, backoff_ms=100, exponential=False, max_backoff_ms=1000, jitter_ms=50)

policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 20),
    backoff_ms=st.integers(0, 10_000),
    exponential=st.booleans(),
    max_backoff_ms=st.integers(0, 100_000),
    jitter_ms=st.integers(0, 1000),
)
jitters = st.floats(0, 1, exclude_max=True)


def test_exponential_waits_double_up_to_their_bound() -> None:
    assert [backoff_ms(EXPONENTIAL, attempt, 0) for attempt in range(1, 7)] == [100, 200, 400, 800, 1000, 1000]


def test_linear_waits_grow_by_one_backoff_up_to_their_bound() -> None:
    assert [backoff_ms(LINEAR, attempt, 0) for attempt in (1, 2, 3, 9, 10, 11)] == [100, 200, 300, 900, 1000, 1000]


def test_jitter_comes_on_top_of_the_bounded_wait() -> None:
    assert backoff_ms(EXPONENTIAL, 1, 0.5) == 125
    assert backoff_ms(EXPONENTIAL, 9, 0.5) == 1025


def test_the_attempt_number_of_a_message_that_fails_for_ever_costs_nothing() -> None:
    assert backoff_ms(EXPONENTIAL, 10**9, 0) == 1000


@given(policy=policies, attempt=st.integers(1, 10**6), jitter=jitters)
def test_every_wait_lies_between_zero_and_the_bound_with_its_jitter(
    policy: RetryPolicy, attempt: int, jitter: float
) -> None:
    assert 0 <= backoff_ms(policy, attempt, jitter) <= policy.max_backoff_ms + policy.jitter_ms


@given(policy=policies, attempt=st.integers(1, 100), jitter=jitters)
def test_waits_never_shrink_from_one_attempt_to_the_next(policy: RetryPolicy, attempt: int, jitter: float) -> None:
    assert backoff_ms(policy, attempt, jitter) <= backoff_ms(policy, attempt + 1, jitter)


def test_max_attempts_is_the_total_number_of_attempts() -> None:
    assert next_wait_ms(EXPONENTIAL, 9, ValueError(), 0) == 1000
    assert next_wait_ms(EXPONENTIAL, 10, ValueError(), 0) is None
    assert next_wait_ms(RetryPolicy(max_attempts=1), 1, ValueError(), 0) is None


def test_retry_later_sets_its_own_wait_without_bound_and_jitter() -> None:
    assert next_wait_ms(EXPONENTIAL, 1, RetryLater(delay_ms=99_999), 0.5) == 99_999
    assert next_wait_ms(EXPONENTIAL, 1, RetryLater(delay_ms=0), 0.5) == 0


def test_retry_later_is_a_failed_attempt_like_any_other() -> None:
    assert next_wait_ms(EXPONENTIAL, 10, RetryLater(delay_ms=1), 0) is None


def test_do_not_retry_ends_it_at_once() -> None:
    assert next_wait_ms(EXPONENTIAL, 1, DoNotRetry(), 0) is None


@pytest.mark.parametrize("delay", [None, "soon", -1, math.inf, math.nan])
def test_a_delay_that_is_no_duration_falls_back_to_the_usual_wait(delay: object) -> None:
    error = RetryLater(delay_ms=1)
    error.delay_ms = delay  # type: ignore[assignment]  # a subclass of a user's may hold anything
    assert next_wait_ms(EXPONENTIAL, 1, error, 0) == 100
