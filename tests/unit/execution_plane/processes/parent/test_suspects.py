"""Messages that may have killed a process: charged first, then run alone, one at a time, until cleared."""

from __future__ import annotations

from pyrallel_consumer.execution_plane.processes.parent.suspects import Suspects
from pyrallel_consumer.testing.messages import work_item


def test_who_was_present_once_may_try_again_with_others() -> None:
    suspects, root = Suspects(), work_item()
    assert not suspects.was_present(root, attempts_left=2)
    assert suspects
    assert not suspects.are_waiting
    assert suspects.next() is None


def test_who_was_present_twice_runs_alone() -> None:
    suspects, root = Suspects(), work_item()
    suspects.was_present(root, attempts_left=19)
    assert suspects.was_present(root, attempts_left=18)
    assert suspects.next() is root
    assert suspects.current is root


def test_the_last_attempt_is_made_alone() -> None:
    suspects = Suspects()
    assert suspects.was_present(work_item(), attempts_left=1)
    assert suspects.was_present(work_item(), attempts_left=0)


def test_suspects_run_one_at_a_time_in_the_order_of_their_deaths() -> None:
    suspects = Suspects()
    first, second, third = (work_item(offset=number) for number in range(3))
    for root in (first, second, third):
        suspects.was_present(root, attempts_left=0)
    assert suspects.next() is first
    assert suspects.next() is None
    suspects.cleared(second)  # It was withdrawn while it waited.
    suspects.cleared(first)
    assert suspects.are_waiting
    assert suspects.next() is third


def test_who_dies_alone_goes_behind_the_others() -> None:
    suspects = Suspects()
    first, second = work_item(offset=1), work_item(offset=2)
    for root in (first, second):
        suspects.was_present(root, attempts_left=1)
    assert suspects.next() is first
    suspects.was_present(first, attempts_left=1)
    assert suspects.next() is second
    suspects.cleared(second)
    assert suspects.next() is first


def test_who_is_cleared_begins_anew() -> None:
    suspects, root = Suspects(), work_item()
    suspects.was_present(root, attempts_left=5)
    suspects.cleared(root)
    assert not suspects
    assert not suspects.was_present(root, attempts_left=4)


def test_clearing_one_that_never_was_a_suspect_changes_nothing() -> None:
    suspects, root = Suspects(), work_item()
    suspects.was_present(root, attempts_left=0)
    suspects.cleared(work_item(offset=7))
    assert suspects.next() is root


def test_who_is_doubtful_is_a_suspect_only_after_two_deaths_more() -> None:
    suspects, root = Suspects(), work_item()
    suspects.doubt(root)
    assert root in suspects
    assert not suspects.are_waiting
    assert not suspects.was_present(root, attempts_left=4)
    suspects.doubt(root)
    assert suspects.was_present(root, attempts_left=3)


def test_who_was_doubtful_and_ended_is_cleared() -> None:
    suspects, root = Suspects(), work_item()
    suspects.doubt(root)
    suspects.cleared(root)
    assert root not in suspects
