"""Items timed from submission to completion: each once, in the right bucket of the right partition."""

from __future__ import annotations

import pytest

from pyrallel_consumer.control_plane.events import OffsetWentBack
from pyrallel_consumer.control_plane.partitions.latency import MOST_PENDING, Histogram
from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import DURATION_BOUNDS_SECONDS, Durations, OnExhausted, TopicPartition, WorkItem
from pyrallel_consumer.observability.partition_picture import partition_picture
from tests.unit.control_plane.builders import OTHER, TP, assigned, keyed, run_of


def timed_manager(on_exhausted: OnExhausted = OnExhausted.DLQ) -> WorkManager:
    manager = WorkManager(WorkPolicy(on_exhausted=on_exhausted, is_timed=True))
    for epoch, tp in enumerate((TP, OTHER), start=1):
        manager.assign(assigned(tp, epoch))
        manager.add(tp, epoch, run_of(keyed(0, "abcd"), tp))
    return manager


def durations(manager: WorkManager, tp: TopicPartition = TP) -> Durations | None:
    return next(partition_picture(work, 0.0, ()).latency for work in manager if work.tp == tp)


def seen(manager: WorkManager, tp: TopicPartition = TP) -> list[tuple[float, int]]:
    """The buckets that are not empty: upper bound and number."""
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


def test_items_that_end_later_are_counted_when_they_are_taken_in() -> None:
    manager = timed_manager()
    items = manager.take(8, now=10.0)
    assert seen(manager, TP) == seen(manager, OTHER) == []
    for ended, at in ((items[:2], 10.004), (items[2:6], 10.04), (items[6:], 12.0)):
        manager.succeed(ended, at)
    assert seen(manager, TP) == [(0.005, 2), (0.05, 2)]
    assert seen(manager, OTHER) == [(0.05, 2), (2.5, 2)]


def test_what_is_pending_is_kept_within_bounds_and_lands_in_the_same_buckets() -> None:
    manager = timed_manager()
    work = next(work for work in manager if work.tp == TP)
    assert work.latency is not None
    work.latency.pending.extend([0.003] * MOST_PENDING)
    manager.observe(1.0)
    assert len(work.latency.pending) == MOST_PENDING
    work.latency.pending.extend([400.0, 0.0005])
    manager.observe(2.0)
    work.finished = MOST_PENDING + 2
    assert work.latency.pending == []
    assert seen(manager) == [(0.0005, 1), (0.005, MOST_PENDING), (float("inf"), 1)]


def test_a_failure_counts_with_all_its_attempts_and_begins_anew_when_it_is_run_again() -> None:
    manager = timed_manager(OnExhausted.PAUSE_PARTITION)
    [item] = manager.take(1, now=1.0)
    assert manager.exhaust(item, 9.0) is OnExhausted.PAUSE_PARTITION
    assert seen(manager) == [(10.0, 1)]
    manager.resume(TP, "exhausted")
    items = manager.take(8, now=20.0)
    assert item in items
    manager.succeed(items, 20.0001)
    assert seen(manager) == [(0.0005, 4), (10.0, 1)]


def test_what_was_given_back_begins_anew() -> None:
    manager = timed_manager()
    [item] = manager.take(1, now=1.0)
    manager.cancel(item)
    assert item in manager.take(8, now=8.996)
    manager.succeed([item], 9.0)
    assert seen(manager) == [(0.005, 1)]


def test_what_an_ended_assignment_still_ran_is_not_counted_and_the_next_one_counts_on() -> None:
    manager = timed_manager()
    ours = [item for item in manager.take(8, now=1.0) if item.tp == TP]
    manager.succeed(ours[:1], 1.09)
    manager.end([(TP, 1)], is_lost=True)
    manager.succeed(ours[1:3], 1.2)
    assert manager.exhaust(ours[3], 1.2) is None
    manager.assign(assigned(TP, 3, start=4))
    assert seen(manager) == [(0.1, 1)]
    assert manager.processed == 1


def test_what_ran_when_its_offset_came_again_is_counted_for_its_worker_took_that_long() -> None:
    manager = timed_manager()
    ours = [item for item in manager.take(8, now=1.0) if item.tp == TP]
    manager.go_back(OffsetWentBack(TP, 1, 3, 2))
    manager.succeed(ours, 1.09)
    assert [item.offset for item in ours if not manager.is_current(item)] == [0, 1, 2, 3]
    assert seen(manager) == [(0.1, 4)]
    assert manager.processed == 2


def test_where_nobody_tells_the_time_nothing_is_timed() -> None:
    manager = WorkManager(WorkPolicy())
    manager.assign(assigned())
    manager.add(TP, 1, run_of(keyed(0, "a")))
    [item] = manager.take(1)
    manager.cancel(item)
    assert durations(manager) is None
    assert isinstance(item, WorkItem)
