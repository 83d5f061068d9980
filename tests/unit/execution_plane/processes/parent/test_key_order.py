"""Runs of engines that keep order, and the backlog that keeps a run with one process."""

from __future__ import annotations

from collections import deque

import pytest

from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.execution_plane.attempts import Attempt
from pyrallel_consumer.execution_plane.processes.parent.backlog import Backlog
from pyrallel_consumer.execution_plane.processes.parent.key_order import KeyOrder
from pyrallel_consumer.testing.engine_contract.rig import OneKey
from pyrallel_consumer.testing.messages import PlainMessage, work_item


class Process:
    def __init__(self) -> None:
        self.bound: deque[Attempt] = deque()


MUCH = 1_000_000


def taken_for(process: Process, backlog: Backlog, most: int = 1) -> list[WorkItem]:
    attempts, _, _ = backlog.take_for(process, most, MUCH)
    return [attempt.root for attempt in attempts]


def of_one_key(count: int) -> list[WorkItem]:
    origin = OneKey()
    return [WorkItem(PlainMessage(offset=offset), offset, origin) for offset in range(count)]


def test_the_next_may_begin_when_the_one_before_it_succeeded() -> None:
    runs, (first, second) = KeyOrder(), of_one_key(2)
    assert runs.add(first)
    assert runs.add(second)
    assert (runs.is_first(first), runs.is_first(second)) == (True, False)
    assert runs.succeeded(first) is second
    assert runs.succeeded(second) is None
    assert runs.of(first) is None


def test_behind_a_failure_all_is_doomed_until_the_last_of_it_is_gone() -> None:
    runs, (first, second, third, fourth) = KeyOrder(), of_one_key(4)
    for item in (first, second, third):
        runs.add(item)
    assert runs.broke(first, is_final=True) == [second, third]
    assert runs.broke(third, is_final=True) == []
    assert not runs.add(fourth)
    assert runs.is_doomed(second)
    runs.broke(second, is_final=True)
    runs.broke(fourth, is_final=True)
    assert runs.add(fourth)
    assert not runs.is_doomed(fourth)


def test_what_waits_for_a_retry_stays_the_first() -> None:
    runs, (first, second) = KeyOrder(), of_one_key(2)
    runs.add(first)
    runs.broke(first, is_final=False)
    assert not runs.add(second)
    runs.broke(second, is_final=True)
    assert runs.is_first(first)
    assert runs.succeeded(first) is None


def test_what_is_cancelled_in_the_middle_dooms_only_what_is_behind() -> None:
    runs, (first, second, third) = KeyOrder(), of_one_key(3)
    for item in (first, second, third):
        runs.add(item)
    assert runs.broke(second, is_final=True) == [third]
    assert runs.succeeded(first) is None


def test_items_without_order_are_runs_of_their_own() -> None:
    runs, item = KeyOrder(), work_item()
    assert runs.add(item)
    assert runs.is_first(item)
    assert runs.of(item) is None
    assert runs.succeeded(item) is None
    assert runs.broke(item, is_final=True) == []


def test_the_rest_of_a_run_goes_where_its_first_went_and_elsewhere_when_that_is_done() -> None:
    runs = KeyOrder()
    backlog, here, there = Backlog(runs), Process(), Process()
    backlog.takers = (here, there)
    items, other = of_one_key(3), work_item()
    attempts = {item: Attempt(item, item, 0.0) for item in (*items, other)}
    for item, attempt in attempts.items():
        runs.add(item)
        backlog.queue.append(attempt)

    assert taken_for(here, backlog) == [items[0]]
    assert backlog.take_for(there, 1, MUCH) == ([attempts[other]], [0], [len(other.message)])
    assert [attempt.root for attempt in here.bound] == items[1:]
    assert taken_for(there, backlog) == []
    assert bool(backlog)

    backlog.put_back(here, [attempts[items[0]]])
    assert taken_for(there, backlog) == [items[0]]
    assert taken_for(here, backlog) == []
    assert [attempt.root for attempt in there.bound] == items[1:]


def test_a_process_is_given_no_more_than_so_many_items_and_bytes() -> None:
    runs = KeyOrder()
    backlog, here = Backlog(runs), Process()
    items = [work_item(b"x" * 10) for _ in range(6)]
    backlog.queue.extend(Attempt(item, item, 0.0) for item in items[1:])
    here.bound.append(Attempt(items[0], items[0], 0.0))
    found = [backlog.take_for(here, most, most_bytes) for most, most_bytes in ((2, 1000), (9, 21), (9, 0), (9, 10))]
    roots = [[attempt.root for attempt in attempts] for attempts, _, _ in found]
    assert roots == [items[:2], items[2:5], [], items[5:]]
    assert [sizes for _, _, sizes in found] == [[10, 10], [10, 10, 10], [], [10]]


def test_what_matches_is_taken_out_wherever_it_waits() -> None:
    runs = KeyOrder()
    backlog, here = Backlog(runs), Process()
    backlog.takers = (here,)
    first, second = (Attempt(item, item, 0.0) for item in (work_item(offset=1), work_item(offset=2)))
    backlog.queue.append(first)
    here.bound.append(second)
    assert backlog.take_out(lambda attempt: attempt is second) == [second]
    assert backlog.take_out(lambda _: True) == [first]
    assert not backlog


@pytest.mark.parametrize("is_bound_meanwhile", [False, True])
def test_what_a_process_hands_back_piece_by_piece_keeps_its_order(is_bound_meanwhile: bool) -> None:
    runs, items, stranger = KeyOrder(), of_one_key(4), work_item()
    backlog, here, there = Backlog(runs), Process(), Process()
    backlog.takers = (here, there)
    attempts = {item: Attempt(item, item, 0.0) for item in (*items, stranger)}
    for item in (*items, stranger):
        runs.add(item)
        backlog.queue.append(attempts[item])
    assert taken_for(here, backlog, len(items)) == items

    backlog.put_back(here, [attempts[items[1]]])
    if is_bound_meanwhile:
        assert taken_for(there, backlog) == [stranger]
        assert [attempt.root for attempt in here.bound] == items[1:2]
    backlog.put_back(here, [attempts[items[2]], attempts[items[3]]])
    assert [attempt.root for attempt in backlog.queue if attempt.root is not stranger] == items[1:]
