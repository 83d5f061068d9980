"""Commits one after the other: one under way, counted when the broker confirms it, late answers ignored."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyrallel_consumer.control_plane.events import Commit, CommitAnswered
from pyrallel_consumer.control_plane.offsets.commit_encoder import decode
from pyrallel_consumer.control_plane.offsets.commit_sequence import METADATA_TOO_LARGE, SECONDS_EACH, CommitSequence
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import RebalanceStateStrategy, TopicPartition
from tests.unit.control_plane.builders import OTHER, THIRD, TP, assigned, keyed, manager_of, run_of


def work_through(manager: WorkManager, offset: int, tp: TopicPartition = TP, epoch: int = 1) -> None:
    """Deliver one message and finish it."""
    manager.add(tp, epoch, run_of(keyed(offset, "k"), tp))
    manager.succeed(manager.take(1))


def committed_offsets(commit: Commit | None) -> dict[TopicPartition, int]:
    assert commit is not None
    return {snapshot.tp: snapshot.offset for snapshot in commit.snapshots}


def committed_offset(manager: WorkManager, tp: TopicPartition = TP) -> int:
    return next(work.commits.committed_offset for work in manager if work.tp == tp)


def test_nothing_is_committed_where_nothing_moved() -> None:
    commits = CommitSequence(manager_of(), interval_seconds=1.0)

    assert commits.next(0.0) is None
    assert commits.next(0.0, is_final=True) is None
    assert not commits.is_under_way


def test_one_commit_is_under_way_at_a_time_and_they_are_numbered() -> None:
    manager = manager_of()
    commits = CommitSequence(manager, interval_seconds=1.0)
    work_through(manager, 0)
    first = commits.next(0.0)
    assert committed_offsets(first) == {TP: 1}
    assert commits.is_under_way

    work_through(manager, 1)
    assert commits.next(5.0) is None
    assert commits.next(5.0, is_final=True) is None
    commits.answer(CommitAnswered(1, {TP: None}))

    second = commits.next(5.0)
    assert second is not None
    assert (second.number, commits.sent) == (2, 2)
    assert committed_offsets(second) == {TP: 2}


def test_the_interval_is_waited_for_unless_the_commit_is_final() -> None:
    manager = manager_of()
    commits = CommitSequence(manager, interval_seconds=1.0)
    work_through(manager, 0)
    assert commits.next(10.0) is not None
    commits.answer(CommitAnswered(1, {TP: None}))
    work_through(manager, 1)

    assert commits.next(10.9) is None
    assert commits.next(10.9, is_final=True) is not None


def test_after_a_commit_of_very_many_partitions_the_next_one_waits_longer_than_the_interval() -> None:
    tps = [TopicPartition("many", number) for number in range(600)]
    manager = manager_of(*tps)
    commits = CommitSequence(manager, interval_seconds=0.2)
    for epoch, tp in enumerate(tps, start=1):
        work_through(manager, 0, tp, epoch)
    assert len(committed_offsets(commits.next(10.0))) == 600
    commits.answer(CommitAnswered(1, dict.fromkeys(tps)))
    work_through(manager, 1, tps[0])

    assert commits.next(10.0 + 600 * SECONDS_EACH - 0.01) is None
    assert committed_offsets(commits.next(10.0 + 600 * SECONDS_EACH)) == {tps[0]: 2}
    commits.answer(CommitAnswered(2, {tps[0]: None}))
    work_through(manager, 2, tps[0])

    assert commits.next(10.51) is not None  # a commit of one partition is followed by the interval alone


def test_a_commit_counts_only_when_the_broker_has_confirmed_it() -> None:
    manager = manager_of()
    commits = CommitSequence(manager, interval_seconds=0.0)
    work_through(manager, 0)
    commits.next(0.0)
    assert committed_offset(manager) == 0

    assert commits.answer(CommitAnswered(1, {TP: None})) == {}
    assert committed_offset(manager) == 1
    assert not manager.has_uncommitted


def test_a_failed_commit_is_reported_counted_and_tried_again_with_a_newer_snapshot() -> None:
    manager = manager_of(TP, OTHER)
    commits = CommitSequence(manager, interval_seconds=0.0)
    work_through(manager, 0)
    work_through(manager, 0, OTHER, epoch=2)
    commits.next(0.0)
    work_through(manager, 1)

    assert commits.answer(CommitAnswered(1, {TP: "ILLEGAL_GENERATION", OTHER: None})) == {TP: "ILLEGAL_GENERATION"}
    assert commits.failures == {"ILLEGAL_GENERATION": 1}
    assert committed_offsets(commits.next(1.0)) == {TP: 2}
    commits.answer(CommitAnswered(2, {TP: "ILLEGAL_GENERATION"}))
    assert commits.failures == {"ILLEGAL_GENERATION": 2}


def test_partitions_that_the_answer_leaves_out_are_neither_committed_nor_failed() -> None:
    manager = manager_of()
    commits = CommitSequence(manager, interval_seconds=0.0)
    work_through(manager, 0)
    commits.next(0.0)

    assert commits.answer(CommitAnswered(1, {})) == {}
    assert committed_offset(manager) == 0
    assert manager.has_uncommitted
    assert not commits.is_under_way


def test_a_commit_without_an_answer_is_given_up_and_its_late_answer_ignored() -> None:
    manager = manager_of()
    commits = CommitSequence(manager, interval_seconds=1.0, give_up_seconds=30.0)
    work_through(manager, 0)
    commits.next(0.0)
    work_through(manager, 1)
    assert commits.next(29.9) is None
    second = commits.next(30.0)
    assert committed_offsets(second) == {TP: 2}

    assert commits.answer(CommitAnswered(1, {TP: "_TIMED_OUT"})) == {}
    assert commits.is_under_way
    assert commits.failures == {}
    commits.answer(CommitAnswered(2, {TP: None}))
    assert commits.answer(CommitAnswered(2, {TP: None})) == {}
    assert committed_offset(manager) == 2


def test_a_commit_that_is_given_up_with_nothing_left_to_commit_is_no_longer_under_way() -> None:
    manager = manager_of()
    commits = CommitSequence(manager, interval_seconds=1.0, give_up_seconds=30.0)
    work_through(manager, 0)
    commits.next(0.0)
    manager.end([(TP, 1)], is_lost=True)

    assert commits.next(31.0) is None
    assert not commits.is_under_way


def test_an_answer_about_an_assignment_that_has_ended_changes_nothing_of_the_next_one() -> None:
    manager = manager_of()
    commits = CommitSequence(manager, interval_seconds=0.0)
    work_through(manager, 0)
    commits.next(0.0)
    manager.end([(TP, 1)], is_lost=True)
    manager.assign(assigned(TP, epoch=2))

    commits.answer(CommitAnswered(1, {TP: METADATA_TOO_LARGE}))
    work_through(manager, 0, epoch=2)
    commits.next(1.0)
    manager.end([(TP, 2)], is_lost=True)
    manager.assign(assigned(TP, epoch=3))
    commits.answer(CommitAnswered(2, {TP: None}))

    assert committed_offset(manager) == 0


def test_a_map_whose_size_the_broker_refuses_is_halved_until_none_is_left() -> None:
    manager = manager_of()
    commits = CommitSequence(manager, interval_seconds=0.0)
    manager.add(TP, 1, run_of({offset: b"%d" % offset for offset in range(0, 60_000, 7)}))
    items = manager.take(60_000)
    manager.succeed([item for item in items if item.offset % 3 or item.offset % 5])
    sizes = []
    for number in range(1, 20):
        commit = commits.next(float(number))
        assert commit is not None
        (snapshot,) = commit.snapshots
        sizes.append(len(snapshot.metadata))
        if snapshot.metadata:
            decode(snapshot.metadata, TP, snapshot.offset)
        if not snapshot.metadata:
            break
        assert commits.answer(CommitAnswered(number, {TP: METADATA_TOO_LARGE})) == {TP: METADATA_TOO_LARGE}

    assert sizes[0] > 0
    assert sizes[-1] == 0
    assert all(smaller <= larger // 2 for larger, smaller in pairwise(sizes))


class CommitSequenceModel(RuleBasedStateMachine):
    """A broker that answers late, wrongly, twice or never: only confirmed commits count as committed."""

    @initialize()
    def begin(self) -> None:
        policy = WorkPolicy(state_strategy=RebalanceStateStrategy.CONTIGUOUS_ONLY)
        self.manager = manager_of(TP, OTHER, policy=policy)
        self.commits = CommitSequence(self.manager, interval_seconds=1.0, give_up_seconds=10.0)
        self.now = 0.0
        self.next_offset = {TP: 0, OTHER: 0}
        self.sent: list[Commit] = []
        self.known = {TP: 0, OTHER: 0}
        self.sent_at = 0.0
        self.unanswered: int | None = None

    @rule(tp=st.sampled_from([TP, OTHER]))
    def finish_a_message(self, tp: TopicPartition) -> None:
        work_through(self.manager, self.next_offset[tp], tp, epoch=1 if tp == TP else 2)
        self.next_offset[tp] += 1

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 11.0]), is_final=st.booleans())
    def ask_for_the_next_commit(self, seconds: float, is_final: bool) -> None:
        self.now += seconds
        commit = self.commits.next(self.now, is_final=is_final)
        if commit is None:
            if self.unanswered is not None and not self.commits.is_under_way:
                self.unanswered = None
            return
        assert self.unanswered is None or self.now >= self.sent_at + 10.0
        assert commit.number == len(self.sent) + 1
        for snapshot in commit.snapshots:
            assert self.known[snapshot.tp] < snapshot.offset <= self.next_offset[snapshot.tp]
        self.sent.append(commit)
        self.sent_at, self.unanswered = self.now, commit.number

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), refusals=st.sets(st.sampled_from([TP, OTHER])), skips=st.sets(st.sampled_from([TP, OTHER])))
    def answer_any_commit_once_more(
        self, data: st.DataObject, refusals: set[TopicPartition], skips: set[TopicPartition]
    ) -> None:
        commit = data.draw(st.sampled_from(self.sent))
        is_awaited = commit.number == self.unanswered
        errors: dict[TopicPartition, str | None] = {}
        for snapshot in commit.snapshots:
            if snapshot.tp not in skips:
                errors[snapshot.tp] = "UNKNOWN_SERVER_ERROR" if snapshot.tp in refusals else None
        failed = self.commits.answer(CommitAnswered(commit.number, errors))
        assert failed == ({tp: error for tp, error in errors.items() if error is not None} if is_awaited else {})
        if is_awaited:
            self.unanswered = None
            self.known |= {s.tp: s.offset for s in commit.snapshots if errors.get(s.tp, "left out") is None}

    @invariant()
    def what_counts_as_committed_is_what_was_confirmed_and_never_goes_back(self) -> None:
        assert self.commits.is_under_way == (self.unanswered is not None)
        for tp in (TP, OTHER):
            assert committed_offset(self.manager, tp) == self.known[tp]
        assert self.manager.has_uncommitted == (self.known != self.next_offset)


TestCommitSequenceModel = CommitSequenceModel.TestCase
TestCommitSequenceModel.settings = settings(max_examples=100, stateful_step_count=40)


def test_partitions_blamed_together_for_their_metadata_are_committed_one_by_one_and_only_the_guilty_shrinks() -> None:
    manager = manager_of(TP, OTHER)
    commits = CommitSequence(manager, interval_seconds=1.0)
    for tp, epoch in ((TP, 1), (OTHER, 2)):
        manager.add(tp, epoch, run_of(keyed(0, "a"), tp))
        manager.add(tp, epoch, run_of(keyed(1, "b"), tp))
        manager.succeed([item for item in manager.take(2) if item.offset == 1])
    assert committed_offsets(commits.next(0.0)) == {TP: 0, OTHER: 0}
    commits.answer(CommitAnswered(1, {TP: METADATA_TOO_LARGE, OTHER: METADATA_TOO_LARGE}))

    innocent = commits.next(0.0)
    assert innocent is not None
    assert committed_offsets(innocent) == {TP: 0}
    assert innocent.snapshots[0].metadata
    commits.answer(CommitAnswered(2, {TP: None}))
    while (guilty := commits.next(0.0)) is not None and guilty.snapshots[0].metadata:
        assert committed_offsets(guilty) == {OTHER: 0}
        commits.answer(CommitAnswered(guilty.number, {OTHER: METADATA_TOO_LARGE}))
    assert guilty is not None
    commits.answer(CommitAnswered(guilty.number, {OTHER: None}))

    assert not manager.has_uncommitted
    work_through(manager, 2)
    work_through(manager, 2, OTHER, epoch=2)
    assert len(committed_offsets(commits.next(1.0))) == 2


def test_a_hurried_commit_does_not_wait_for_the_interval() -> None:
    manager = manager_of()
    commits = CommitSequence(manager, interval_seconds=1.0)
    work_through(manager, 0)
    assert commits.next(10.0) is not None
    commits.answer(CommitAnswered(1, {TP: None}))
    work_through(manager, 1)
    assert commits.next(10.1) is None

    commits.hurry()

    assert committed_offsets(commits.next(10.1)) == {TP: 2}


def test_a_repeating_commit_tells_every_partition_what_the_broker_has_and_what_it_has_not() -> None:
    manager = manager_of(TP, OTHER)
    restored = OffsetMap(5, 9, (5, 7))
    manager.assign(assigned(THIRD, 3, 5, restored))
    commits = CommitSequence(manager, interval_seconds=1.0)
    work_through(manager, 0)
    assert committed_offsets(commits.next(0.0)) == {TP: 1}
    commits.answer(CommitAnswered(1, {TP: None}))
    work_through(manager, 0, OTHER, epoch=2)

    repeated = commits.next(1.0, is_repeating=True)

    assert committed_offsets(repeated) == {TP: 1, OTHER: 1, THIRD: 5}
    assert repeated is not None
    [third] = [snapshot for snapshot in repeated.snapshots if snapshot.tp == THIRD]
    assert decode(third.metadata, THIRD, 5) == restored
    commits.answer(CommitAnswered(2, dict.fromkeys((TP, OTHER, THIRD))))
    assert commits.next(9.0) is None
    assert committed_offsets(commits.next(19.0, is_repeating=True)) == {TP: 1, OTHER: 1, THIRD: 5}


def test_without_maps_a_repeating_commit_tells_offsets_alone() -> None:
    manager = manager_of(policy=WorkPolicy(state_strategy=RebalanceStateStrategy.CONTIGUOUS_ONLY))
    manager.add(TP, 1, run_of(keyed(0, "ab")))
    [_, second] = manager.take(2)
    manager.succeed([second])

    repeated = CommitSequence(manager, interval_seconds=1.0).next(0.0, is_repeating=True)

    assert committed_offsets(repeated) == {TP: 0}
    assert repeated is not None
    assert [snapshot.metadata for snapshot in repeated.snapshots] == [""]


def test_with_nothing_assigned_nothing_is_repeated() -> None:
    manager = WorkManager(WorkPolicy())

    assert CommitSequence(manager, interval_seconds=1.0).next(0.0, is_repeating=True) is None
