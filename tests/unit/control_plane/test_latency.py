"""Items timed from submission to completion: each once, in the right bucket of the right partition."""

from __future__ import annotations

from random import Random

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


def test_items_that_come_back_in_their_order_are_counted_by_partition_and_not_touched() -> None:
    manager, stopwatch = timed_manager()
    items = manager.take(8)
    stopwatch.submitted(items, 10.0)
    assert seen(manager, TP) == seen(manager, OTHER) == []
    stopwatch.succeeded(items[:3], 10.02)
    assert (seen(manager, TP), seen(manager, OTHER)) == ([(0.025, 3)], [])
    stopwatch.succeeded(items[3:6], 10.04)
    stopwatch.succeeded(items[6:], 12.0)
    assert seen(manager, TP) == [(0.025, 3), (0.05, 1)]
    assert seen(manager, OTHER) == [(0.05, 2), (2.5, 2)]
    assert not any(hasattr(item, "_submitted") for item in items)


def test_several_batches_may_come_back_at_once() -> None:
    manager, stopwatch = timed_manager()
    batches = [manager.take(3), manager.take(3), manager.take(2)]
    for at, batch in enumerate(batches):
        stopwatch.submitted(batch, float(at))
    items = [item for batch in batches for item in batch]
    stopwatch.succeeded(items[:7], 2.0)
    stopwatch.succeeded(items[7:], 2.0)
    assert seen(manager, TP) == [(0.0005, 1), (2.5, 3)]
    assert seen(manager, OTHER) == [(0.0005, 1), (1.0, 3)]
    assert not any(hasattr(item, "_submitted") for item in items)


def test_items_that_come_back_in_another_order_are_counted_by_their_start() -> None:
    manager, stopwatch = timed_manager()
    first, second = manager.take(6), manager.take(2)
    stopwatch.submitted(first, 1.0)
    stopwatch.submitted(second, 2.0)
    stopwatch.succeeded([first[0], first[2], second[1]], 2.2)
    assert seen(manager, TP) == [(2.5, 2)]
    assert seen(manager, OTHER) == [(0.25, 1)]
    stopwatch.succeeded([second[0], first[1], *first[3:]], 2.4)
    assert seen(manager, TP) == [(2.5, 4)]
    assert seen(manager, OTHER) == [(0.25, 1), (0.5, 1), (2.5, 2)]


@pytest.mark.parametrize("seed", range(20))
def test_every_item_is_counted_once_with_its_own_time(seed: int) -> None:
    random = Random(seed)
    manager, stopwatch = timed_manager()
    for tp, epoch in ((TP, 1), (OTHER, 2)):
        manager.add(tp, epoch, run_of({offset: b"%d" % offset for offset in range(4, 60)}, tp))
    running: list[WorkItem] = []
    submitted_at: dict[WorkItem, float] = {}
    expected = {TP: Histogram(), OTHER: Histogram()}
    now = 0.0
    while len(submitted_at) < 120 or running:
        now += random.choice((0.0, 0.001, 0.3))
        batch = manager.take(random.randrange(1, 20))
        if batch:
            stopwatch.submitted(batch, now)
            submitted_at |= dict.fromkeys(batch, now)
            running += batch
        if random.random() < 0.2:
            random.shuffle(running)
        ended, running = running[: (count := random.randrange(0, 30))], running[count:]
        stopwatch.succeeded(ended, now)
        manager.succeed(ended)
        for item in ended:
            expected[item.tp].add(now - submitted_at[item])
    for tp, histogram in expected.items():
        found = durations(manager, tp)
        assert found is not None
        assert found.counts == histogram.taken().counts
        assert found.total_seconds == pytest.approx(histogram.taken().total_seconds)


def test_a_failure_counts_with_all_its_attempts_and_begins_anew_when_it_is_run_again() -> None:
    manager, stopwatch = timed_manager(WorkPolicy(on_exhausted=OnExhausted.PAUSE_PARTITION))
    item = manager.take(1)[0]
    stopwatch.submitted([item], 1.0)
    assert manager.exhaust(item) is OnExhausted.PAUSE_PARTITION
    stopwatch.failed(item, 9.0)
    assert seen(manager) == [(10.0, 1)]
    manager.resume(TP, "exhausted")
    items = manager.take(8)
    assert item in items
    stopwatch.submitted(items, 20.0)
    stopwatch.succeeded(items, 20.0001)
    assert seen(manager) == [(0.0005, 4), (10.0, 1)]


def test_what_was_given_back_begins_anew() -> None:
    manager, stopwatch = timed_manager()
    [item] = manager.take(1)
    stopwatch.submitted([item], 1.0)
    manager.cancel(item)
    stopwatch.succeeded([item], 9.0)
    assert seen(manager) == []


def test_what_was_never_submitted_is_not_counted() -> None:
    manager, stopwatch = timed_manager()
    first, second, third = manager.take(3)
    stopwatch.failed(first, 9.0)
    stopwatch.succeeded([second, third], 9.0)
    assert seen(manager) == []


def test_what_an_ended_assignment_still_ran_is_not_counted_and_the_next_one_counts_on() -> None:
    manager, stopwatch = timed_manager()
    items = manager.take(8)
    ours, theirs = items[:4], items[4:]
    stopwatch.submitted(items, 1.0)
    stopwatch.succeeded(ours[:1], 1.09)
    manager.succeed(ours[:1])
    manager.end([(TP, 1)], is_lost=True)
    stopwatch.succeeded(ours[1:2], 1.2)
    stopwatch.succeeded([theirs[0], ours[2]], 1.2)
    stopwatch.failed(ours[3], 1.2)
    manager.assign(assigned(TP, 3, start=4))
    assert (seen(manager), seen(manager, OTHER)) == ([(0.1, 1)], [(0.25, 1)])
    assert manager.processed == 1


def test_of_a_whole_batch_what_belongs_to_an_ended_assignment_is_not_counted() -> None:
    manager, stopwatch = timed_manager()
    items = manager.take(8)
    stopwatch.submitted(items, 1.0)
    manager.end([(TP, 1)], is_lost=True)
    stopwatch.succeeded(list(items), 1.2)
    manager.assign(assigned(TP, 3, start=4))
    assert (seen(manager), seen(manager, OTHER)) == ([], [(0.25, 4)])


def test_items_that_were_handed_out_and_not_submitted_do_not_shift_the_others() -> None:
    manager, stopwatch = timed_manager()
    items = manager.take(8)
    submitted = [item for item in items if item.offset != 1]
    stopwatch.submitted(submitted, 1.0)
    stopwatch.succeeded(submitted, 3.0)
    assert seen(manager, TP) == seen(manager, OTHER) == [(2.5, 3)]


def test_without_a_stopwatch_nothing_is_timed() -> None:
    manager = WorkManager(WorkPolicy())
    manager.assign(assigned())
    manager.add(TP, 1, run_of(keyed(0, "a")))
    [item] = manager.take(1)
    manager.cancel(item)
    assert durations(manager) is None
