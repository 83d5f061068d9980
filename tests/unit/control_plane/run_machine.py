"""The machine whose engine keeps the order of a key itself, and is sent runs of it."""

from __future__ import annotations

from typing import ClassVar

from hypothesis import strategies as st

from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import TopicPartition, WorkItem
from tests.unit.control_plane.run_engine import RunEngine
from tests.unit.control_plane.run_model import RunModel
from tests.unit.control_plane.work_machine import FACTS, Draw, Step, WorkManagerMachine
from tests.unit.control_plane.work_model import Partition, Running


class RunMachine(WorkManagerMachine):
    """The engine's reports come late, kind by kind; nothing starts while a setback is not reported."""

    steps: ClassVar[list[Step]] = [
        *FACTS,
        ("send_a_run", 10, lambda machine: machine.model.partitions and not machine.engine.has_setbacks),
        ("allow_runs", 2, lambda _: True),
        ("seal", 2, lambda machine: machine.sealable),
        ("go_back", 4, lambda machine: any(map(machine.inside_of_runs, machine.model.partitions))),
        ("take_some", 6, lambda machine: machine.model.partitions and not machine.engine.has_setbacks),
        ("end_well", 6, lambda machine: machine.engine.begun),
        ("fail", 5, lambda machine: machine.engine.begun),
        ("cancel", 2, lambda machine: machine.engine.runs),
        ("give_back", 4, lambda machine: machine.engine.doomed),
        ("report", 8, lambda machine: machine.engine.has_setbacks or machine.engine.succeeded),
    ]
    is_sending_ahead = True
    model: RunModel

    def begin_with(self, policy: WorkPolicy) -> None:
        self.manager = WorkManager(policy)
        self.model = RunModel(self.ordering)
        self.engine = RunEngine(self.began)
        self.allow(3)

    # The control loop's side

    def allow_runs(self, draw: Draw) -> None:
        self.allow(draw(st.sampled_from([5, 1, 2, 3, 256])))

    def allow(self, most: int) -> None:
        self.model.allowed = most
        self.manager.allow_runs(most)

    @property
    def sealable(self) -> list[Running]:
        """The sent items of ordered keys, without items of ended assignments."""
        model = self.model
        return [each for each in model.running.values() if each.place is not None and model.entry_of(each) is not None]

    def seal(self, draw: Draw) -> None:
        running = draw(st.sampled_from(self.sealable))
        running.item.origin.seal()
        self.model.seal(running)

    def send_a_run(self, draw: Draw) -> None:
        self.add_rows(self.draw_partition(draw), [(0, b"a", b"")] * draw(st.sampled_from([6, 4, 3, 1])))
        self.take(40, 40)

    def take(self, most: int, slots: int) -> list[WorkItem]:
        model = self.model
        partitions = list(model.partitions.values())
        due = {partition.tp: model.due(partition) for partition in partitions}
        unordered = {p.tp: [] if p.is_stopped else model.unordered(p) for p in partitions}
        may_start = {partition.tp: model.ready_offsets(partition) for partition in partitions}
        must_start = sum(map(len, unordered.values())) + sum(
            len(offsets) for of in due.values() for offsets in of.values()
        )
        assert self.manager.ready >= sum(map(len, unordered.values())) + sum(map(len, due.values()))
        tickets = {work.tp: len(work.ready) for work in self.manager}
        items = self.manager.take(most, slots, self.time)
        assert min(most, must_start) <= len(items) <= min(most, sum(map(len, may_start.values())))
        assert len(set(items)) == len(items)
        for partition in partitions:
            taken = [item for item in items if item.tp == partition.tp]
            by_place: dict[object, list[int]] = {}
            for item in taken:
                assert item.offset in may_start[item.tp]
                by_place.setdefault(model.place_of(item.key), []).append(item.offset)
            for place, offsets in by_place.items():
                if place is not None:
                    assert offsets == model.may_start(partition, place)[: len(offsets)]
            if len(taken) >= tickets[partition.tp]:
                assert set(due[partition.tp]) <= set(by_place)
            for item in taken:
                assert self.manager.is_current(item)
                assert item.epoch == partition.epoch
                model.start(item)
            model.took(partition, set(by_place))
        for item in items:
            self.engine.submit(model.running[id(item)])
        return items

    def inside_of_runs(self, tp: TopicPartition) -> list[int]:
        """Offsets that were sent, or are held, behind others of their keys."""
        behind = [running for run in self.engine.runs.values() for running in run.sent[1:]]
        behind += [held for held in self.model.held.values() if self.model.out(held.tp, held.place)]
        return [running.offset for running in behind if running.tp == tp and self.model.entry_of(running)]

    def where_to_go_back(self, partition: Partition) -> list[int]:
        return self.inside_of_runs(partition.tp) or super().where_to_go_back(partition)

    def report(self, draw: Draw) -> None:
        engine = self.engine
        waiting = [reports for reports in (engine.failed, engine.cancelled, engine.succeeded) if reports]
        reports = draw(st.sampled_from(waiting))
        most = draw(st.sampled_from([1, 2, 100]))
        self.manager.allow_runs(self.model.allowed, are_whole=draw(st.booleans()))  # Whole runs end together.
        self.tell(reports, most)
        self.allow(self.model.allowed)

    def tell(self, reports: list[Running], most: int) -> None:
        told = reports[:most]
        del reports[: len(told)]
        if reports is self.engine.succeeded:
            self.report_success(told)
        else:
            for running in told:
                if reports is self.engine.failed:
                    self.report_failure(running)
                else:
                    self.report_cancelled(running)

    # The engine's side

    def began(self, running: Running) -> None:
        """No item of a key begins before the earlier one ended well, or while another one runs, in any epoch."""
        if running.place is None:
            return
        others = [other for other in self.engine.begun if (other.tp, other.place) == (running.tp, running.place)]
        assert others == [running]
        if self.model.entry_of(running) is not None:
            entries = self.model.entries_of(self.model.partitions[running.tp], running.place)
            done = {id(ended.entry) for ended in self.engine.succeeded}
            assert all(id(entry) in done for entry in entries if entry.offset < running.offset)

    def end_well(self, draw: Draw) -> None:
        """The items of a run, one after another."""
        running = draw(st.sampled_from(self.engine.begun))
        for _ in range(draw(st.sampled_from([1, 2, 5]))):
            running = None if running is None else self.engine.end_well(running)

    def fail(self, draw: Draw) -> None:
        """An item in the middle of a run, if there is one."""
        runs = [run for run in self.engine.runs.values() if run.begun is not None]
        run = draw(st.sampled_from([run for run in runs if len(run.sent) > 1] or runs))
        for begun in run.sent[: draw(st.sampled_from([0, 1, 2]))]:
            if begun is run.begun and len(run.sent) > 1:
                self.engine.end_well(begun)
        if run.begun is not None:
            self.engine.fail(run.begun, is_tried_again=draw(st.booleans()))

    def cancel(self, draw: Draw) -> None:
        """Offsets are forgotten, also from the middle of a run: they are always its end."""
        run = draw(st.sampled_from(list(self.engine.runs.values())))
        self.engine.give_back(draw(st.sampled_from(run.sent)))

    def give_back(self, draw: Draw) -> None:
        for running in draw(st.lists(st.sampled_from(self.engine.doomed), min_size=1, unique_by=id)):
            self.engine.give_back(running)

    def end_all(self) -> None:
        engine = self.engine
        for running in engine.doomed:
            engine.give_back(running)
        while engine.begun:
            engine.end_well(engine.begun[0])
        for reports in (engine.failed, engine.cancelled, engine.succeeded):
            self.tell(reports, len(reports))
