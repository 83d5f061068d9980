"""Which messages start, which wait, and how attempts end: order per key, fairness of partitions, exhausted messages."""

from __future__ import annotations

import pytest

from pyrallel_consumer.control_plane.dispatch import TAKE_QUANTUM
from pyrallel_consumer.control_plane.events import (
    Pause,
)
from pyrallel_consumer.control_plane.policies import OrderingPolicy, WorkPolicy
from pyrallel_consumer.dto import (
    NullKeyOrdering,
    OnExhausted,
    OrderingMode,
)
from tests.unit.control_plane.builders import (
    OTHER,
    TP,
    keyed,
    manager_of,
    offsets_of,
    picture_of,
    run_of,
)


def test_messages_of_different_keys_start_at_once_and_those_of_one_key_one_by_one() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "aabcb")))

    started = manager.take(10)
    assert offsets_of(started) == [0, 2, 3]
    assert manager.take(10) == []

    manager.succeed(started[:2])
    assert offsets_of(manager.take(10)) == [1, 4]


@pytest.mark.parametrize(
    ("ordering", "first"),
    [
        (OrderingPolicy(OrderingMode.KEY_HASH, NullKeyOrdering.UNORDERED), [0, 1, 2]),
        (OrderingPolicy(OrderingMode.KEY_HASH, NullKeyOrdering.PARTITION), [0, 2]),
        (OrderingPolicy(OrderingMode.PARTITION), [0]),
        (OrderingPolicy(OrderingMode.UNORDERED), [0, 1, 2, 3]),
    ],
)
def test_what_is_kept_in_order_is_a_matter_of_policy(ordering: OrderingPolicy, first: list[int]) -> None:
    manager = manager_of(policy=WorkPolicy(ordering))
    manager.add(TP, 1, run_of(keyed(0, "--aa")))

    assert offsets_of(manager.take(10)) == first


def test_the_same_key_in_two_partitions_is_two_keys() -> None:
    manager = manager_of(TP, OTHER)
    manager.add(TP, 1, run_of(keyed(0, "a"), TP))
    manager.add(OTHER, 2, run_of(keyed(0, "a"), OTHER))

    assert len(manager.take(10)) == 2


def test_an_empty_key_is_a_key_like_any_other() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of({0: b"", 1: b"", 2: None}))

    assert offsets_of(manager.take(10)) == [0, 2]


def test_when_the_rate_is_limited_the_offset_that_blocks_the_commit_goes_first_whatever_slots_are_free() -> None:
    manager = manager_of(policy=WorkPolicy(max_per_second=1.0))
    manager.add(TP, 1, run_of(keyed(0, "aabc")))
    first = manager.take_limited(10, slots=10, now=0.0, retries=0)
    assert offsets_of(first) == [0]
    manager.succeed(first)

    assert offsets_of(manager.take_limited(10, slots=10, now=1.0, retries=0)) == [1]


def test_when_slots_are_short_the_offset_that_blocks_the_commit_goes_first() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "aabc")))
    first = manager.take(3, slots=3)
    assert offsets_of(first) == [0, 2, 3]
    manager.add(TP, 1, run_of(keyed(4, "defg")))
    manager.succeed(first[:1])

    assert offsets_of(manager.take(2, slots=2)) == [1, 4]


def test_slots_that_one_partition_takes_are_short_for_the_next() -> None:
    manager = manager_of(TP, OTHER)
    manager.add(OTHER, 2, run_of(keyed(0, "aabc"), OTHER))
    manager.succeed(manager.take(1, slots=9))
    manager.add(TP, 1, run_of(keyed(0, "ab"), TP))
    assert [(item.tp, item.offset) for item in manager.take(1, slots=9)] == [(OTHER, 2)]
    assert [(item.tp, item.offset) for item in manager.take(3, slots=3)] == [(TP, 0), (TP, 1), (OTHER, 1)]


