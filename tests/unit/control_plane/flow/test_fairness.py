"""Reading as fast as the grants allow, hot partitions first: the bounds hold, and all partitions get their turn."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.events import Pause
from pyrallel_consumer.control_plane.policies import FlowLimits, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import TopicPartition, WorkItem
from tests.unit.control_plane.builders import assigned, run_of

PARTITIONS = [TopicPartition("orders", number) for number in range(4)]
HEALTHY = PARTITIONS[-1]
BATCH = 20
"""Messages of one read; the size of the first partition's messages is not known yet."""


@dataclass
class GreedyReader:
    """A poll thread that reads all that it may, with the partitions in a given order, and obeys pauses."""

    manager: WorkManager
    read: dict[TopicPartition, int] = field(default_factory=lambda: dict.fromkeys(PARTITIONS, 0))
    paused: set[TopicPartition] = field(default_factory=set)
    value: bytes = b""
    free_slots: int = 1

    def obey_pauses(self) -> None:
        for command in self.manager.take_pause_changes():
            (self.paused.add if isinstance(command, Pause) else self.paused.discard)(command.tp)

    def read_from(self, tp: TopicPartition, most: int = BATCH) -> int:
        taken = sum(self.read.values())
        credit = self.manager.allowed(taken, free_slots=self.free_slots) - taken
        count = 0 if tp in self.paused else max(0, min(most, credit))
        first = self.read[tp]
        keys: dict[int, bytes | None] = {offset: b"%d" % offset for offset in range(first, first + count)}
        self.manager.add(tp, PARTITIONS.index(tp) + 1, run_of(keys, tp, value=self.value))
        self.read[tp] += count
        return count


def manager_with(limits: FlowLimits) -> WorkManager:
    manager = WorkManager(WorkPolicy(limits=limits))
    for epoch, tp in enumerate(PARTITIONS, start=1):
        manager.assign(assigned(tp, epoch))
    return manager


def tick(manager: WorkManager, failing: list[WorkItem], reader: GreedyReader) -> None:
    manager.note_failing(failing)
    manager.observe(0.0)
    manager.review_shares()
    reader.obey_pauses()


@pytest.mark.parametrize(
    ("limits", "value"),
    [
        (FlowLimits(max_messages=40), b""),
        (FlowLimits(max_messages=7), b""),
        (FlowLimits(max_messages=1000), b""),
        (FlowLimits(max_messages=100_000, max_bytes=200_000), b"x" * 1000),
    ],
)
@pytest.mark.parametrize("poisoned", [1, 2, 3])
@pytest.mark.parametrize("says_blocked", [True, False])
@pytest.mark.parametrize("free_slots", [0, 1])
def test_partitions_that_never_finish_anything_do_not_starve_the_one_that_does(
    limits: FlowLimits, value: bytes, poisoned: int, says_blocked: bool, free_slots: int
) -> None:
    manager = manager_with(limits)
    reader = GreedyReader(manager, value=value, free_slots=free_slots)
    stuck: list[WorkItem] = []
    progress = []
    for _ in range(60):
        for tp in PARTITIONS[:poisoned]:
            reader.read_from(tp)
        before = reader.read[HEALTHY]
        reader.read_from(HEALTHY)
        items = manager.take(1_000_000)
        stuck += [item for item in items if item.tp != HEALTHY]
        manager.succeed([item for item in items if item.tp == HEALTHY])
        progress.append(reader.read[HEALTHY] - before)
        tick(manager, stuck if says_blocked else [], reader)

    assert sum(1 for count in progress[-20:] if count) >= 10


@given(
    limits=st.builds(FlowLimits, max_messages=st.integers(1, 60), max_bytes=st.integers(1000, 60_000)),
    steps=st.lists(
        st.tuples(st.sampled_from(["read", "finish", "tick"]), st.sampled_from(PARTITIONS), st.integers(1, 80)),
        max_size=40,
    ),
    free_slots=st.integers(0, 1),
)
def test_who_obeys_the_grants_never_loads_more_messages_than_the_limit_nor_far_more_bytes(
    limits: FlowLimits, steps: list[tuple[str, TopicPartition, int]], free_slots: int
) -> None:
    manager = manager_with(limits)
    reader = GreedyReader(manager, value=b"x" * 500, free_slots=free_slots)
    running: list[WorkItem] = []
    for step, tp, count in steps:
        before = manager.load.size_bytes
        if step == "read":
            read = reader.read_from(tp, count)
            one = 512 + 500 + 5
            assert manager.load.size_bytes <= max(before, limits.max_bytes) + one or reader.read[tp] == read
        elif step == "finish":
            running += manager.take(count)
            manager.succeed(running[:count])
            del running[:count]
        else:
            tick(manager, [], reader)
        assert manager.load.messages <= limits.max_messages


@given(
    limits=st.builds(FlowLimits, max_messages=st.integers(1, 60), max_bytes=st.integers(1, 60_000)),
    order=st.permutations(PARTITIONS),
    reads=st.lists(st.tuples(st.sampled_from(PARTITIONS), st.integers(1, 80)), max_size=20),
    free_slots=st.integers(0, 1),
)
def test_once_everything_is_finished_every_partition_may_be_read_again(
    limits: FlowLimits, order: list[TopicPartition], reads: list[tuple[TopicPartition, int]], free_slots: int
) -> None:
    manager = manager_with(limits)
    reader = GreedyReader(manager, free_slots=free_slots)
    for tp, count in reads:
        reader.read_from(tp, count)
        tick(manager, [], reader)
    while items := manager.take(100):
        manager.succeed(items)
    tick(manager, [], reader)

    assert not reader.paused
    for tp in order:
        assert reader.read_from(tp) >= 1
        manager.succeed(manager.take(100))
        tick(manager, [], reader)
