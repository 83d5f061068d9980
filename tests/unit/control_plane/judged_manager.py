"""The work manager's books compared with the naive model's, after every step of a machine."""

from __future__ import annotations

from hypothesis.stateful import RuleBasedStateMachine, invariant

from pyrallel_consumer.control_plane.events import CommitSnapshot
from pyrallel_consumer.control_plane.offsets.commit_encoder import decode
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.observability.partition_picture import partition_picture
from pyrallel_consumer.observability.status.close_up import UnderWay, close_up
from pyrallel_consumer.observability.status.gap_window import OffsetState
from pyrallel_consumer.observability.status.read_times import ReadTimes
from tests.unit.control_plane.work_model import Partition, State, WorkModel

FAR_TOO_MANY = 10_000


class JudgedManager(RuleBasedStateMachine):
    """A manager and a model with the same input. ``fenced`` counts attempts that ended after their assignment."""

    manager: WorkManager
    model: WorkModel
    with_map: bool
    fenced: int

    def has_moved(self, partition: Partition) -> bool:
        version = partition.moves if self.with_map else 0
        return partition.confirmed != (partition.committable_offset, version)

    def check_snapshot(self, snapshot: CommitSnapshot) -> None:
        partition = self.model.partitions[snapshot.tp]
        assert snapshot.epoch == partition.epoch
        assert snapshot.offset == partition.committable_offset
        assert snapshot.offset >= partition.highest_snapshot
        partition.highest_snapshot = snapshot.offset
        expected = partition.expected_map()
        if not self.with_map or expected.is_empty:
            assert snapshot.metadata == ""
            return
        restored = decode(snapshot.metadata, snapshot.tp, snapshot.offset)
        for offset in range(expected.base, expected.top):
            is_done = offset < restored.top and offset not in restored.unfinished
            assert is_done == (offset not in expected.unfinished)

    @invariant()
    def totals_are_what_one_counts_by_hand(self) -> None:
        partitions = self.model.partitions.values()
        assert self.manager.load.size_bytes >= sum(partition.size_bytes for partition in partitions)
        self.manager.observe(0.0)
        if not self.manager.circuit.is_open:
            assert self.manager.ready in {0, sum(len(work.ready) for work in self.manager if work.is_dispatching)}
        assert self.manager.in_flight == sum(partition.count(State.RUNNING) for partition in partitions)
        assert self.manager.load.messages == sum(len(partition.entries) for partition in partitions)
        assert self.manager.load.size_bytes == sum(partition.size_bytes for partition in partitions)
        ended = self.model.ended.values()
        assert self.manager.processed == sum(e["finished"] for e in ended) + sum(p.finished for p in partitions)
        assert self.manager.failed == sum(e["failed"] for e in ended) + sum(p.failed for p in partitions)
        assert self.manager.fenced_completions == self.fenced
        assert self.manager.has_uncommitted == any(self.has_moved(partition) for partition in partitions)
        assert len(self.manager) == len(self.model.partitions)

    @invariant()
    def every_unfinished_message_is_in_exactly_one_place(self) -> None:
        self.manager.observe(0.0)
        for work in self.manager:
            picture, partition = partition_picture(work, 0.0, ()), self.model.partitions[work.tp]
            assert picture.epoch == partition.epoch
            assert picture.fetched_offset == partition.next_offset
            assert picture.committable_offset == partition.committable_offset
            assert picture.blocking_offset == min(partition.entries, default=None)
            assert (picture.queued, picture.in_flight, picture.held) == (
                partition.count(State.QUEUED),
                partition.count(State.RUNNING),
                partition.count(State.HELD),
            )
            assert picture.load_bytes == partition.size_bytes
            before = self.model.ended[work.tp]
            assert (picture.finished, picture.failed, picture.skipped) == (
                before["finished"] + partition.finished,
                before["failed"] + partition.failed,
                before["skipped"] + partition.skipped,
            )

    @invariant()
    def what_counts_and_what_is_fenced_off_can_be_told_apart(self) -> None:
        for running in [*self.model.running.values(), *self.model.held.values()]:
            assert self.manager.is_current(running.item) == (self.model.entry_of(running) is not None)

    @invariant()
    def a_close_up_shows_every_unfinished_offset_in_its_state(self) -> None:
        items = [running.item for running in self.model.running.values()]
        failing = {item for item in items if item.offset % 3 == 1}
        stuck = {item for item in items if item.offset % 3 == 2}
        under_way = UnderWay(dict.fromkeys(items, (1, None)), failing, stuck)
        for work in self.manager:
            expected = {
                offset: [OffsetState.RUNNING, OffsetState.FAILING, OffsetState.STUCK][offset % 3]
                if state is State.RUNNING
                else OffsetState(state.value)
                for offset, state in self.model.states(self.model.partitions[work.tp]).items()
            }
            window = close_up(work, under_way, ReadTimes(), 0.0, FAR_TOO_MANY, secret=b"").window
            assert (window.top, window.width, window.unseen) == (self.model.partitions[work.tp].next_offset, 1, 0)
            shown = {
                window.base + at: state
                for state, counts in window.counts.items()
                for at, count in enumerate(counts)
                if count
            }
            assert shown == expected
