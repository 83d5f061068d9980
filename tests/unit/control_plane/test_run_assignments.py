"""Runs across assignments: what of an ended assignment still runs, and offsets that come again."""

from __future__ import annotations

from pyrallel_consumer.control_plane.events import OffsetWentBack
from tests.unit.control_plane.builders import TP, assigned, keyed, offsets_of, picture_of, run_of
from tests.unit.control_plane.sent_ahead import with_runs


def test_a_key_read_again_waits_for_all_of_the_run_of_the_ended_assignment() -> None:
    manager = with_runs("aa")
    first, second = manager.take(10)
    manager.end([(TP, 1)], is_lost=True)
    manager.assign(assigned(TP, 2))
    manager.add(TP, 2, run_of(keyed(0, "aaa")))
    assert manager.take(10) == []
    manager.succeed([first])
    assert manager.take(10) == []

    manager.cancel(second)
    assert offsets_of(manager.take(10)) == [0, 1, 2]
    assert manager.fenced_completions == 2


def test_a_run_of_an_ended_assignment_that_nobody_waits_for_just_ends() -> None:
    manager = with_runs("aaa")
    first, second, _ = manager.take(10)
    manager.end([(TP, 1)], is_lost=True)
    manager.succeed([first, second])
    manager.succeed([first])

    assert (manager.fenced_completions, manager.take(10)) == (3, [])


def test_offsets_that_come_again_wait_for_the_forgotten_part_of_the_run() -> None:
    manager = with_runs("aaaa")
    first, second, third = manager.take(10)
    manager.go_back(OffsetWentBack(TP, 1, 2, 1))
    assert (manager.in_flight, manager.load.messages) == (1, 1)
    manager.add(TP, 2, run_of(keyed(1, "aaa")))
    manager.succeed([first])
    assert manager.take(10) == []
    manager.succeed([second])
    assert manager.take(10) == []

    manager.cancel(third)
    assert offsets_of(manager.take(10)) == [1, 2, 3]


def test_a_key_of_which_only_forgotten_messages_run_is_gone_when_they_end() -> None:
    manager = with_runs("aa")
    first, second = manager.take(10)
    manager.go_back(OffsetWentBack(TP, 1, 2, 1))
    manager.succeed([first])
    manager.cancel(second)
    manager.add(TP, 2, run_of(keyed(1, "aa")))

    assert offsets_of(manager.take(10)) == [1, 2]


def test_what_was_ready_or_held_and_comes_again_is_forgotten() -> None:
    manager = with_runs("aab-b")
    started = {item.offset: item for item in manager.take(2)}
    manager.exhaust(started[0])
    assert set(started) == {0, 2}
    manager.exhaust(started[2])
    manager.go_back(OffsetWentBack(TP, 1, 2, 2))
    manager.settle(started[0])

    assert offsets_of(manager.take(10)) == [1]
    assert manager.load.messages == 1


def test_a_failed_message_without_a_key_that_comes_again_is_tried_again() -> None:
    manager = with_runs("a-")
    first, second = manager.take(10)
    manager.exhaust(second)
    manager.go_back(OffsetWentBack(TP, 1, 2, 1))
    assert (manager.in_flight, picture_of(manager).held) == (1, 0)
    manager.add(TP, 2, run_of(keyed(1, "-")))
    manager.succeed([first])

    assert offsets_of(manager.take(10)) == [1]


def test_a_failed_message_that_comes_again_no_longer_holds_its_key() -> None:
    manager = with_runs("aa-")
    first, second = [item for item in manager.take(10) if item.key]
    manager.exhaust(second)
    manager.go_back(OffsetWentBack(TP, 1, 2, 1))
    manager.add(TP, 2, run_of(keyed(1, "a")))
    manager.succeed([first])

    assert offsets_of(manager.take(10)) == [1]