def test_partitions_take_turns_however_much_one_of_them_has() -> None:
    manager = manager_of(TP, OTHER)
    manager.add(TP, 1, run_of({offset: b"%d" % offset for offset in range(200)}, TP))
    manager.add(OTHER, 2, run_of({offset: b"%d" % offset for offset in range(200)}, OTHER))

    assert [item.tp for item in manager.take(1) + manager.take(1) + manager.take(1)] == [TP, OTHER, TP]
    both = [item.tp for item in manager.take(2 * TAKE_QUANTUM)]
    assert both.count(TP) == both.count(OTHER) == TAKE_QUANTUM


def test_ready_tells_how_many_items_could_start() -> None:
    manager = manager_of()
    assert manager.ready == 0
    manager.add(TP, 1, run_of(keyed(0, "aab")))
    assert manager.ready == 2
    manager.take(1)
    assert manager.ready == 1
    manager.stop_all_dispatching()

    assert manager.ready == 0
    assert manager.take(5) == []


def test_a_completion_that_comes_a_second_time_changes_nothing_but_the_count_of_fenced_ones() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "aaa")))
    first = manager.take(1)
    manager.succeed(first)
    second = manager.take(1)
    manager.succeed(first)

    assert (manager.in_flight, manager.processed, manager.fenced_completions) == (1, 1, 1)
    assert manager.take(1) == []
    manager.succeed(second)
    assert offsets_of(manager.take(1)) == [2]


def test_a_cancelled_item_is_ready_again_before_the_rest_of_its_key() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "aa")))
    (item,) = manager.take(5)
    manager.cancel(item)

    assert manager.in_flight == 0
    assert manager.take(5) == [item]


def test_an_exhausted_message_holds_its_key_and_its_offset_and_no_slot_until_it_is_settled() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "ab")))
    manager.add(TP, 1, run_of(keyed(2, "a")))
    a, b = manager.take(5)
    manager.succeed([b])

    assert manager.exhaust(a) is OnExhausted.DLQ
    picture = picture_of(manager)
    assert (picture.in_flight, picture.held, picture.queued, picture.failed) == (0, 1, 1, 1)
    assert picture.committable_offset == 0
    assert manager.load.messages == 2
    assert manager.take(5) == []

    manager.settle(a)
    assert offsets_of(manager.take(5)) == [2]
    assert picture_of(manager).committable_offset == 2
    assert (manager.processed, manager.failed) == (2, 1)


def test_settling_twice_or_after_the_assignment_ended_changes_nothing() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "ab")))
    a, b = manager.take(5)
    manager.exhaust(a)
    manager.exhaust(b)
    manager.settle(a)
    manager.settle(a)
    assert manager.processed == 1
    manager.end([(TP, 1)], is_lost=True)
    manager.settle(b)

    assert (manager.processed, manager.failed) == (1, 2)


def test_skipping_completes_the_offset_at_once() -> None:
    manager = manager_of(policy=WorkPolicy(on_exhausted=OnExhausted.SKIP))
    manager.add(TP, 1, run_of(keyed(0, "aa")))
    (item,) = manager.take(5)

    assert manager.exhaust(item) is OnExhausted.SKIP
    assert picture_of(manager).committable_offset == 1
    assert offsets_of(manager.take(5)) == [1]


def test_pausing_the_partition_of_an_exhausted_message_asks_for_its_pause() -> None:
    manager = manager_of(policy=WorkPolicy(on_exhausted=OnExhausted.PAUSE_PARTITION))
    manager.add(TP, 1, run_of(keyed(0, "a")))
    (item,) = manager.take(5)

    assert manager.exhaust(item) is OnExhausted.PAUSE_PARTITION
    assert manager.take_pause_changes() == [Pause(TP, 1)]
    assert picture_of(manager).paused_for == ("exhausted",)


def test_a_partition_that_is_resumed_after_its_exhausted_messages_runs_them_again() -> None:
    manager = manager_of(policy=WorkPolicy(on_exhausted=OnExhausted.PAUSE_PARTITION))
    manager.add(TP, 1, run_of(keyed(0, "aab")))
    a, b = manager.take(5)
    manager.exhaust(a)
    manager.exhaust(b)
    manager.resume(TP, "user")
    assert manager.take(5) == []

    manager.resume(TP, "exhausted")
    assert picture_of(manager).held == 0
    assert manager.take(5) == [a, b]
    manager.succeed([a])
    assert offsets_of(manager.take(5)) == [1]
