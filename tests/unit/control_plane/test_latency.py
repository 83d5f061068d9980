"""Items timed from submission to completion: each once, in the right bucket of the right partition."""

from __future__ import annotations

import pytest

from pyrallel_consumer.control_plane.latency import Histogram, Stopwatch
from pyrallel_consumer.control_plane.work_manager import WorkManager, WorkPolicy
from pyrallel_consumer.dto import DURATION_BOUNDS_SECONDS, Durations, OnExhausted, TopicPartition, WorkItem
from tests.unit.control_plane.builders import OTHER, TP, assigned, keyed, run_of


def timed_manager(policy: WorkPolicy | None = None) -> tuple[WorkManager, Stopwatch]:
    stopwatch = Stopwatch()
    manager = WorkManager(policy or WorkPolicy(), stopwatch)
    for epoch, tp in enumerate((TP, OTHER), start=1):
        manager.assign(assigned(tp, epoch))
        manager.add(tp, epoch, run_of(keyed(0, "abcd"), tp))
    return manager, stopwatch


def durations(manager: WorkManager, tp: TopicPartition = TP) -> Durations | None:
    return next(work.picture(0.0, ()).latency for work in manager if work.tp == tp)


def seen(manager: WorkManager, tp: TopicPartition = TP) -> list[tuple[float, int]]:
    """Upper bounds of the buckets that hold something, and how much."""
    bounds = (*DURATION_BOUNDS_SECONDS, float("inf"))
    found = durations(manager, tp)
    assert found is not None
    return [(bound, count) for bound, count in zip(bounds, found.counts, strict=True) if count]


def test_a_histogram_counts_in_the_bucket_whose_bound_is_not_below() -> None:
    histogram = Histogram()
    for seconds, times in ((0.0, 1), (0.0005, 2), (0.00051, 4), (300.0, 8), (300.1, 16)):
        histogram.add(seconds, times)
    taken = histogram.taken()
    assert (taken.counts[:2], taken.counts[-2:], sum(taken.counts)) == ((3, 4), (8, 16), 31)
    assert taken.total_seconds == pytest.approx(0.001 + 4 * 0.00051 + 2400 + 16 * 300.1)
    assert sum((taken + taken).counts) == 62
    assert (taken + taken).total_seconds == 2 * taken.total_seconds


def test_items_that_end_while_they_are_submitted_are_counted_by_partition_and_not_touched() -> None:
    manager, stopwatch = timed_manager()
    items = manager.take(8)
    stopwatch.submitted(items, 10.0, 10.02, items)
    assert seen(manager, TP) == seen(manager, OTHER) == [(0.025, 4)]
    stopwatch.succeeded(items[:5], 99.0, left=3)
    stopwatch.succeeded(items[5:], 99.0, left=0)
    assert seen(manager, TP) == seen(manager, OTHER) == [(0.025, 4)]
    assert not any(hasattr(item, "_submitted") for item in items)


def test_items_that_end_later_are_counted_when_they_are_taken_in() -> None:
    manager, stopwatch = timed_manager()
    items = manager.take(8)
    stopwatch.submitted(items, 10.0, 10.001, [])
    assert seen(manager, TP) == seen(manager, OTHER) == []
    stopwatch.succeeded(items[:2], 10.004, left=0)
    stopwatch.succeeded(items[2:6], 10.04, left=2)
    stopwatch.succeeded(items[6:], 12.0, left=0)
    assert seen(manager, TP) == [(0.005, 2), (0.05, 2)]
    assert seen(manager, OTHER) == [(0.05, 2), (2.5, 2)]


def test_both_kinds_may_be_taken_in_together() -> None:
    manager, stopwatch = timed_manager()
    slow = manager.take(2)
    stopwatch.submitted(slow, 1.0, 1.0, [])
    quick = manager.take(6)
    stopwatch.submitted(quick, 2.0, 2.0001, quick)
    both = [quick[0], slow[0], *quick[1:]]
    stopwatch.succeeded(both, 2.2, left=1)
    stopwatch.succeeded([slow[1]], 3.5, left=0)
    assert sorted(seen(manager, TP) + seen(manager, OTHER)) == [(0.0005, 2), (0.0005, 4), (2.5, 2)]


