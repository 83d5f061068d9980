"""Machines that compare durations with their own records. Times are sums of powers of two, so they are exact."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import invariant

from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.dto import DURATION_BOUNDS_SECONDS, Durations, OnExhausted, TopicPartition, WorkItem
from pyrallel_consumer.observability.partition_picture import partition_picture
from tests.unit.control_plane.run_machine import RunMachine
from tests.unit.control_plane.work_machine import Draw, Step, WorkManagerMachine
from tests.unit.control_plane.work_model import Partition, Running

TIME_PASSES: Step = ("let_time_pass", 4, lambda _: True)


class Timed(WorkManagerMachine):
    """The durations of the attempts, from submission to report, by partition."""

    is_timed = True

    def begin_with(self, policy: WorkPolicy) -> None:
        super().begin_with(policy)
        self.now = 1.0
        self.started: dict[WorkItem, tuple[float, Partition]] = {}
        self.durations: dict[TopicPartition, list[float]] = defaultdict(list)

    def let_time_pass(self, draw: Draw) -> None:
        self.now += draw(st.sampled_from([2**-16, 2**-15, 2**-12, 2**-10, 2**-6, 0.25, 4.0, 512.0]))

    def take(self, most: int, slots: int) -> list[WorkItem]:
        items = super().take(most, slots)
        for item in items:
            self.started[item] = self.now, self.model.partitions[item.tp]
        return items

    def report_success(self, ended: list[Running]) -> None:
        for running in ended:
            self.note_end(running)
        super().report_success(ended)

    def report_failure(self, running: Running) -> OnExhausted | None:
        outcome = super().report_failure(running)
        if outcome is not None:
            self.note_end(running)
        return outcome

    def note_end(self, running: Running) -> None:
        """It counts while the assignment goes on, be the message forgotten or not: the worker took that long."""
        started_at, partition = self.started[running.item]
        if self.model.partitions.get(running.tp) is partition:
            self.durations[running.tp].append(self.now - started_at)

    @invariant()
    def every_attempt_that_ended_is_in_its_bucket(self) -> None:
        for work in self.manager:
            counts = [0] * (len(DURATION_BOUNDS_SECONDS) + 1)
            for seconds in self.durations[work.tp]:
                counts[bisect_left(DURATION_BOUNDS_SECONDS, seconds)] += 1
            assert partition_picture(work, self.now, ()).latency == Durations(
                tuple(counts), sum(self.durations[work.tp])
            )


class TimedMachine(Timed):
    """Each item is timed from its submission."""

    steps: ClassVar[list[Step]] = [*WorkManagerMachine.steps, TIME_PASSES]


class TimedRunMachine(Timed, RunMachine):
    """Each item of a run is timed from its sending."""

    steps: ClassVar[list[Step]] = [*RunMachine.steps, TIME_PASSES]
