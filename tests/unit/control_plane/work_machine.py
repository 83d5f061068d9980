"""The work manager beside the naive model: any history of assignments, messages and completions.

The engine here is an adversary: attempts end in any order and any way, also long after their assignment ended. Other
machines are built on this one; each has its own ``steps``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from pyrallel_consumer.control_plane.events import Assigned, CommitSnapshot, OffsetWentBack, PositionAdvanced
from pyrallel_consumer.control_plane.offsets.commit_encoder import decode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import OrderingPolicy, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import OnExhausted, RebalanceStateStrategy, TopicPartition, WorkItem
from pyrallel_consumer.testing import PlainMessage
from tests.unit.control_plane.builders import OTHER, TP
from tests.unit.control_plane.judged_manager import FAR_TOO_MANY, JudgedManager
from tests.unit.control_plane.work_model import Partition, Running, WorkModel

TPS = [TP, OTHER]
Draw = Callable[[st.SearchStrategy[Any]], Any]
Step = tuple[str, int, Callable[[Any], object]]
"""A method of the machine, its weight, and whether it is possible now."""
KEYS = st.sampled_from([b"a", b"bb", b"a", None])
VALUES = st.sampled_from([b"xyz", None, b""])

FACTS: list[Step] = [
    ("add", 6, lambda machine: machine.model.partitions),
    ("assign", 6, lambda machine: len(machine.model.partitions) < len(TPS)),
    ("end_some", 2, lambda machine: machine.model.partitions),
    ("go_back", 2, lambda machine: machine.model.partitions),
    ("read_again", 2, lambda machine: machine.model.partitions),
    ("advance", 1, lambda machine: machine.model.partitions),
    ("settle", 2, lambda machine: machine.model.held),
    ("resume_after_exhausted", 1, lambda machine: machine.model.partitions and machine.model.held),
    ("commit", 2, lambda machine: machine.model.partitions),
    ("confirm", 3, lambda machine: machine.in_commit),
    ("stop_dispatching", 1, lambda machine: machine.model.partitions),
    ("end_an_epoch_that_is_over", 1, lambda machine: machine.model.partitions),
    ("add_of_an_epoch_that_is_over", 1, lambda machine: machine.model.partitions),
    ("report_an_item_a_second_time", 1, lambda machine: machine.ended_items),
]
ATTEMPTS: list[Step] = [
    ("take_some", 6, lambda machine: machine.model.partitions),
    ("succeed_some", 3, lambda machine: machine.model.running),
    ("exhaust", 1, lambda machine: machine.model.running),
    ("cancel", 1, lambda machine: machine.model.running),
]


class WorkManagerMachine(JudgedManager):
    """The manager beside the model; one is built per ordering and policy."""

    steps: ClassVar = [*FACTS, *ATTEMPTS]
    ordering = OrderingPolicy()
    strategy = RebalanceStateStrategy.METADATA_SNAPSHOT
    on_exhausted = OnExhausted.DLQ
    is_sending_ahead = False
    is_timed = False
    now = 0.0

    @initialize()
    def begin(self) -> None:
        policy = WorkPolicy(
            self.ordering,
            state_strategy=self.strategy,
            on_exhausted=self.on_exhausted,
            is_sending_ahead=self.is_sending_ahead,
            is_timed=self.is_timed,
        )
        self.with_map = self.strategy is RebalanceStateStrategy.METADATA_SNAPSHOT
        self.begin_with(policy)
        self.epochs = 0
        self.fenced = 0
        self.resume_at: dict[TopicPartition, tuple[int, str]] = dict.fromkeys(TPS, (0, ""))
        self.ended_items: list[WorkItem] = []
        self.in_commit: list[CommitSnapshot] = []

    def begin_with(self, policy: WorkPolicy) -> None:
        self.manager = WorkManager(policy)
        self.model = WorkModel(self.ordering)

    @property
    def time(self) -> float | None:
        """What the control loop tells the manager."""
        return self.now if self.is_timed else None

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """One of the steps that are possible now. The weights favour reads and starts, which other steps need."""
        possible = [name for name, weight, is_possible in self.steps for _ in range(weight) if is_possible(self)]
        getattr(self, data.draw(st.sampled_from(possible)))(data.draw)

    # Assignments

    def assign(self, draw: Draw) -> None:
        tp = draw(st.sampled_from([tp for tp in TPS if tp not in self.model.partitions]))
        start, metadata = self.resume_at[tp]
        if draw(st.booleans()):
            restored = decode(metadata, tp, start)
        else:
            done = draw(st.sets(st.integers(start, start + 8), max_size=4))
            top = max(done, default=start - 1) + 1
            restored = OffsetMap(start, top, tuple(offset for offset in range(start, top) if offset not in done))
        is_committed = draw(st.booleans())
        self.epochs += 1
        self.manager.assign(Assigned(tp, self.epochs, start, restored, is_committed))
        done = set(range(start, restored.top)) - set(restored.unfinished)
        partition = Partition(tp, self.epochs, start, done, restored.top)
        partition.confirmed = (start, 0) if is_committed else None
        self.model.partitions[tp] = partition

    def end_some(self, draw: Draw) -> None:
        tps = draw(st.lists(st.sampled_from(TPS), min_size=1, unique=True))
        if draw(st.booleans()):
            self.manager.stop_dispatching(tps)
        is_lost = draw(st.booleans())
        named = [(tp, self.model.partitions[tp].epoch if tp in self.model.partitions else 1) for tp in tps]
        ending = [self.model.partitions[tp] for tp in tps if tp in self.model.partitions]
        snapshots = self.manager.end(named, is_lost=is_lost)
        moved = [] if is_lost else [partition for partition in ending if self.has_moved(partition)]
        assert [snapshot.tp for snapshot in snapshots] == [partition.tp for partition in moved]
        for snapshot in snapshots:
            self.check_snapshot(snapshot)
            self.resume_at[snapshot.tp] = (snapshot.offset, snapshot.metadata)
        for partition in ending:
            self.model.end(partition.tp)

    def end_an_epoch_that_is_over(self, draw: Draw) -> None:
        partition = self.draw_partition(draw)
        assert self.manager.end([(partition.tp, partition.epoch - 1)], is_lost=False) == ()

    def stop_dispatching(self, draw: Draw) -> None:
        partition = self.draw_partition(draw)
        self.manager.stop_dispatching([partition.tp])
        partition.is_stopped = True

    def draw_partition(self, draw: Draw) -> Partition:
        return self.model.partitions[draw(st.sampled_from(sorted(self.model.partitions)))]

    # Messages

    def add(self, draw: Draw) -> None:
        self.deliver(draw, is_current=True)

    def add_of_an_epoch_that_is_over(self, draw: Draw) -> None:
        self.deliver(draw, is_current=False)

    def deliver(self, draw: Draw, *, is_current: bool) -> None:
        partition = self.draw_partition(draw)
        rows = draw(st.lists(st.tuples(st.integers(0, 2), KEYS, VALUES), max_size=10))
        self.add_rows(partition, rows, is_current=is_current)

    def add_rows(
        self, partition: Partition, rows: list[tuple[int, bytes | None, bytes | None]], *, is_current: bool = True
    ) -> None:
        """Each row is a message: the offsets that are missing before it, key, value."""
        messages, offset = [], partition.next_offset
        for hole, key, value in rows:
            message = PlainMessage(partition.tp.topic, partition.tp.partition, offset + hole, key, value)
            messages.append(message)
            offset += hole + 1
            if is_current:
                size_bytes = 512 + len(value or b"") + len(key or b"")
                self.model.deliver(partition, message.offset(), key, size_bytes)
        self.manager.add(partition.tp, partition.epoch if is_current else partition.epoch - 1, messages)

    def advance(self, draw: Draw) -> None:
        partition = self.draw_partition(draw)
        position = partition.next_offset + draw(st.integers(-1, 3))
        is_current = draw(st.booleans())
        self.manager.advance(PositionAdvanced(partition.tp, partition.epoch if is_current else 0, position))
        if is_current:
            partition.next_offset = max(partition.next_offset, position)

    def go_back(self, draw: Draw) -> None:
        partition = self.draw_partition(draw)
        offset = max(0, draw(st.sampled_from(self.where_to_go_back(partition))))
        self.go_back_to(partition, offset, is_current=draw(st.integers(0, 3)) > 0)

    def read_again(self, draw: Draw) -> None:
        """All unfinished messages are delivered a second time, at once."""
        partition = self.draw_partition(draw)
        offset = max(0, draw(st.sampled_from(self.where_to_go_back(partition))))
        again = [(known, entry.key) for known, entry in sorted(partition.entries.items()) if known >= offset]
        self.go_back_to(partition, offset)
        ends = [offset, *(known + 1 for known, _ in again)]
        self.add_rows(partition, [(known - end, key, b"") for end, (known, key) in zip(ends, again, strict=False)])

    def go_back_to(self, partition: Partition, offset: int, *, is_current: bool = True) -> None:
        self.epochs += 1
        old_epoch = partition.epoch if is_current else partition.epoch - 1
        self.manager.go_back(OffsetWentBack(partition.tp, old_epoch, self.epochs, offset))
        if is_current:
            self.model.go_back(partition, self.epochs, offset)

    def where_to_go_back(self, partition: Partition) -> list[int]:
        return [*partition.entries, *range(partition.next_offset - 8, partition.next_offset)]

    # Work

    def take_some(self, draw: Draw) -> None:
        most = draw(st.sampled_from([40, 5, 3, 2, 1, 0]))
        self.take(most, most + draw(st.sampled_from([0, 0, 3, 50])))

    def take(self, most: int, slots: int) -> list[WorkItem]:
        ready = {tp: self.model.ready_offsets(partition) for tp, partition in self.model.partitions.items()}
        assert self.manager.ready >= sum(len(offsets) for offsets in ready.values())
        items = self.manager.take(most, slots, self.time)
        assert len(items) == min(most, sum(len(offsets) for offsets in ready.values()))
        for tp, offsets in ready.items():
            taken = [item.offset for item in items if item.tp == tp]
            assert set(taken) <= set(offsets)
            assert len(set(taken)) == len(taken)
            if len(offsets) > slots:
                assert taken == offsets[: len(taken)]
        for item in items:
            assert self.manager.is_current(item)
            assert item.epoch == self.model.partitions[item.tp].epoch
            self.model.start(item)
        return items

    def draw_running(self, draw: Draw) -> Running:
        running: Running = draw(st.sampled_from(list(self.model.running.values())))
        return running

    def succeed_some(self, draw: Draw) -> None:
        attempts = st.sampled_from(list(self.model.running.values()))
        ended: list[Running] = draw(st.lists(attempts, min_size=1, unique_by=id))
        self.report_success(ended)

    def report_success(self, ended: list[Running]) -> None:
        self.manager.succeed([running.item for running in ended], self.time)
        for running in ended:
            self.ended_items.append(running.item)
            if self.end_attempt(running):
                self.model.finish(running)

    def exhaust(self, draw: Draw) -> None:
        self.report_failure(self.draw_running(draw))

    def report_failure(self, running: Running) -> OnExhausted | None:
        outcome = self.manager.exhaust(running.item, self.time)
        if not self.end_attempt(running):
            assert outcome is None
            self.ended_items.append(running.item)
            return None
        assert outcome is self.on_exhausted
        self.model.fail(running)
        if outcome is OnExhausted.SKIP:
            self.model.settle(running)
            self.ended_items.append(running.item)
        return outcome

    def settle(self, draw: Draw) -> None:
        held = self.model.held[draw(st.sampled_from(list(self.model.held)))]
        self.manager.settle(held.item)
        if self.model.settle(held):
            self.ended_items.append(held.item)

    def resume_after_exhausted(self, draw: Draw) -> None:
        partition = self.draw_partition(draw)
        is_paused = "exhausted" in self.manager.pause_reasons(partition.tp)
        self.manager.resume(partition.tp, "exhausted")
        for held in [held for held in self.model.held.values() if is_paused and held.tp == partition.tp]:
            if self.model.entry_of(held) is not None:
                del self.model.held[id(held.item)]
                self.model.put_back(held)

    def cancel(self, draw: Draw) -> None:
        self.report_cancelled(self.draw_running(draw))

    def report_cancelled(self, running: Running) -> None:
        self.manager.cancel(running.item)
        if self.end_attempt(running):
            self.model.put_back(running)

    def report_an_item_a_second_time(self, draw: Draw) -> None:
        item = draw(st.sampled_from(self.ended_items))
        match draw(st.sampled_from(["succeed", "exhaust", "cancel"])):
            case "succeed":
                self.manager.succeed([item])
            case "exhaust":
                assert self.manager.exhaust(item) is None
            case _:
                self.manager.cancel(item)
        self.fenced += 1

    def end_attempt(self, running: Running) -> bool:
        """Remove the attempt from the model; returns whether it still counted."""
        is_current = self.model.end_attempt(running)
        self.fenced += not is_current
        return is_current

    # Commits

    def commit(self, draw: Draw) -> None:
        snapshots = self.manager.snapshots()
        moved = [tp for tp, partition in self.model.partitions.items() if self.has_moved(partition)]
        assert [snapshot.tp for snapshot in snapshots] == moved
        for snapshot in snapshots:
            self.check_snapshot(snapshot)
        self.in_commit = list(snapshots)

    def confirm(self, draw: Draw) -> None:
        for snapshot in self.in_commit:
            self.manager.confirm(snapshot)
            partition = self.model.partitions.get(snapshot.tp)
            if partition is not None and partition.epoch == snapshot.epoch:
                partition.confirmed = (snapshot.offset, snapshot.version)
                self.resume_at[snapshot.tp] = (snapshot.offset, snapshot.metadata)
        self.in_commit = []

    def teardown(self) -> None:
        """After all attempts have ended, the remaining messages start and end in order, and then nothing is left."""
        if not hasattr(self, "model"):
            return
        started = None
        while started != []:
            self.end_all()
            for held in list(self.model.held.values()):
                self.manager.settle(held.item)
                self.model.settle(held)
            started = self.take(FAR_TOO_MANY, FAR_TOO_MANY)
        self.totals_are_what_one_counts_by_hand()
        self.every_unfinished_message_is_in_exactly_one_place()
        assert all(partition.is_stopped or not partition.entries for partition in self.model.partitions.values())

    def end_all(self) -> None:
        """Whatever runs ends well."""
        for running in list(self.model.running.values()):
            self.report_success([running])
