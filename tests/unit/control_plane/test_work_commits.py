"""Which commits are allowed and worth sending: offset and map of one moment, of this assignment only."""

from __future__ import annotations

import pytest

from pyrallel_consumer.control_plane.events import (
    Assigned,
    OffsetWentBack,
    PositionAdvanced,
)
from pyrallel_consumer.control_plane.offsets.commit_encoder import decode, encode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import (
    RebalanceStateStrategy,
)
from tests.unit.control_plane.builders import (
    OTHER,
    TP,
    assigned,
    keyed,
    manager_of,
    offsets_of,
    only,
    picture_of,
    run_of,
)


def beginning(fact: Assigned) -> WorkManager:
    manager = WorkManager(WorkPolicy())
    manager.assign(fact)
    return manager


def test_a_snapshot_has_the_offset_and_what_finished_above_it_from_one_moment() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "abcd"), leader_epoch=7))
    items = manager.take(10)
    manager.succeed([items[0], items[2]])
    snapshot = only(manager.snapshots())

    assert (snapshot.tp, snapshot.epoch, snapshot.offset, snapshot.leader_epoch) == (TP, 1, 1, 7)
    assert decode(snapshot.metadata, TP, 1) == OffsetMap(1, 3, (1,), leader_epoch=7)


def test_the_leader_epoch_of_a_commit_is_that_of_the_message_it_stands_at() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "ab"), leader_epoch=7))
    manager.add(TP, 1, run_of(keyed(2, "c"), leader_epoch=8))
    a, b, c = manager.take(10)
    manager.succeed([a])
    assert only(manager.snapshots()).leader_epoch == 7

    manager.succeed([b, c])
    assert only(manager.snapshots()).leader_epoch == 8


def test_commits_carry_no_map_where_the_offset_alone_is_wanted_and_a_map_alone_is_no_reason_to_commit() -> None:
    manager = manager_of(policy=WorkPolicy(state_strategy=RebalanceStateStrategy.CONTIGUOUS_ONLY))
    manager.add(TP, 1, run_of(keyed(0, "abc")))
    a, b, c = manager.take(10)
    manager.succeed([c])
    assert manager.snapshots() == ()
    manager.succeed([a])

    snapshot = only(manager.snapshots())
    assert (snapshot.offset, snapshot.metadata) == (1, "")
    manager.confirm(snapshot)
    manager.succeed([b])
    assert only(manager.snapshots()).offset == 3


def test_an_idle_partition_commits_nothing_and_one_that_delivered_nothing_neither() -> None:
    manager = manager_of(TP, OTHER)
    manager.add(TP, 1, run_of(keyed(0, "a")))
    manager.succeed(manager.take(1))
    manager.confirm(only(manager.snapshots()))

    assert manager.snapshots() == ()
    assert manager.end([(TP, 1), (OTHER, 2)], is_lost=False) == ()


def test_a_start_that_the_broker_did_not_take_is_committed_before_anything_was_delivered() -> None:
    manager = WorkManager(WorkPolicy())
    manager.assign(Assigned(TP, 1, 50, OffsetMap(50, 50), is_committed=False))

    assert only(manager.snapshots()).offset == 50


def test_the_position_past_trailing_markers_is_committed_once_nothing_is_unfinished() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "a")))
    manager.advance(PositionAdvanced(TP, 1, 4))
    manager.succeed(manager.take(1))

    assert only(manager.snapshots()).offset == 4


def test_what_an_earlier_owner_finished_is_skipped_and_carried_on_in_every_commit() -> None:
    manager = WorkManager(WorkPolicy())
    manager.assign(assigned(TP, 1, 10, OffsetMap(10, 20, (10, 12))))
    manager.add(TP, 1, run_of(keyed(10, "abcd")))
    items = manager.take(10)
    assert offsets_of(items) == [10, 12]
    manager.succeed(items[:1])

    snapshot = only(manager.snapshots())
    assert decode(snapshot.metadata, TP, snapshot.offset) == OffsetMap(12, 20, (12,))
    assert picture_of(manager).skipped == 2


def test_lost_partitions_commit_nothing() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "a")))
    manager.succeed(manager.take(1))

    assert manager.end([(TP, 1)], is_lost=True) == ()
    assert manager.snapshots() == ()


def test_a_snapshot_of_an_ended_assignment_confirms_nothing_of_the_next_one_and_shrinks_nothing() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "abc")))
    manager.succeed(manager.take(10)[1:2])
    old = only(manager.end([(TP, 1)], is_lost=False))
    manager.confirm(old)
    manager.shrink_metadata(old)
    manager.assign(assigned(TP, epoch=2))
    manager.add(TP, 2, run_of(keyed(0, "adc")))
    manager.confirm(old)
    manager.shrink_metadata(old)
    manager.succeed(manager.take(10)[:1])

    assert picture_of(manager).committed_offset == 0
    assert only(manager.snapshots()).metadata == encode(OffsetMap(0, 2, (0,)), TP)


