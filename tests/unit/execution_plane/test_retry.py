"""The waits between attempts, and the cases without another attempt."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.config.execution import DAY_MS
from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.errors import DoNotRetry, RetryLater, delay_in_range
from pyrallel_consumer.execution_plane.retry import MOST_UNCHARGED, Wait, backoff_ms, next_wait

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
    assert next_wait(EXPONENTIAL, 9, ValueError(), 0) == Wait(1000)
    assert next_wait(EXPONENTIAL, 10, ValueError(), 0) is None
    assert next_wait(RetryPolicy(max_attempts=1), 1, ValueError(), 0) is None


def test_retry_later_sets_its_own_wait_without_bound_and_jitter() -> None:
    assert next_wait(EXPONENTIAL, 1, RetryLater(delay_ms=99_999), 0.5) == Wait(99_999)
    assert next_wait(EXPONENTIAL, 1, RetryLater(delay_ms=0), 0.5) == Wait(0)
    assert next_wait(EXPONENTIAL, 1, RetryLater(delay_ms=DAY_MS), 0.5) == Wait(DAY_MS)


def test_retry_later_is_a_failed_attempt_like_any_other() -> None:
    assert next_wait(EXPONENTIAL, 10, RetryLater(delay_ms=1), 0) is None


def test_retry_later_without_a_charge_is_no_attempt_up_to_a_thousand_times() -> None:
    later = RetryLater(delay_ms=250, charge=False)
    for attempt in (1, 10):
        assert next_wait(EXPONENTIAL, attempt, later, 0, MOST_UNCHARGED - 1) == Wait(250, is_charged=False)
    assert next_wait(EXPONENTIAL, 1, later, 0, MOST_UNCHARGED) == Wait(250)
    assert next_wait(EXPONENTIAL, 10, later, 0, MOST_UNCHARGED) is None


def test_do_not_retry_ends_it_at_once() -> None:
    assert next_wait(EXPONENTIAL, 1, DoNotRetry(), 0) is None


@pytest.mark.parametrize("charge", [True, False])
@pytest.mark.parametrize(
    "delay",
    [None, "5", -1, -0.1, math.inf, -math.inf, math.nan, 10**400, 10**5000, DAY_MS + 1, True, 1 + 0j, [], b"5"],
    ids=itertools.count(),
)
def test_a_delay_that_is_no_duration_makes_it_an_ordinary_failed_attempt(delay: object, *, charge: bool) -> None:
    error = RetryLater(delay_ms=1, charge=charge)
    error.delay_ms = delay  # type: ignore[assignment]  # a subclass of a user's may hold anything
    assert next_wait(EXPONENTIAL, 1, error, 0) == Wait(100)
    assert next_wait(EXPONENTIAL, 10, error, 0) is None


class WithoutInit(RetryLater):
    def __init__(self) -> None:
        Exception.__init__(self, "busy")


class Raising(WithoutInit):
    @property
    def delay_ms(self) -> float:  # type: ignore[override]  # as users do
        raise KeyError("Retry-After")


class RaisingOddly(WithoutInit):
    @property
    def delay_ms(self) -> float:  # type: ignore[override]  # as users do
        raise SystemExit(3)


class Untouchable(RetryLater):
    def __getattribute__(self, name: str) -> object:
        raise KeyError(name)


class SilentOnCharge(RetryLater):
    @property
    def charge(self) -> bool:
        raise AttributeError("charge")

    @charge.setter
    def charge(self, value: bool) -> None: ...


@pytest.mark.parametrize("make", [WithoutInit, Raising, RaisingOddly, lambda: Untouchable(5, charge=False)])
def test_a_subclass_without_a_delay_is_an_ordinary_failed_attempt(make: Callable[[], RetryLater]) -> None:
    error = make()
    assert next_wait(EXPONENTIAL, 1, error, 0) == Wait(100)
    assert next_wait(EXPONENTIAL, 10, error, 0) is None


def test_a_subclass_that_hides_its_charge_is_charged() -> None:
    assert next_wait(EXPONENTIAL, 1, SilentOnCharge(5, charge=False), 0) == Wait(5)


def test_what_only_says_that_it_is_of_another_class_is_taken_for_what_it_is() -> None:
    class PretendingError(ValueError):
        @property  # type: ignore[misc]  # as mocks and proxies do
        def __class__(self) -> type:
            return DoNotRetry

    assert next_wait(EXPONENTIAL, 1, PretendingError(), 0) == Wait(100)


@given(delay=st.integers() | st.floats() | st.fractions())
def test_a_delay_is_what_it_was_given_as_or_refused(delay: float) -> None:
    if 0 <= delay <= DAY_MS:
        assert delay_in_range(delay) == float(delay)
    else:
        assert delay_in_range(delay) is None