@pytest.mark.parametrize("reported", [0, 3, 4])
def test_successes_of_others_that_came_meanwhile_are_not_taken_for_these(reported: int) -> None:
    manager, stopwatch = timed_manager()
    others = manager.take(4)
    stopwatch.submitted(others, 1.0, 1.0, [])
    items = manager.take(4)
    stopwatch.submitted(items, 2.0, 2.0, others[:reported])
    stopwatch.succeeded([*others, *items], 4.0, left=0)
    assert sorted(seen(manager, TP) + seen(manager, OTHER)) == [(2.5, 4), (5.0, 4)]


def test_a_failure_counts_with_all_its_attempts_and_begins_anew_when_it_is_run_again() -> None:
    manager, stopwatch = timed_manager(WorkPolicy(on_exhausted=OnExhausted.PAUSE_PARTITION))
    item = manager.take(1)[0]
    stopwatch.submitted([item], 1.0, 1.0, [])
    assert manager.exhaust(item) is OnExhausted.PAUSE_PARTITION
    stopwatch.failed(item, 9.0)
    assert seen(manager) == [(10.0, 1)]
    manager.resume(TP, "exhausted")
    items = manager.take(8)
    assert item in items
    stopwatch.submitted(items, 20.0, 20.0001, items)
    stopwatch.succeeded(items, 30.0, left=0)
    assert seen(manager) == [(0.0005, 4), (10.0, 1)]


def test_what_was_given_back_begins_anew() -> None:
    manager, stopwatch = timed_manager()
    [item] = manager.take(1)
    stopwatch.submitted([item], 1.0, 1.0, [])
    manager.cancel(item)
    stopwatch.succeeded([item], 9.0, left=0)
    assert seen(manager) == []


def test_a_failure_that_was_never_timed_is_not_counted() -> None:
    manager, stopwatch = timed_manager()
    [item] = manager.take(1)
    stopwatch.failed(item, 9.0)
    assert seen(manager) == []


def test_what_an_ended_assignment_still_ran_is_not_counted_and_the_next_one_counts_on() -> None:
    manager, stopwatch = timed_manager()
    items = manager.take(8)
    ours = [item for item in items if item.tp == TP]
    stopwatch.submitted(items, 1.0, 1.0, [])
    stopwatch.succeeded(ours[:1], 1.09, left=0)
    manager.succeed(ours[:1])
    manager.end([(TP, 1)], is_lost=True)
    stopwatch.succeeded(ours[1:3], 1.2, left=0)
    stopwatch.failed(ours[3], 1.2)
    manager.assign(assigned(TP, 3, start=4))
    assert seen(manager) == [(0.1, 1)]
    assert manager.processed == 1


def test_items_that_were_handed_out_and_not_submitted_do_not_shift_the_others() -> None:
    manager, stopwatch = timed_manager()
    items = manager.take(8)
    submitted = [item for item in items if item.offset != 1]
    stopwatch.submitted(submitted, 1.0, 1.0, submitted)
    stopwatch.succeeded(submitted, 3.0, left=0)
    assert seen(manager, TP) == seen(manager, OTHER) == [(2.5, 3)]


def test_without_a_stopwatch_nothing_is_timed() -> None:
    manager = WorkManager(WorkPolicy())
    manager.assign(assigned())
    manager.add(TP, 1, run_of(keyed(0, "a")))
    [item] = manager.take(1)
    manager.cancel(item)
    assert durations(manager) is None
    assert isinstance(item, WorkItem)


def test_what_ends_at_once_in_an_assignment_that_has_ended_is_not_counted() -> None:
    manager, stopwatch = timed_manager()
    items = manager.take(8)
    manager.end([(TP, 1)], is_lost=True)
    stopwatch.submitted(items, 1.0, 1.0, items)
    assert seen(manager, OTHER) == [(0.0005, 4)]
    manager.assign(assigned(TP, 3, start=4))
    assert seen(manager) == []
