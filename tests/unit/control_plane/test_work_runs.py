"""Runs: messages of one key that are sent to the engine ahead of each other's end."""

from __future__ import annotations

from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import OnExhausted
from tests.unit.control_plane.builders import TP, assigned, keyed, lane_of, manager_of, offsets_of, picture_of, run_of
from tests.unit.control_plane.sent_ahead import AHEAD, with_runs


def test_as_many_of_a_key_go_ahead_as_the_engine_takes_the_keys_in_turns() -> None:
    manager = with_runs("aaaaabb")

    assert offsets_of(manager.take(2)) == [0, 5]
    assert offsets_of(manager.take(10)) == [1, 6, 2]
    assert manager.take(10) == []


def test_of_a_run_the_first_counts_as_running() -> None:
    manager = with_runs("aaa")
    first, second, _ = manager.take(10)
    assert lane_of(first).running is first
    manager.succeed([first])

    assert lane_of(second).running is second


def test_without_leave_one_of_a_key_goes_at_a_time() -> None:
    manager = with_runs("aaab", most=1)

    assert offsets_of(manager.take(10)) == [0, 3]


def test_what_ends_lets_the_next_go_ahead() -> None:
    manager = with_runs("aaaaa")
    first, second, _ = manager.take(10)
    manager.succeed([first, second])

    assert offsets_of(manager.take(10)) == [3, 4]


def test_what_the_engine_has_sealed_gets_no_company_until_all_of_it_has_ended() -> None:
    manager = with_runs("aaaaa", most=5)
    first, second, third = manager.take(3)
    lane_of(first).seal()
    assert manager.take(10) == []
    manager.add(TP, 1, run_of(keyed(5, "ba")))
    assert offsets_of(manager.take(10)) == [5]
    manager.succeed([first, second])
    assert manager.take(10) == []

    manager.succeed([third])
    assert offsets_of(manager.take(10)) == [3, 4, 6]


def whole_runs(keys: str, most: int) -> WorkManager:
    manager = manager_of(policy=AHEAD)
    manager.allow_runs(most, are_whole=True)
    manager.add(TP, 1, run_of(keyed(0, keys)))
    return manager


def test_whole_runs_start_one_key_after_the_other_and_unordered_messages_between_them() -> None:
    manager = whole_runs("aab-aab", most=3)

    assert offsets_of(manager.take(10)) == [0, 1, 4, 2, 6, 3]
    assert manager.take(10) == []


def test_a_whole_run_that_is_cut_short_by_the_slots_goes_on_with_the_next_ones() -> None:
    manager = whole_runs("aaabbb", most=5)

    assert offsets_of(manager.take(2)) == [0, 1]
    assert offsets_of(manager.take(3)) == [2, 3, 4]
    assert offsets_of(manager.take(3)) == [5]


def test_of_a_whole_run_that_is_sealed_the_rest_starts_when_all_of_it_has_ended() -> None:
    manager = whole_runs("aaaaa", most=3)
    run = manager.take(10)
    lane_of(run[0]).seal()
    manager.succeed(run[:1])
    manager.add(TP, 1, run_of(keyed(5, "a")))
    assert manager.take(10) == []
    manager.succeed(run[1:])
    assert offsets_of(manager.take(10)) == [3, 4, 5]


def test_whole_runs_are_timed_from_their_start_on() -> None:
    manager = manager_of(policy=WorkPolicy(is_sending_ahead=True, is_timed=True))
    manager.allow_runs(3, are_whole=True)
    manager.add(TP, 1, run_of(keyed(0, "aa")))
    manager.succeed(manager.take(10, now=1.0), now=3.0)

    latency = picture_of(manager).latency
    assert latency is not None
    assert latency.total_seconds == 4.0


def test_whole_runs_that_end_together_are_done_and_let_their_keys_go_on() -> None:
    manager = whole_runs("aaabb--", most=2)
    manager.succeed(manager.take(10))

    assert manager.processed == 6
    assert [*next(iter(manager)).tracker.unfinished] == [2]
    assert offsets_of(manager.take(10)) == [2]


def test_a_part_of_a_whole_run_that_ends_leaves_the_rest_in_flight() -> None:
    manager = whole_runs("aaaaa", most=3)
    run = manager.take(10)
    lane_of(run[0]).seal()
    manager.succeed(run[:2])

    assert manager.in_flight == 1
    assert lane_of(run[2]).running is run[2]
    assert manager.take(10) == []


