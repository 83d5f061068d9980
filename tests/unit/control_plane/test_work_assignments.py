"""After a revoke, a loss and a repeated offset: fences, and keys that wait for old attempts."""

from __future__ import annotations

import gc
import weakref

import pytest

from pyrallel_consumer.control_plane.events import (
    OffsetWentBack,
    Pause,
    PositionAdvanced,
    Resume,
)
from pyrallel_consumer.control_plane.partitions.virtual_partition import VirtualPartition
from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.dto import OnExhausted
from pyrallel_consumer.errors import InvariantViolation
from tests.unit.control_plane.builders import (
    OTHER,
    THIRD,
    TP,
    assigned,
    keyed,
    lane_of,
    manager_of,
    offsets_of,
    only,
    picture_of,
    run_of,
)


def test_a_partition_that_is_assigned_twice_is_a_bug_of_ours_and_loud() -> None:
    manager = manager_of()

    with pytest.raises(InvariantViolation, match=r"orders\[0\] was assigned while it was assigned"):
        manager.assign(assigned(TP, epoch=2))


def test_after_stop_dispatching_what_runs_may_end_and_nothing_starts() -> None:
    manager = manager_of(TP, OTHER)
    manager.add(TP, 1, run_of(keyed(0, "aab"), TP))
    manager.add(OTHER, 2, run_of(keyed(0, "a"), OTHER))
    (running,) = manager.take(1)
    manager.stop_dispatching([TP, THIRD])
    manager.succeed([running])

    assert [item.tp for item in manager.take(10)] == [OTHER]
    assert only(manager.end([(TP, 1)], is_lost=False)).offset == 1


def test_what_was_read_for_an_assignment_that_ended_is_dropped() -> None:
    manager = manager_of()
    manager.end([(TP, 1)], is_lost=True)
    manager.add(TP, 1, run_of(keyed(0, "a")))
    manager.assign(assigned(TP, epoch=2))
    manager.add(TP, 1, run_of(keyed(0, "a")))
    manager.advance(PositionAdvanced(TP, 1, 99))
    manager.go_back(OffsetWentBack(TP, 1, 3, 0))

    assert manager.take(10) == []
    assert picture_of(manager).fetched_offset == 0


def test_a_completion_of_an_ended_assignment_moves_nothing_of_the_next_one() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "ab")))
    old = manager.take(10)
    manager.end([(TP, 1)], is_lost=True)
    manager.assign(assigned(TP, epoch=2))
    manager.add(TP, 2, run_of(keyed(0, "ab")))
    manager.succeed(old)

    assert manager.fenced_completions == 2
    assert (manager.in_flight, manager.load.messages, picture_of(manager).committable_offset) == (0, 2, 0)
    assert len(manager.take(10)) == 2


@pytest.mark.parametrize("how", ["succeed", "exhaust", "cancel"])
def test_a_key_whose_old_attempt_still_runs_starts_again_only_when_that_attempt_ended(how: str) -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "ab")))
    old_a, old_b = manager.take(10)
    manager.end([(TP, 1)], is_lost=False)
    manager.assign(assigned(TP, epoch=2))
    manager.add(TP, 2, run_of(keyed(0, "abca")))
    assert offsets_of(manager.take(10)) == [2]

    if how == "succeed":
        manager.succeed([old_a])
    elif how == "exhaust":
        assert manager.exhaust(old_a) is None
    else:
        manager.cancel(old_a)
    assert offsets_of(manager.take(10)) == [0]
    manager.succeed([old_b])
    assert offsets_of(manager.take(10)) == [1]


def test_a_key_waits_for_its_old_attempt_through_any_number_of_assignments() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "a")))
    old = manager.take(10)
    for epoch in (2, 3, 4):
        manager.end([(TP, epoch - 1)], is_lost=True)
        manager.assign(assigned(TP, epoch))
        manager.add(TP, epoch, run_of(keyed(0, "aa")))
        assert manager.take(10) == []
    manager.succeed(old)

    (item,) = manager.take(10)
    assert (item.offset, item.epoch) == (0, 4)
    assert manager.take(10) == []


def test_an_old_attempt_that_ended_before_its_key_was_read_again_holds_nothing_back() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "a")))
    old = manager.take(10)
    manager.end([(TP, 1)], is_lost=True)
    manager.assign(assigned(TP, epoch=2))
    manager.succeed(old)
    manager.add(TP, 2, run_of(keyed(0, "a")))

    assert offsets_of(manager.take(10)) == [0]


