"""When the poll thread may hand on more: in large pieces if enough messages are there, else at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.flow.allowance import Allowance
from pyrallel_consumer.control_plane.policies import FlowLimits, WorkPolicy
from tests.unit.control_plane.builders import TP, manager_of, run_of


def after_a_tick(finished: int) -> Allowance:
    """An allowance of 1,000 that was used at a tick, ``finished`` messages after the tick before."""
    allowance = Allowance()
    allowance.tick(finished)
    assert allowance.allow(1000, waiting=100_000, is_idle=False) == 1000
    return allowance


def test_while_enough_waits_more_is_allowed_at_ticks_only() -> None:
    allowance = after_a_tick(finished=100)
    assert allowance.allow(1010, waiting=151, is_idle=False) == 1000
    allowance.tick(200)
    assert allowance.allow(1010, waiting=151, is_idle=False) == 1010
    assert allowance.allow(1020, waiting=151, is_idle=False) == 1010


def test_what_does_not_last_until_the_next_tick_is_added_to_at_once() -> None:
    assert after_a_tick(finished=100).allow(1010, waiting=150, is_idle=False) == 1010


def test_a_free_slot_for_which_nothing_is_ready_is_not_left_waiting_for_a_tick() -> None:
    assert after_a_tick(finished=100).allow(1010, waiting=100_000, is_idle=True) == 1010


def test_what_may_not_be_read_any_more_is_taken_back_at_once() -> None:
    assert after_a_tick(finished=100).allow(990, waiting=100_000, is_idle=False) == 990


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 500), st.integers(0, 500), st.booleans()), max_size=30))
def test_never_more_is_allowed_than_may_be_read(steps: list[tuple[bool, int, int, bool]]) -> None:
    allowance = Allowance()
    for is_tick, most, waiting, is_idle in steps:
        if is_tick:
            allowance.tick(0)
        assert allowance.allow(most, waiting=waiting, is_idle=is_idle) <= most


def test_a_manager_with_all_slots_taken_allows_more_at_the_next_tick() -> None:
    manager = manager_of(TP, policy=WorkPolicy(limits=FlowLimits(max_messages=100)))
    assert manager.allowed(0, free_slots=1) == 100
    manager.add(TP, 1, run_of({offset: b"%d" % offset for offset in range(100)}))
    assert manager.allowed(100, free_slots=1) == 100
    for _ in range(7):
        manager.succeed(manager.take(5))
    assert manager.room > 0

    assert manager.allowed(100, free_slots=0) == 100
    manager.observe(0.0)
    assert manager.allowed(100, free_slots=0) == 100 + manager.room