def test_items_of_an_ended_assignment_end_one_by_one_among_whole_runs() -> None:
    manager = whole_runs("aab", most=2)
    old = manager.take(10)
    manager.end([(TP, 1)], is_lost=False)
    manager.assign(assigned(TP, 2))
    manager.allow_runs(2, are_whole=True)
    manager.add(TP, 2, run_of(keyed(0, "acc")))
    new = manager.take(10)
    assert offsets_of(new) == [1, 2]
    manager.succeed([*old, *new])

    assert manager.fenced_completions == 3
    assert manager.processed == 2
    assert offsets_of(manager.take(10)) == [0]


def test_items_that_are_not_the_first_of_their_run_end_one_by_one() -> None:
    manager = whole_runs("aaaa", most=4)
    run = manager.take(10)
    manager.succeed(run[2:])
    manager.succeed(run[:2])

    assert manager.processed == 4
    assert manager.in_flight == 0


def test_a_ticket_that_came_to_be_wrong_starts_no_run() -> None:
    manager = whole_runs("aaaa", most=3)
    first, second = manager.take(2)
    lane_of(first).seal()
    assert manager.take(10) == []
    manager.succeed([first, second])
    assert offsets_of(manager.take(10)) == [2, 3]


def test_one_of_a_key_that_goes_alone_is_sealed_by_that() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "aa")))
    [first] = manager.take(10)
    lane_of(first).seal()
    manager.succeed([first])

    assert offsets_of(manager.take(10)) == [1]


def test_what_arrives_goes_ahead_at_once() -> None:
    manager = with_runs("a")
    manager.take(10)
    manager.add(TP, 1, run_of(keyed(1, "aa")))

    assert offsets_of(manager.take(10)) == [1, 2]


def test_a_key_that_is_done_is_forgotten_and_may_come_again() -> None:
    manager = with_runs("aa")
    manager.succeed(manager.take(10))
    manager.add(TP, 1, run_of(keyed(2, "a-")))

    assert offsets_of(manager.take(10)) == [2, 3]


def test_what_is_given_back_goes_again_in_order_when_all_of_the_run_has_come_back() -> None:
    manager = with_runs("aaaaaa")
    first, second, third = manager.take(10)
    manager.cancel(third)
    assert manager.take(10) == []
    manager.cancel(second)
    assert manager.take(10) == []
    assert (picture_of(manager).queued, manager.in_flight) == (5, 1)

    manager.succeed([first])
    assert offsets_of(manager.take(10)) == [1, 2]


def test_after_something_came_back_runs_begin_short_and_grow() -> None:
    manager = with_runs("aaaaaaaaa")
    for item in manager.take(10):
        manager.cancel(item)
    lengths = []
    while run := manager.take(10):
        lengths.append(len(run))
        manager.succeed(run)

    assert lengths == [1, 2, 3, 3]


def test_nothing_goes_ahead_of_a_message_that_failed_for_good_until_it_is_settled() -> None:
    manager = with_runs("aaaa")
    first, second, third = manager.take(10)
    assert manager.exhaust(second) is OnExhausted.DLQ
    manager.cancel(third)
    manager.succeed([first])
    assert manager.take(10) == []

    manager.settle(second)
    assert offsets_of(manager.take(10)) == [2, 3]


def test_a_settled_message_lets_go_only_what_has_come_back() -> None:
    manager = with_runs("aaaa", policy=WorkPolicy(on_exhausted=OnExhausted.SKIP, is_sending_ahead=True))
    first, second, third = manager.take(10)
    manager.exhaust(first)
    assert manager.take(10) == []
    manager.cancel(second)
    manager.cancel(third)

    assert offsets_of(manager.take(1)) == [1]


def test_a_paused_partition_runs_the_failed_messages_again_at_their_places() -> None:
    manager = with_runs("aa-a", policy=WorkPolicy(on_exhausted=OnExhausted.PAUSE_PARTITION, is_sending_ahead=True))
    started = {item.offset: item for item in manager.take(10)}
    manager.exhaust(started[0])
    manager.exhaust(started[2])
    manager.cancel(started[1])
    manager.cancel(started[3])
    manager.resume(TP, "exhausted")

    assert sorted(offsets_of(manager.take(10))) == [0, 2]


def test_messages_without_a_key_that_are_given_back_are_ready_again() -> None:
    manager = with_runs("--")
    first, second = manager.take(10)
    manager.cancel(first)
    manager.succeed([second])

    assert manager.take(10) == [first]
