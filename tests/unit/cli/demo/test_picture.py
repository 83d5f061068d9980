"""What the demo shows at one moment: rates of the last second, and each partition with its owner of the moment."""

from __future__ import annotations

import pytest

from pyrallel_consumer.cli.demo.picture import PartitionRow, RateMeter, partition_rows
from pyrallel_consumer.dto import PartitionSnapshot, RuntimeSnapshot, TopicPartition


def snapshot_of(*partitions: int, at: float = 0.0, committed: int = 10) -> RuntimeSnapshot:
    """A consumer that holds these partitions, with these commits, and 20 more fetched offsets."""
    return RuntimeSnapshot(
        taken_at=at,
        state="running",
        in_flight=5,
        queued=7,
        waiting_retries=0,
        held=0,
        load_messages=12,
        load_bytes=1200,
        max_in_flight=1000,
        queue_max_messages=5000,
        queue_max_bytes=1 << 20,
        is_paused=False,
        is_rebalancing=False,
        processed=0,
        failed=0,
        retries=0,
        fenced_completions=0,
        commits=0,
        commit_failures=0,
        partitions=tuple(
            PartitionSnapshot(
                tp=TopicPartition("orders", partition),
                epoch=1,
                committed_offset=committed,
                committable_offset=committed,
                fetched_offset=committed + 20,
                gap_count=3,
                blocking_offset=committed,
                blocking_seconds=0.0,
                queued=7,
                in_flight=5,
                held=0,
                load_bytes=1200,
                paused_for=(),
                finished=0,
                failed=0,
                skipped=0,
            )
            for partition in partitions
        ),
    )


def test_the_rate_is_that_of_the_last_second() -> None:
    meter = RateMeter()
    rates = [meter.look(second / 10, count) for second, count in enumerate(range(0, 3000, 100))]

    assert rates[0] == 0.0
    assert rates[1:] == pytest.approx([1000.0] * 29)
    assert meter.look(13.0, 2900) == pytest.approx(0.0, abs=1.0)


def test_the_rate_forgets_what_was_longer_ago() -> None:
    meter = RateMeter()
    rates = [meter.look(at, count) for at, count in [(0.0, 0), (1.0, 5000), (2.0, 5100), (3.0, 5200)]]

    assert rates == pytest.approx([0.0, 5000.0, 100.0, 100.0])


def test_the_history_takes_a_rate_every_quarter_of_a_second() -> None:
    meter = RateMeter()
    for step in range(11):
        meter.look(step / 10, step)

    assert len(meter.history) == 4


def test_each_partition_shows_its_owner_and_its_lag() -> None:
    rows = partition_rows({0: 100, 1: 50}, {"first": snapshot_of(0), "second": snapshot_of(1)}, before=())

    assert rows == (
        PartitionRow(0, "first", 100, 10, 30, in_flight=5, gaps=3),
        PartitionRow(1, "second", 50, 10, 30, in_flight=5, gaps=3),
    )
    assert [row.lag for row in rows] == [90, 40]


def test_a_partition_that_two_consumers_claim_belongs_to_the_later_picture() -> None:
    snapshots = {"first": snapshot_of(0, at=1.0), "second": snapshot_of(0, at=2.0)}

    (row,) = partition_rows({0: 100}, snapshots, before=())
    assert row.consumer == "second"


def test_a_partition_that_nobody_holds_stays_as_far_as_it_was() -> None:
    before = partition_rows({0: 100}, {"first": snapshot_of(0, committed=40)}, before=())

    (row,) = partition_rows({0: 120}, {"first": snapshot_of()}, before)
    assert row == PartitionRow(0, None, 120, 40, 40)


def test_a_partition_of_which_nothing_is_known_lags_by_its_whole_log() -> None:
    (row,) = partition_rows({0: 100}, {}, before=())

    assert (row.consumer, row.lag) == (None, 100)


def test_a_commit_beyond_the_end_that_was_last_looked_up_is_no_negative_lag() -> None:
    assert PartitionRow(0, "first", 10, 12, 12).lag == 0
