"""Running sums over all partitions equal freshly made sums, and no turn looks at all partitions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.flow.backpressure import Load
from pyrallel_consumer.control_plane.flow.buffer_parts import NOTES_PER_SEARCH, BufferParts
from pyrallel_consumer.control_plane.policies import FlowLimits, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import TopicPartition
from tests.unit.control_plane.builders import OTHER, THIRD, TP, keyed, manager_of, run_of

LIMITS = FlowLimits(max_messages=60, max_bytes=6000)
PLACES = (TP, OTHER, THIRD)
LOADS = st.builds(Load, st.integers(0, 60), st.integers(0, 6000), st.integers(0, 60))
CHANGES = st.one_of(
    st.tuples(st.just("note"), st.sampled_from(PLACES), LOADS),
    st.tuples(st.just("forget"), st.sampled_from(PLACES)),
    st.tuples(st.just("fill"), st.sets(st.sampled_from(PLACES))),
)


@given(st.lists(CHANGES, max_size=30))
def test_parts_of_the_buffer_equal_those_counted_anew(changes: list[tuple[Any, ...]]) -> None:
    kept, loads, full = BufferParts(LIMITS), dict[TopicPartition, Load](), set[TopicPartition]()
    for change in changes:
        match change:
            case "note", tp, load:
                kept.note(tp, load)
                loads[tp] = load
            case "forget", tp:
                kept.forget(tp)
                loads.pop(tp, None)
                full.discard(tp)
            case _, tps:
                full = tps & loads.keys()
                kept.fill(full)
        anew = BufferParts(LIMITS)
        for tp, load in loads.items():
            anew.note(tp, load)
        anew.fill(full)
        assert (kept.total, kept.blocked, kept.spare, kept.reserve) == (
            anew.total,
            anew.blocked,
            anew.spare,
            anew.reserve,
        )
        assert (kept.is_all_above, kept.above(), len(kept)) == (anew.is_all_above, anew.above(), len(loads))
        assert kept.own <= anew.own


def test_what_an_open_partition_may_take_of_its_own_is_exact_after_enough_changes() -> None:
    parts = BufferParts(FlowLimits(max_messages=1000, max_bytes=1000))
    tps = [TopicPartition("orders", number) for number in range(NOTES_PER_SEARCH * 2)]
    for tp in tps:
        parts.note(tp, Load(20, 0))
    assert parts.own == parts.reserve - 20 * parts.message
    parts.note(tps[0], Load(0, 0))
    parts.note(tps[1], Load(30, 0))  # the largest, for a moment
    parts.note(tps[1], Load(1, 0))
    assert parts.own == parts.reserve - 20 * parts.message


def lines_of(call: Callable[[], object]) -> int:
    """How many lines of Python ``call`` executes."""
    lines = 0

    def trace(_: FrameType, event: str, __: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return lines


def busy_manager(partitions: int, *, is_short: bool) -> WorkManager:
    """Every partition has a running message; the first partition takes the common part of the buffer, or not."""
    manager = manager_of(
        *(TopicPartition("orders", number) for number in range(partitions)),
        policy=WorkPolicy(limits=FlowLimits(max_messages=(4 if is_short else 40) * partitions)),
    )
    for work in list(manager):
        manager.add(work.tp, work.epoch, run_of(keyed(0, "a"), work.tp))
    first = TopicPartition("orders", 0)
    more = 2 * partitions if is_short else 8
    manager.add(first, 1, run_of({offset: b"%d" % offset for offset in range(1, more)}, first))
    manager.take(partitions + 4)
    for _ in range(3):
        manager.observe(0.0)
        manager.review_shares()
        manager.allowed(10, free_slots=0)
    return manager


def one_turn(manager: WorkManager) -> None:
    """One message ends, another one starts, and more may be read."""
    work = next(iter(manager))
    item = next(iter(work.tracker.unfinished.values()))
    manager.succeed([item])
    manager.take(1)
    assert manager.ready >= 0
    manager.allowed(10, free_slots=0)
    manager.allowed(10, free_slots=5)


@pytest.mark.parametrize("is_short", [False, True], ids=["room for all", "what is anybody's is short"])
def test_a_turn_looks_at_no_more_with_two_thousand_partitions_than_with_eight(is_short: bool) -> None:
    few, many = busy_manager(8, is_short=is_short), busy_manager(2000, is_short=is_short)
    one_turn(few)
    one_turn(many)
    assert lines_of(lambda: one_turn(many)) <= 1.2 * lines_of(lambda: one_turn(few))


def test_a_tick_looks_only_at_the_partitions_that_moved() -> None:
    def tick(manager: WorkManager) -> None:
        one_turn(manager)
        manager.note_failing([])
        manager.observe(1.0)
        manager.review_shares()

    few, many = busy_manager(8, is_short=False), busy_manager(2000, is_short=False)
    # Only the sum of finished messages grows with the partitions, by two lines for each. Before 3.12 a
    # comprehension is a call of its own, which counts a line more.
    lines_each = 2 if sys.version_info >= (3, 12) else 3
    assert lines_of(lambda: tick(many)) - lines_of(lambda: tick(few)) <= lines_each * 2000


def test_what_a_full_partition_takes_says_nothing_of_the_open_ones() -> None:
    parts = BufferParts(LIMITS)
    for tp in (*PLACES, *PLACES):  # the second time before anybody asked
        parts.note(tp, Load(1, 0))
    parts.fill({TP})
    before = parts.own
    parts.note(TP, Load(60, 0))
    assert parts.own == before == parts.reserve - parts.message


def test_bytes_of_a_large_backlog_are_counted_when_a_part_of_it_is_done_and_not_before() -> None:
    messages, done = 1000, 400
    manager = manager_of(policy=WorkPolicy(limits=FlowLimits(max_messages=5000, max_bytes=600 * messages)))
    manager.add(TP, 1, run_of({offset: b"%03d" % offset for offset in range(messages)}))
    whole = manager.load.size_bytes
    items = manager.take(messages)
    manager.succeed(items[:1])
    assert manager.load.size_bytes == whole
    manager.succeed(items[1:done])
    assert manager.load.size_bytes == whole * (messages - done) // messages