def test_a_dead_letter_that_is_still_being_sent_does_not_hold_its_key_back_in_the_next_assignment() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "a")))
    (item,) = manager.take(10)
    manager.exhaust(item)
    manager.end([(TP, 1)], is_lost=False)
    manager.assign(assigned(TP, epoch=2))
    manager.add(TP, 2, run_of(keyed(0, "a")))

    assert offsets_of(manager.take(10)) == [0]


def test_nothing_is_left_of_a_key_once_its_messages_are_done() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "abcab")))
    items = manager.take(10)
    gone = [weakref.ref(item) for item in items]
    while items:
        manager.succeed(items)
        items = manager.take(10)
    gc.collect()

    assert [ref() for ref in gone] == [None] * 3
    queues = [known for known in gc.get_objects() if isinstance(known, VirtualPartition) and known.work in manager]
    assert [queue.is_ordered for queue in queues] == [False]


def test_nothing_is_left_of_an_ended_assignment_once_its_attempts_ended() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "abcab")))
    items = manager.take(10)
    gone = weakref.ref(lane_of(items[0]).work.tracker.unfinished[4])
    manager.end([(TP, 1)], is_lost=True)
    manager.succeed(items)
    del items
    manager.take(10)
    gc.collect()

    assert gone() is None
    assert len(manager) == 0


def test_an_offset_that_comes_again_without_a_new_epoch_is_a_bug_of_ours_and_loud() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "abc")))

    with pytest.raises(InvariantViolation, match=r"orders\[0\] delivered 2 again"):
        manager.add(TP, 1, run_of(keyed(2, "d")))


def test_going_back_keeps_what_is_unfinished_below_and_forgets_the_rest() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "abcabc")))
    a, b, c = manager.take(10)
    manager.exhaust(c)
    manager.go_back(OffsetWentBack(TP, 1, 2, 2))
    assert (manager.in_flight, manager.load.messages) == (2, 2)

    manager.succeed([a])
    assert (a.epoch, manager.fenced_completions) == (2, 0)
    manager.add(TP, 2, run_of(keyed(2, "bd")))
    assert offsets_of(manager.take(10)) == [3]
    manager.succeed([b])
    assert offsets_of(manager.take(10)) == [2]


def test_an_attempt_of_a_forgotten_offset_must_end_before_its_key_goes_on() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "ab")))
    old = manager.take(10)
    manager.go_back(OffsetWentBack(TP, 1, 2, 0))
    manager.add(TP, 2, run_of(keyed(0, "ab")))
    manager.go_back(OffsetWentBack(TP, 2, 3, 0))
    manager.add(TP, 3, run_of(keyed(0, "ab")))
    assert manager.take(10) == []
    manager.succeed(old)

    assert (offsets_of(manager.take(10)), manager.processed, manager.in_flight) == ([0, 1], 0, 2)


def test_after_going_back_the_lower_offset_is_worth_committing_and_pauses_are_told_again() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "abc")))
    manager.succeed(manager.take(10))
    manager.confirm(only(manager.snapshots()))
    manager.pause(TP, "user")
    manager.take_pause_changes()
    manager.go_back(OffsetWentBack(TP, 1, 2, 1))

    assert picture_of(manager).committed_offset == 1
    assert only(manager.snapshots()).offset == 1
    assert manager.take_pause_changes() == [Pause(TP, 2)]


def test_a_partition_paused_for_a_message_that_is_forgotten_is_fetched_again() -> None:
    manager = manager_of(policy=WorkPolicy(on_exhausted=OnExhausted.PAUSE_PARTITION))
    manager.add(TP, 1, run_of(keyed(0, "abc")))
    a, b, _ = manager.take(10)
    manager.exhaust(a)
    manager.exhaust(b)
    manager.take_pause_changes()
    manager.go_back(OffsetWentBack(TP, 1, 2, 1))
    assert manager.take_pause_changes() == [Pause(TP, 2)]

    manager.go_back(OffsetWentBack(TP, 2, 3, 0))
    assert manager.pause_reasons(TP) == ()
    assert manager.take_pause_changes() == [Resume(TP, 3)]


def test_the_end_of_an_assignment_that_was_replaced_is_passed_over() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "a")))

    assert manager.end([(TP, 7)], is_lost=False) == ()
    assert offsets_of(manager.take(10)) == [0]


def test_a_key_that_waited_for_an_old_attempt_and_has_nothing_left_just_ends() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "a")))
    [old] = manager.take(10)
    manager.end([(TP, 1)], is_lost=True)
    manager.assign(assigned(TP, 2))
    manager.add(TP, 2, run_of(keyed(0, "ab")))
    manager.go_back(OffsetWentBack(TP, 2, 3, 0))
    manager.cancel(old)
    assert manager.take(10) == []

    manager.add(TP, 3, run_of(keyed(0, "ab")))
    assert offsets_of(manager.take(10)) == [0, 1]