def test_a_commit_right_after_going_back_carries_the_leader_epoch_of_the_record_that_came_again() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "ab"), leader_epoch=7))
    manager.succeed(manager.take(2))
    manager.go_back(OffsetWentBack(TP, 1, 2, 1, 8))

    assert only(manager.snapshots()).leader_epoch == 8
    manager.add(TP, 2, run_of(keyed(1, "b"), leader_epoch=8))
    manager.succeed(manager.take(1))
    assert only(manager.snapshots()).leader_epoch == 8


def test_a_map_carries_the_leader_epoch_of_the_last_record_that_it_tells_of() -> None:
    manager = manager_of()
    manager.add(TP, 1, run_of(keyed(0, "ab"), leader_epoch=7))
    manager.add(TP, 1, run_of(keyed(2, "c"), leader_epoch=8))
    manager.succeed(manager.take(3)[1:])

    snapshot = only(manager.snapshots())

    assert decode(snapshot.metadata, TP, 0) == OffsetMap(0, 3, (0,), leader_epoch=8)
    assert snapshot.leader_epoch == 7


def test_a_commit_before_any_message_carries_the_leader_epoch_of_the_start() -> None:
    manager = beginning(Assigned(TP, 1, 0, OffsetMap(0, 0), leader_epoch=4))
    manager.advance(PositionAdvanced(TP, 1, 3))

    assert only(manager.snapshots()).leader_epoch == 4


@pytest.mark.parametrize(
    ("of_start", "of_position", "committed"), [(None, 4, 4), (4, 5, 5), (5, 4, 5), (4, None, 4), (None, None, None)]
)
def test_a_commit_past_holes_alone_carries_the_leader_epoch_of_the_position(
    of_start: int | None, of_position: int | None, committed: int | None
) -> None:
    """Without it no later owner would notice that the log was cut below the commit (simulator, seed 82212)."""
    manager = beginning(Assigned(TP, 1, 0, OffsetMap(0, 0), leader_epoch=of_start))
    manager.advance(PositionAdvanced(TP, 1, 3, of_position))

    assert only(manager.snapshots()).leader_epoch == committed


def test_a_map_of_a_log_that_was_cut_and_has_grown_again_is_believed_below_the_cut_only() -> None:
    """The group committed 100 with a map to 150; an unclean leader cut the log to 120, and it grew to 200."""
    manager = beginning(Assigned(TP, 1, 100, OffsetMap(100, 150, (100,), leader_epoch=5)))
    manager.add(TP, 1, run_of({offset: b"%d" % offset for offset in range(100, 120)}, leader_epoch=5))
    manager.add(TP, 1, run_of({offset: b"%d" % offset for offset in range(120, 200)}, leader_epoch=6))

    assert [item.offset for item in manager.take(1000)] == [100, *range(120, 200)]
    assert picture_of(manager).skipped == 19


def test_after_a_clean_change_of_the_leader_the_map_is_kept() -> None:
    """The new leader's epoch is that of new records; the old ones keep theirs."""
    manager = beginning(Assigned(TP, 1, 100, OffsetMap(100, 150, (100,), leader_epoch=5)))
    manager.add(TP, 1, run_of({offset: b"%d" % offset for offset in range(100, 130)}, leader_epoch=4))
    manager.add(TP, 1, run_of({offset: b"%d" % offset for offset in range(130, 150)}, leader_epoch=5))
    manager.add(TP, 1, run_of({offset: b"%d" % offset for offset in range(150, 153)}, leader_epoch=9))

    assert [item.offset for item in manager.take(1000)] == [100, 150, 151, 152]


@pytest.mark.parametrize(("of_map", "of_record"), [(None, 6), (5, None), (5, -1), (None, None)])
def test_an_unknown_leader_epoch_drops_no_map(of_map: int | None, of_record: int | None) -> None:
    manager = beginning(Assigned(TP, 1, 100, OffsetMap(100, 150, (100,), leader_epoch=of_map)))
    manager.add(TP, 1, run_of({offset: b"%d" % offset for offset in range(100, 150)}, leader_epoch=of_record))

    assert [item.offset for item in manager.take(1000)] == [100]


def test_a_map_that_is_not_read_to_its_top_is_carried_on_with_its_own_leader_epoch() -> None:
    manager = beginning(Assigned(TP, 1, 100, OffsetMap(100, 150, (100, 110), leader_epoch=5)))
    manager.add(TP, 1, run_of({100: b"a"}, leader_epoch=3))
    manager.succeed(manager.take(1))

    snapshot = only(manager.snapshots())

    assert decode(snapshot.metadata, TP, 101) == OffsetMap(101, 150, (110,), leader_epoch=5)


def test_a_map_that_was_dropped_is_replaced_at_the_broker() -> None:
    manager = beginning(Assigned(TP, 1, 100, OffsetMap(100, 150, (100,), leader_epoch=5)))
    manager.add(TP, 1, run_of({100: b"a"}, leader_epoch=6))

    assert (only(manager.snapshots()).offset, only(manager.snapshots()).metadata) == (100, "")
