"""Close-ups are made while somebody looks and at no other time; a row of numbers is kept each second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import Durations, RuntimeSnapshot
from pyrallel_consumer.observability.status.close_up import UnderWay
from pyrallel_consumer.observability.status.status_feed import CLOSE_UP_SECONDS, WATCHED_SECONDS, StatusFeed, totals
from tests.unit.control_plane.builders import OTHER, TP, keyed, manager_of, run_of
from tests.unit.control_plane.pictures import partition, picture

PUBLISH_SECONDS = 0.25
TICK_SECONDS = 0.05


class Consumer:
    """A feed and the loop that ticks it: a new snapshot every 250 ms, a tick every 50 ms."""

    def __init__(self, manager: WorkManager) -> None:
        self.now = 100.0
        self.snapshot = picture(taken_at=self.now)
        self.asked_engine = 0
        self.feed = StatusFeed(
            manager,
            picture=lambda: self.snapshot,
            under_way=self._under_way,
            log_ends=dict,
            clock=lambda: self.now,
        )

    def _under_way(self) -> UnderWay:
        self.asked_engine += 1
        return UnderWay({}, (), ())

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_SECONDS)):
            self.now += TICK_SECONDS
            if self.now >= self.snapshot.taken_at + PUBLISH_SECONDS - 1e-6:
                self.snapshot = replace(self.snapshot, taken_at=self.now)
            self.feed.tick(self.now)


def test_nobody_looks_and_nothing_is_looked_at() -> None:
    consumer = Consumer(manager_of(TP))
    consumer.run(60)
    assert (consumer.feed.close_ups_made, consumer.asked_engine) == (0, 0)
    assert 58 <= len(consumer.feed.moments) <= 59


def test_a_close_up_comes_soon_after_somebody_asked_and_agrees_with_its_snapshot() -> None:
    manager = manager_of(TP)
    manager.add(TP, 1, run_of(keyed(0, "ab")))
    consumer = Consumer(manager)
    consumer.run(10)
    assert consumer.feed.look() is None
    consumer.run(PUBLISH_SECONDS)
    look = consumer.feed.look()
    assert look is not None
    assert look.close_up.taken_at == look.snapshot.taken_at == consumer.snapshot.taken_at
    assert [each.tp for each in look.close_up.partitions] == [TP]
    assert {round(key.read_seconds) for key in look.close_up.keys} == {10}


def test_while_somebody_looks_there_is_one_a_second_and_some_seconds_later_none() -> None:
    consumer = Consumer(manager_of(TP))
    for _ in range(20):
        consumer.feed.look()
        consumer.run(1)
    assert 18 <= consumer.feed.close_ups_made <= 20 / CLOSE_UP_SECONDS
    consumer.run(WATCHED_SECONDS + 1)
    made = consumer.feed.close_ups_made
    consumer.run(60)
    assert consumer.feed.close_ups_made == made
    assert consumer.feed.look() is None


def test_the_partitions_that_are_blocked_for_longest_are_looked_at_where_not_all_can_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pyrallel_consumer.observability.status.close_up.MOST_PARTITIONS", 1)
    consumer = Consumer(manager_of(TP, OTHER))
    consumer.snapshot = picture(partition(tp=TP), partition(tp=OTHER, blocking_seconds=9.0), taken_at=100.0)
    consumer.feed.look()
    consumer.run(1)
    look = consumer.feed.look()
    assert look is not None
    assert [each.tp for each in look.close_up.partitions] == [OTHER]
    assert look.close_up.left_out == 1


def row(snapshot: RuntimeSnapshot, log_ends: dict[tuple[str, int], int] | None) -> tuple[int | None, int]:
    found = totals(snapshot, log_ends, 1.0)
    return found.lag, found.backlog


def test_lag_is_what_is_not_committed_and_backlog_what_is_not_finished() -> None:
    shown = picture(
        partition(tp=TP, committed_offset=10, fetched_offset=50),
        partition(tp=OTHER, committed_offset=0, fetched_offset=5),
        load_messages=7,
    )
    assert row(shown, {}) == (45, 7)
    assert row(shown, {TP: 80, OTHER: 4}) == (75, 37)


def test_while_no_broker_answers_the_lag_is_unknown_and_nothing_is_known_to_grow() -> None:
    consumer = Consumer(manager_of(TP))
    consumer.run(5)
    consumer.snapshot = replace(consumer.snapshot, is_broker_connected=False)
    consumer.run(3)
    assert [consumer.feed.moments[at].lag for at in (0, -1)] == [picture().partitions[0].fetched_offset - 10, None]
    assert row(picture(), None) == (None, picture().load_messages)
    assert totals(picture(), None, 1.0).backlogs == {}


def test_the_backlog_of_a_partition_is_known_when_the_end_of_its_log_is_and_belongs_to_its_epoch() -> None:
    shown = picture(
        partition(tp=TP, epoch=4, fetched_offset=50, queued=3, in_flight=2, held=1),
        partition(tp=OTHER, fetched_offset=5),
    )
    assert totals(shown, {TP: 80}, 1.0).backlogs == {(TP, 4): 36}


def test_latencies_of_all_partitions_are_one() -> None:
    one = Durations((1,) + (0,) * 17, 0.1)
    shown = picture(partition(tp=TP, latency=one), partition(tp=OTHER, latency=None), partition(latency=one))
    assert totals(shown, {}, 1.0).latency == [2] + [0] * 17
