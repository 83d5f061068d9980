"""Typical bugs in offsets and commits. Some replace private methods, because the bugs would be there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pyrallel_consumer.control_plane.events import CommitAnswered
from pyrallel_consumer.control_plane.offsets.commit_sequence import CommitSequence
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.offsets.offset_tracker import OffsetTracker
from pyrallel_consumer.control_plane.partitions.commit_state import CommitState
from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.start_offset import Committed, LogRange, Reset, Start, resolve
from tests.simulation import poll_side
from tests.simulation.planting import around, planted

# Offsets


@planted
def the_commit_is_one_too_far(patch: pytest.MonkeyPatch) -> None:
    def committable(tracker: OffsetTracker) -> int:
        return next((offset + 1 for offset in tracker.unfinished), tracker.next_offset)

    patch.setattr(OffsetTracker, "committable_offset", property(committable))


@planted
def the_restored_map_is_off_by_one(patch: pytest.MonkeyPatch) -> None:
    around(
        patch,
        OffsetTracker,
        "is_done_before",
        lambda original, tracker, offset, epoch: original(tracker, offset + 1, epoch),
    )


@planted
def the_rest_of_the_restored_map_is_dropped(patch: pytest.MonkeyPatch) -> None:
    def finished_map(_: object, tracker: OffsetTracker, leader_epoch: int | None) -> OffsetMap:
        return OffsetMap(tracker.committable_offset, tracker.next_offset, tuple(tracker.unfinished), leader_epoch)

    around(patch, OffsetTracker, "finished_map", finished_map)


@planted
def holes_stall_the_commit(patch: pytest.MonkeyPatch) -> None:
    def add(original: Callable[..., None], work: PartitionWork, messages: list[Any]) -> None:
        before = work.tracker.next_offset
        original(work, messages)
        work.tracker.next_offset = min(work.tracker.next_offset, before + len(messages))

    around(patch, PartitionWork, "add", add)


@planted
def trailing_markers_stall_the_commit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OffsetTracker, "advance", lambda tracker, position: None)


@planted
def the_position_counts_as_finished(patch: pytest.MonkeyPatch) -> None:
    def advance(original: Callable[..., None], tracker: OffsetTracker, position: int) -> None:
        original(tracker, position)
        patch.setattr(OffsetTracker, "committable_offset", property(lambda tracker: tracker.next_offset))

    around(patch, OffsetTracker, "advance", advance)


@planted
def going_back_keeps_the_old_map(patch: pytest.MonkeyPatch) -> None:
    def go_back(original: Callable[..., Any], tracker: Any, offset: int) -> Any:
        restored = tracker._restored  # noqa: SLF001 -- the bug to plant
        forgotten = original(tracker, offset)
        tracker._restored = restored  # noqa: SLF001 -- the bug to plant
        return forgotten

    around(patch, OffsetTracker, "go_back", go_back)


@planted
def going_back_is_not_noticed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WorkManager, "go_back", lambda manager, fact: None)


# Logs that are cut, and leaders that change


@planted
def a_restored_map_outlives_a_cut_of_the_log(patch: pytest.MonkeyPatch) -> None:
    around(patch, OffsetTracker, "is_done_before", lambda original, tracker, offset, epoch: original(tracker, offset))


@planted
def a_restored_map_is_dropped_though_its_log_was_not_cut(patch: pytest.MonkeyPatch) -> None:
    def is_done_before(original: Callable[..., bool], tracker: OffsetTracker, offset: int, epoch: int | None) -> bool:
        return original(tracker, offset, None if epoch is None else epoch + 1)

    around(patch, OffsetTracker, "is_done_before", is_done_before)


@planted
def a_map_is_committed_without_the_leader_epoch_of_its_top(patch: pytest.MonkeyPatch) -> None:
    around(patch, OffsetTracker, "finished_map", lambda original, tracker, leader_epoch: original(tracker))


@planted
def a_map_that_is_carried_on_loses_its_leader_epoch(patch: pytest.MonkeyPatch) -> None:
    def finished_map(original: Callable[..., OffsetMap], tracker: OffsetTracker, leader_epoch: int | None) -> OffsetMap:
        known = original(tracker, leader_epoch)
        return replace(known, leader_epoch=None) if known.top > tracker.next_offset else known

    around(patch, OffsetTracker, "finished_map", finished_map)


@planted
def a_map_that_is_carried_on_takes_the_leader_epoch_of_today(patch: pytest.MonkeyPatch) -> None:
    def finished_map(original: Callable[..., OffsetMap], tracker: OffsetTracker, leader_epoch: int | None) -> OffsetMap:
        known = original(tracker, leader_epoch)
        return replace(known, leader_epoch=1_000) if known.top > tracker.next_offset else known

    around(patch, OffsetTracker, "finished_map", finished_map)


@planted
def commits_carry_no_leader_epoch(patch: pytest.MonkeyPatch) -> None:
    def snapshot(original: Callable[..., Any], commits: CommitState, work: PartitionWork, **kwargs: Any) -> Any:
        made = original(commits, work, **kwargs)
        return None if made is None else replace(made, leader_epoch=None)

    around(patch, CommitState, "snapshot", snapshot)


@planted
def going_back_keeps_the_old_leader_epoch(patch: pytest.MonkeyPatch) -> None:
    def go_back(original: Callable[..., None], work: PartitionWork, epoch: int, offset: int, _: int | None) -> None:
        original(work, epoch, offset, work.leader_epoch)

    around(patch, PartitionWork, "go_back", go_back)


@planted
def an_offset_that_the_log_lost_is_believed(patch: pytest.MonkeyPatch) -> None:
    def believing(tp: TopicPartition, committed: Committed | None, log: LogRange, reset: Reset) -> Start:
        if committed is None:
            return resolve(tp, committed, log, reset)
        return Start(tp, committed.offset, OffsetMap(committed.offset, committed.offset))

    patch.setattr(poll_side, "resolve", believing)


# Commits


@planted
def committed_counts_before_the_answer(patch: pytest.MonkeyPatch) -> None:
    def following(original: Callable[..., Any], commits: Any, now: float, **kwargs: Any) -> Any:
        commit = original(commits, now, **kwargs)
        for snapshot in commit.snapshots if commit is not None else ():
            commits._manager.confirm(snapshot)  # noqa: SLF001 -- the bug to plant
        return commit

    around(patch, CommitSequence, "next", following)


@planted
def a_refused_commit_counts(patch: pytest.MonkeyPatch) -> None:
    def answer(original: Callable[..., Any], commits: CommitSequence, answered: CommitAnswered) -> Any:
        return original(commits, CommitAnswered(answered.number, dict.fromkeys(answered.errors)))

    around(patch, CommitSequence, "answer", answer)


@planted
def two_commits_are_under_way(patch: pytest.MonkeyPatch) -> None:
    def following(original: Callable[..., Any], commits: Any, now: float, **kwargs: Any) -> Any:
        commits._under_way = None  # noqa: SLF001 -- the bug to plant
        return original(commits, now, **kwargs)

    around(patch, CommitSequence, "next", following)


@planted
def a_late_answer_is_taken_for_the_next_commit(patch: pytest.MonkeyPatch) -> None:
    def answer(original: Callable[..., Any], commits: CommitSequence, answered: CommitAnswered) -> Any:
        return original(commits, CommitAnswered(commits.sent, answered.errors))

    around(patch, CommitSequence, "answer", answer)


@planted
def a_refused_map_never_shrinks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CommitState, "shrink_metadata", lambda commits, refused_bytes: None)


@planted
def what_is_confirmed_is_committed_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CommitState, "is_worth_committing", lambda commits, work, with_map: True)


@planted
def commits_forget_the_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Assignments, "is_current", lambda assignments, tp, epoch: assignments.epoch_of(tp) is not None)


@planted
def a_resolved_start_that_was_refused_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    def assign(original: Callable[..., Any], assignments: Assignments, starts: Any, uncommitted: Any = ()) -> Any:
        return original(assignments, starts)

    around(patch, Assignments, "assign", assign)
