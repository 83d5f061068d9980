"""Delivered and unfinished offsets of one partition: examples, and any history compared with sets of offsets."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.offsets.offset_tracker import OffsetTracker
from pyrallel_consumer.testing import work_item


def tracker_at(start: int, *, restored: OffsetMap | None = None) -> OffsetTracker:
    return OffsetTracker(start, OffsetMap(start, start) if restored is None else restored)


def deliver(tracker: OffsetTracker, *offsets: int) -> list[int]:
    """Register offsets as a partition does with a read; returns the offsets that an earlier owner had finished."""
    done = []
    for offset in offsets:
        if tracker.is_done_before(offset):
            done.append(offset)
        else:
            tracker.unfinished[offset] = work_item(offset=offset)
        tracker.next_offset = offset + 1
    return done


def finish(tracker: OffsetTracker, *offsets: int) -> None:
    for offset in offsets:
        del tracker.unfinished[offset]
        tracker.version += 1


def test_a_new_partition_may_commit_where_it_starts_and_nothing_blocks() -> None:
    tracker = tracker_at(100)

    assert tracker.committable_offset == 100
    assert tracker.blocking_offset is None
    assert tracker.finished_map() == OffsetMap(100, 100)
    assert tracker.gap_count() == 0


def test_the_lowest_unfinished_offset_holds_the_commit_whatever_finished_above_it() -> None:
    tracker = tracker_at(0)
    deliver(tracker, 0, 1, 2, 3)
    finish(tracker, 1, 3)

    assert tracker.committable_offset == 0
    assert tracker.blocking_offset == 0
    assert tracker.finished_map() == OffsetMap(0, 4, (0, 2))
    assert tracker.gap_count() == 2

    finish(tracker, 0)
    assert tracker.committable_offset == 2


def test_when_all_is_finished_the_commit_is_the_position_after_it() -> None:
    tracker = tracker_at(0)
    deliver(tracker, 0, 1, 7)
    finish(tracker, 0, 7, 1)

    assert tracker.committable_offset == 8
    assert tracker.blocking_offset is None


def test_offsets_that_are_never_delivered_hold_nothing_back() -> None:
    tracker = tracker_at(0)
    deliver(tracker, 5, 9)
    finish(tracker, 5)

    assert tracker.committable_offset == 9


def test_the_position_passes_trailing_markers_once_nothing_is_unfinished() -> None:
    tracker = tracker_at(0)
    deliver(tracker, 0)
    tracker.advance(3)

    assert tracker.committable_offset == 0
    finish(tracker, 0)
    assert tracker.committable_offset == 3
    tracker.advance(2)
    assert tracker.committable_offset == 3


def test_what_an_earlier_owner_finished_is_not_run_again() -> None:
    tracker = tracker_at(10, restored=OffsetMap(10, 15, (10, 12)))

    assert deliver(tracker, 10, 11, 12, 13, 14, 15) == [11, 13, 14]
    assert list(tracker.unfinished) == [10, 12, 15]


def test_a_restored_map_survives_offsets_that_compaction_removed_since() -> None:
    tracker = tracker_at(10, restored=OffsetMap(10, 15, (10, 12)))

    assert deliver(tracker, 13) == [13]
    assert deliver(tracker, 16) == []
    assert list(tracker.unfinished) == [16]


def test_every_map_carries_the_rest_of_the_restored_one_until_delivery_has_passed_it() -> None:
    tracker = tracker_at(10, restored=OffsetMap(10, 20, (10, 12, 17)))
    assert tracker.finished_map() == OffsetMap(10, 20, (10, 12, 17))

    deliver(tracker, 10, 11, 12)
    finish(tracker, 10)
    assert tracker.finished_map() == OffsetMap(12, 20, (12, 17))

    deliver(tracker, 13, 14, 15, 16, 17, 18, 19)
    assert tracker.finished_map() == OffsetMap(12, 20, (12, 17))
    deliver(tracker, 20)
    assert tracker.finished_map() == OffsetMap(12, 21, (12, 17, 20))
    assert not tracker.is_restoring


def test_an_empty_restored_map_restores_nothing() -> None:
    assert not tracker_at(10).is_restoring
    assert tracker_at(10, restored=OffsetMap(10, 11)).is_restoring


def test_going_back_forgets_all_from_there_on_and_the_restored_map() -> None:
    tracker = tracker_at(10, restored=OffsetMap(10, 20, (10, 12)))
    deliver(tracker, 10, 11, 12)
    version = tracker.version

    forgotten = tracker.go_back(12)

    assert [item.offset for item in forgotten] == [12]
    assert tracker.committable_offset == 10
    assert tracker.next_offset == 12
    assert not tracker.is_restoring
    assert tracker.version > version
    assert deliver(tracker, 12, 13) == []


def test_gaps_are_runs_of_finished_offsets_and_the_last_one_counts() -> None:
    tracker = tracker_at(0)
    deliver(tracker, *range(8))
    finish(tracker, 2, 3, 5)
    assert tracker.gap_count() == 2
    finish(tracker, 7)
    assert tracker.gap_count() == 3


class TrackerModel(RuleBasedStateMachine):
    """The tracker beside three plain sets: delivered offsets, finished offsets, and offsets that earlier owners
    finished.
    """

    @initialize(start=st.integers(0, 50), length=st.integers(0, 12), data=st.data())
    def begin(self, start: int, length: int, data: st.DataObject) -> None:
        top = start + length
        unfinished = data.draw(st.lists(st.integers(start, top - 1), unique=True)) if length else []
        self.tracker = tracker_at(start, restored=OffsetMap(start, top, tuple(sorted(unfinished))))
        self.next_offset = start
        self.unfinished: set[int] = set()
        self.finished_before = set(range(start, top)) - set(unfinished)
        self.restored_top = top
        self.committable = start

    @rule(steps=st.lists(st.integers(1, 4), min_size=1, max_size=6))
    def deliver_a_run_with_holes(self, steps: list[int]) -> None:
        for step in steps:
            offset = self.next_offset + step - 1
            done = deliver(self.tracker, offset)
            assert done == ([offset] if offset in self.finished_before else [])
            if not done:
                self.unfinished.add(offset)
            self.next_offset = offset + 1

    @precondition(lambda self: self.unfinished)
    @rule(data=st.data())
    def finish_any(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.unfinished)))
        finish(self.tracker, offset)
        self.unfinished.remove(offset)

    @rule(by=st.integers(-3, 5))
    def advance(self, by: int) -> None:
        self.tracker.advance(self.next_offset + by)
        self.next_offset = max(self.next_offset, self.next_offset + by)

    @rule(by=st.integers(1, 8))
    def go_back(self, by: int) -> None:
        offset = max(0, self.next_offset - by)
        forgotten = self.tracker.go_back(offset)
        assert [item.offset for item in forgotten] == sorted(known for known in self.unfinished if known >= offset)
        self.unfinished = {known for known in self.unfinished if known < offset}
        self.next_offset = offset
        self.finished_before = set()
        self.restored_top = 0
        self.committable = 0

    @invariant()
    def the_committable_offset_passes_nothing_unfinished_and_never_goes_back(self) -> None:
        expected = min(self.unfinished, default=self.next_offset)
        assert self.tracker.committable_offset == expected
        assert self.tracker.blocking_offset == min(self.unfinished, default=None)
        assert expected >= self.committable
        self.committable = expected

    @invariant()
    def the_map_says_of_every_offset_what_is_true(self) -> None:
        known = self.tracker.finished_map()
        assert known.base == self.tracker.committable_offset
        assert known.top == max(self.next_offset, self.restored_top)
        assert list(known.unfinished) == sorted(set(known.unfinished))
        for offset in range(known.base, known.top):
            is_unfinished = offset in self.unfinished or (
                offset >= self.next_offset and offset not in self.finished_before
            )
            assert (offset in known.unfinished) == is_unfinished

    @invariant()
    def gaps_are_counted_as_one_would_by_hand(self) -> None:
        low = min(self.unfinished, default=self.next_offset)
        states = [offset in self.unfinished for offset in range(low, self.next_offset)]
        assert self.tracker.gap_count() == sum(
            1 for at, is_unfinished in enumerate(states) if not is_unfinished and states[at - 1]
        )


TestTrackerModel = TrackerModel.TestCase
TestTrackerModel.settings = settings(max_examples=150, stateful_step_count=40)


@pytest.mark.parametrize("offset", [9, 10])
def test_asking_below_or_at_the_first_unfinished_offset_of_the_map_loses_nothing(offset: int) -> None:
    tracker = tracker_at(9, restored=OffsetMap(9, 12, (10, 11)))

    assert deliver(tracker, offset) == ([9] if offset == 9 else [])
    assert tracker.finished_map().unfinished == (10, 11)


def test_a_map_of_more_gaps_than_a_commit_has_room_for_tells_of_the_lowest_and_claims_nothing_beyond() -> None:
    tracker = tracker_at(0)
    deliver(tracker, *range(10))
    finish(tracker, 1, 4, 8)

    assert tracker.finished_map(most_gaps=7) == OffsetMap(0, 10, (0, 2, 3, 5, 6, 7, 9))
    assert tracker.finished_map(most_gaps=3) == OffsetMap(0, 5, (0, 2, 3))
    assert tracker.finished_map(most_gaps=1) == OffsetMap(0, 2, (0,))
