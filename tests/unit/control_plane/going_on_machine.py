"""Machines whose engine, like the async one, has what follows start in the slot of an item that ended well."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import invariant

from pyrallel_consumer.control_plane.work_manager import MOST_IN_A_ROW, WorkPolicy
from pyrallel_consumer.dto import TopicPartition, WorkItem
from tests.unit.control_plane.work_machine import TPS, Draw, Step, WorkManagerMachine
from tests.unit.control_plane.work_model import Running


class GoingOnMachine(WorkManagerMachine):
    """Where nothing follows, nothing has happened: the attempt runs on here, and its success is reported some time."""

    steps: ClassVar[list[Step]] = [*WorkManagerMachine.steps, ("go_on", 5, lambda machine: machine.model.running)]

    def begin_with(self, policy: WorkPolicy) -> None:
        super().begin_with(policy)
        self.is_short = False
        self.asked_since_a_turn = 0
        self.in_a_row = 0
        self.passed_over: Counter[TopicPartition] = Counter()

    def take(self, most: int, slots: int) -> list[WorkItem]:
        items = super().take(most, slots)
        self.is_short = self.manager.ready > slots - len(items)
        for item in items:
            self.passed_over[item.tp] = 0
        return items

    def go_on(self, draw: Draw) -> None:
        """One slot, for some time; rather that of an attempt which no longer counts, for those are few."""
        attempts = list(self.model.running.values())
        fenced = [running for running in attempts if self.model.entry_of(running) is None]
        running: Running | None = draw(st.sampled_from([*attempts, *fenced, *fenced]))
        for _ in range(draw(st.sampled_from([1, 2, 3, 12]))):
            running = None if running is None else self.go_on_from(running)

    def go_on_from(self, running: Running) -> Running | None:
        model, manager = self.model, self.manager
        is_current = model.entry_of(running) is not None
        next_of_its_own = model.next_of_place(running) if is_current else None
        waiting = {tp for tp, partition in model.partitions.items() if model.ready_offsets(partition)}
        following = manager.go_on(running.item, self.now)
        if following is None:
            assert not is_current or (next_of_its_own is None and not waiting)
            return None
        assert is_current
        assert self.end_attempt(running)
        self.ended_items.append(running.item)
        model.finish(running)
        ready = model.ready_offsets(model.partitions[following.tp])
        assert following.offset in ready
        assert manager.is_current(following)
        assert following.epoch == model.partitions[following.tp].epoch
        is_its_own = (following.tp, following.offset) == (running.tp, next_of_its_own)
        if self.is_short:
            assert following.offset == ready[0]
        elif next_of_its_own is not None:
            self.asked_since_a_turn += 1
            assert is_its_own or self.asked_since_a_turn >= MOST_IN_A_ROW
        if self.is_short or not is_its_own:
            self.have_a_turn(following.tp, waiting)
        else:
            self.in_a_row = self.in_a_row + 1 if waiting else 0
            assert self.in_a_row < MOST_IN_A_ROW
        model.start(following)
        started = model.running[id(following)]
        self.went_on(running, started)
        return started

    def have_a_turn(self, tp: TopicPartition, waiting: set[TopicPartition]) -> None:
        """The slot is anybody's, and goes to ``tp``: nobody else who waits is passed over for long."""
        self.asked_since_a_turn = self.in_a_row = 0
        self.passed_over.update(waiting - {tp})
        self.passed_over[tp] = 0
        assert max(self.passed_over.values()) < len(TPS)

    def went_on(self, running: Running, started: Running) -> None:
        """``started`` has the slot of ``running``."""

    @invariant()
    def who_has_nothing_ready_waits_for_no_turn(self) -> None:
        for tp in TPS:
            partition = self.model.partitions.get(tp)
            if partition is None or not self.model.ready_offsets(partition):
                self.passed_over[tp] = 0
