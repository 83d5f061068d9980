"""The rate limit: a number of messages a second on average, few at once, and retries that count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.flow.rate_limit import BURST_SECONDS, RateLimit


def started(limit: RateLimit, most: int, now: float, retries: int = 0) -> int:
    allowed = limit.allowed(most, now, retries)
    limit.started(allowed, now, is_more_ready=allowed < most)
    return allowed


def is_limited(limit: RateLimit) -> bool:
    return limit.is_limited


def test_without_a_limit_it_is_off() -> None:
    assert not RateLimit().is_on
    assert not RateLimit().is_limited


def test_at_first_a_tenth_of_a_seconds_worth_may_start_and_then_as_many_as_come_in() -> None:
    limit = RateLimit(100)

    assert started(limit, 1000, 5.0) == 11
    assert started(limit, 1000, 5.0) == 0
    assert started(limit, 1000, 5.055) == 5
    assert started(limit, 1000, 60.0) == 11


def test_at_a_low_rate_one_at_a_time_starts() -> None:
    limit = RateLimit(0.5)

    assert started(limit, 10, 0.0) == 1
    assert limit.next_at(0.0) == pytest.approx(1.9)
    assert started(limit, 10, 1.8) == 0
    assert started(limit, 10, 2.0) == 1


def test_at_a_high_rate_several_are_waited_for() -> None:
    limit = RateLimit(10_000)
    assert started(limit, 10_000, 0.0) == 1001

    assert limit.next_at(0.0) == pytest.approx(0.005)
    assert started(limit, 10_000, 0.005) == 50


def test_no_more_than_asked_for_start_and_the_rest_is_kept_up_to_the_burst() -> None:
    limit = RateLimit(100)

    assert started(limit, 3, 0.0) == 3
    assert started(limit, 100, 0.0) == 8


def test_retries_are_charged_and_new_messages_make_room() -> None:
    limit = RateLimit(100)
    assert started(limit, 11, 0.0) == 11

    assert started(limit, 10, 0.1, retries=7) == 3
    assert started(limit, 10, 0.2, retries=30) == 0
    assert limit.next_at(0.2) == pytest.approx(0.2 + (13 + 1) / 100)


def test_time_that_is_waited_for_the_limit_alone_is_counted() -> None:
    limit = RateLimit(10)
    started(limit, 5, 0.0)
    assert is_limited(limit)
    assert limit.limited_seconds(0.5) == 0.5

    limit.started(limit.allowed(5, 1.0, 0), 1.0, is_more_ready=False)
    assert not is_limited(limit)
    assert limit.limited_seconds(9.0) == 1.0


def test_the_rate_can_be_changed_and_taken_away_at_any_time() -> None:
    limit = RateLimit()
    limit.set(10, 100.0, retries=50)
    assert started(limit, 5, 100.0, retries=50) == 2
    assert is_limited(limit)

    limit.set(100, 101.0, retries=50)
    assert not is_limited(limit)
    assert limit.limited_seconds(200.0) == 1.0
    assert started(limit, 50, 101.2, retries=50) == 11

    limit.set(0, 102.0, retries=50)
    assert not limit.is_on


def test_a_lower_rate_keeps_no_larger_burst() -> None:
    limit = RateLimit(1000)
    assert started(limit, 1, 0.0) == 1

    limit.set(10, 0.0, retries=0)

    assert started(limit, 50, 0.0) == 2


@given(
    rate=st.floats(0.1, 10_000),
    steps=st.lists(st.tuples(st.floats(0, 2), st.integers(0, 500), st.integers(0, 3)), max_size=60),
)
def test_in_no_span_more_start_than_the_rate_and_a_burst_allow(
    rate: float, steps: list[tuple[float, int, int]]
) -> None:
    limit = RateLimit(rate)
    now, retries = 0.0, 0
    begun = [(0.0, 0)]
    for seconds, most, retried in steps:
        now += seconds
        retries += retried
        begun.append((now, started(limit, most, now, retries)))
    for at, (since, _) in enumerate(begun):
        total = sum(number for _, number in begun[at:])
        assert total <= (now - since) * rate + 1.0 + rate * BURST_SECONDS + 1e-6


def test_what_starts_without_anything_left_behind_is_not_limited() -> None:
    limit = RateLimit(10)

    limit.started(limit.allowed(1, 0.0, 0), 0.0, is_more_ready=False)

    assert not is_limited(limit)


def test_two_waits_for_the_limit_add_up() -> None:
    limit = RateLimit(10)
    for began_at in (0.0, 5.0):
        limit.started(0, began_at, is_more_ready=True)
        limit.started(0, began_at + 1.0, is_more_ready=False)

    assert limit.limited_seconds(9.0) == 2.0
