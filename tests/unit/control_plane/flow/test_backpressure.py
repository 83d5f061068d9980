"""From load to room: bounds, hysteresis, and no starvation by a hot partition or by failing keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.flow.backpressure import Backpressure, Load
from pyrallel_consumer.control_plane.policies import FlowLimits

LIMITS = FlowLimits(max_messages=100, max_bytes=10_000)
LIMIT_STRATEGY = st.builds(FlowLimits, max_messages=st.integers(1, 60), max_bytes=st.integers(1, 6000))
LOADS = st.builds(Load, st.integers(0, 60), st.integers(0, 6000), st.integers(0, 60))


def test_room_is_what_is_left_of_the_limit() -> None:
    assert Backpressure(LIMITS).room(Load(0, 0)) == 100
    assert Backpressure(LIMITS).room(Load(60, 60)) == 40


def test_room_in_bytes_follows_the_size_of_recent_messages_larger_at_once_smaller_by_and_by() -> None:
    pressure = Backpressure(LIMITS)
    pressure.observe_size(messages=2, size_bytes=1000)
    assert pressure.room(Load(2, 1000)) == 18

    for _ in range(4):
        pressure.observe_size(messages=10, size_bytes=1000)
    assert 18 < pressure.room(Load(2, 1000)) < 30
    pressure.observe_size(messages=1, size_bytes=3000)
    assert pressure.room(Load(2, 1000)) == 3


def test_one_message_is_always_admissible_while_the_limit_is_not_reached() -> None:
    pressure = Backpressure(LIMITS)
    pressure.observe_size(messages=1, size_bytes=1_000_000)

    assert pressure.room(Load(0, 0)) == 1
    assert pressure.room(Load(1, 9_999)) == 1
    assert pressure.room(Load(1, 1_000_000)) == 0
    assert pressure.room(Load(0, 0)) == 1


@pytest.mark.parametrize("full", [Load(100, 0), Load(1, 10_000)])
def test_at_the_limit_there_is_no_room_until_load_fell_to_seven_tenths(full: Load) -> None:
    pressure = Backpressure(LIMITS)
    assert pressure.room(full) == 0

    assert pressure.room(Load(71, 0)) == 0
    assert pressure.room(Load(1, 7_001)) == 0
    assert pressure.room(Load(70, 7_000)) == 30
    assert not pressure.is_active
    assert pressure.room(Load(99, 0)) == 1


def test_messages_blocked_by_failing_keys_need_not_be_gone_before_reading_goes_on() -> None:
    pressure = Backpressure(LIMITS)
    pressure.room(Load(100, 0, blocked=80))

    assert pressure.room(Load(95, 0, blocked=80)) == 0
    assert pressure.room(Load(94, 0, blocked=80)) == 6


def test_bytes_blocked_by_failing_keys_need_not_be_gone_before_reading_goes_on() -> None:
    pressure = Backpressure(LIMITS)
    pressure.room(Load(10, 10_000, blocked=8))

    assert pressure.room(Load(8, 8_000, blocked=8)) > 0


@given(LIMIT_STRATEGY, st.lists(LOADS, max_size=20), st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9999))))
def test_room_never_leads_past_the_limit_and_there_is_some_when_load_is_low(
    limits: FlowLimits, loads: list[Load], sizes: list[tuple[int, int]]
) -> None:
    pressure = Backpressure(limits)
    was_active = False
    for messages, size_bytes in sizes:
        pressure.observe_size(messages, size_bytes)
    for load in loads:
        room = pressure.room(load)
        is_full = load.messages >= limits.max_messages or (load.size_bytes >= limits.max_bytes and load.messages > 0)
        blocked = min(load.blocked, limits.max_messages)
        is_low = (
            10 * load.messages < 10 * limits.max_messages - 3 * (limits.max_messages - blocked)
            and 10 * load.size_bytes < 7 * limits.max_bytes
        )
        assert load.messages + room <= max(limits.max_messages, load.messages)
        assert pressure.is_active == (room == 0)
        if is_full:
            assert room == 0
        elif is_low or load.messages == 0 or not was_active:
            assert room >= 1
        was_active = pressure.is_active
