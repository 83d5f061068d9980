"""An engine of batches around the real ``BatchBook``: the world decides when and how calls end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from math import inf

from pyrallel_consumer.control_plane.policies import BatchPolicy
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.errors import TaskTimeoutError
from pyrallel_consumer.execution_plane.batches.batch import Batch
from pyrallel_consumer.execution_plane.batches.book import BatchBook
from pyrallel_consumer.execution_plane.engine import CompletionChannel, EngineStatus
from pyrallel_consumer.execution_plane.worker.named_failures import NamedFailures
from tests.simulation.oracles import batches, rebalances, work
from tests.simulation.oracles.verdict import RuleBroken
from tests.simulation.scene import Scene
from tests.simulation.topic_log import Record
from tests.simulation.truth import Run
from tests.simulation.virtual_engine import CUT_SHORT_SHARE, VirtualEngine
from tests.simulation.watched_manager import WatchedManager

MOST_CALLS = 4
"""How many calls may run at once."""


class VirtualBatchEngine(VirtualEngine):
    """Checks the rules of batches and of section *Work* at every start and end of a call."""

    is_joining = True

    def __init__(self, scene: Scene, consumer: str, manager: WatchedManager, policy: BatchPolicy) -> None:
        super().__init__(scene, consumer, manager)
        scenario = scene.scenario
        self._reports = CompletionChannel(lambda: None)
        self._book = BatchBook(policy, scenario.retry, scenario.slots, scene.random.random, self._reports)
        self._open: set[WorkItem] = set()
        """Submitted items without a completion."""
        self._policy = policy
        self._began_at: dict[Batch, float] = {}
        self._cancelled: set[Batch] = set()
        self._failed_alone: set[WorkItem] = set()

    # What the control loop calls

    def capacity(self) -> int:
        return self._book.capacity

    def run_length(self) -> int:
        return min(self._policy.size, self._scene.scenario.slots)

    def submit(self, item: WorkItem) -> None:
        self.submit_all((item,))

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self._open.update(items)
        self._book.submit_all(items, self._scene.clock.now)
        self._take_reports()
        self._make_calls()

    def nothing_follows(self) -> None:
        if not self._book.running:
            self._make_calls(is_enough=True)

    def sweep(self, now: float) -> None:
        if self._timeout_seconds:
            for batch, began_at in self._began_at.items():
                if began_at + self._timeout_seconds <= now:
                    self._mark_call(batch)
        if now <= self.channel.starts_until:
            self._book.wake(now)
        self._make_calls()
        self.check_slots()

    def heed_lease(self) -> None:
        self._make_calls()

    def next_sweep_at(self) -> float | None:
        moments = []
        if self.channel.starts_until > -inf and len(self._book.running) < MOST_CALLS:
            moments.append(self._book.next_call_at())
        if self._timeout_seconds:
            runs = self._scene.truth.runs
            unmarked = [batch for batch in self._began_at if not runs[batch.roots[0]].is_marked]
            moments += [self._began_at[batch] + self._timeout_seconds for batch in unmarked]
        return min((moment for moment in moments if moment is not None), default=None)

    def running(self, which: Callable[[WorkItem], bool] | None = None) -> int:
        return sum(1 for batch in self._book.running for root in batch.roots if which is None or which(root))

    def waiting(self) -> Sequence[WorkItem]:
        return self._book.sleepers.roots()

    def withdraw(self, which: Callable[[WorkItem], bool]) -> None:
        self._book.withdraw(which, self._scene.clock.now)
        self._take_reports()

    def cancel(self, which: Callable[[WorkItem], bool]) -> None:
        self.withdraw(which)
        for batch in self._book.running:
            if any(map(which, batch.roots)):
                self._cancelled.add(batch)
                self._mark_call(batch)

    def status(self) -> EngineStatus:
        sleepers = self._book.sleepers
        return EngineStatus(self.running(), len(sleepers), sleepers.due_count, 0, 0)

    # What the world calls

    def endable(self) -> list[WorkItem]:
        runs, has_faults = self._scene.truth.runs, self._scene.has_faults
        return [batch for batch in self._book.running if not (has_faults and runs[batch.roots[0]].is_stubborn)]

    def end_by_chance(self, item: WorkItem) -> None:
        assert isinstance(item, Batch)
        scene, run = self._scene, self._scene.truth.runs[item.roots[0]]
        if not run.is_marked and scene.fault("stubborn attempts", 0.03):
            run.is_stubborn = True
            return
        is_cut_short = run.is_marked and scene.random.random() < CUT_SHORT_SHARE
        is_outage = scene.is_outage and scene.fault("outage", 1.0)
        is_failure = is_cut_short or is_outage or scene.fault("failures", scene.scenario.failure_share)
        self.end(item, "failed" if is_failure else "ok")

    def end(self, item: WorkItem, how: str) -> None:
        assert isinstance(item, Batch)
        scene, book, now = self._scene, self._book, self._scene.clock.now
        is_timed_out = scene.truth.runs[item.roots[0]].is_marked
        for root in item.roots:
            del scene.truth.runs[root]
        del self._began_at[item]
        is_cancelled = item in self._cancelled
        self._cancelled.discard(item)
        scene.note(f"{self._consumer} call of {[root.id for root in item.roots]} ended {how}")
        if how == "ok":
            book.succeeded(item, now)
        elif is_cancelled:
            book.given_back(item, now)
        else:
            error = self._certain_error(item, how, is_timed_out=is_timed_out) or self._error_of_call(item)
            scene.note(f"{self._consumer} it raised {error!r}")
            book.failed(item, error, now)
        self._take_reports()
        self.channel.notify()
        self._make_calls()
        self.check_slots()

    def kill_worker(self, most: int) -> None:
        for batch in list(self._book.running)[:most]:
            self.end(batch, "died")

    def check_slots(self) -> None:
        sleepers = self._book.sleepers
        held = len(self._open) - len(sleepers) + sleepers.due_count
        batches.slots_hold(len(self._open) - len(sleepers), held, self._book.capacity, self._scene.scenario.slots)

    # Inside

    def _certain_error(self, batch: Batch, how: str, *, is_timed_out: bool) -> BaseException | None:
        """The error of a death, and usually of a call that was cut short; None if the worker's own error counts."""
        if len(batch) == 1:
            self._failed_alone.add(batch.roots[0])
        if how == "died":
            return self._error(how)
        return TaskTimeoutError("it took too long") if is_timed_out and self._scene.random.random() < 0.8 else None

    def _error_of_call(self, batch: Batch) -> BaseException:
        random = self._scene.random
        if random.random() < 0.3:
            places = random.sample(range(len(batch)), random.randint(1, len(batch)))
            stopped: set[object] = set()
            for place in sorted(places):
                root = batch.roots[place]
                if root.origin not in stopped:
                    self._failed_alone.add(root)
                if root.origin.is_ordered:
                    stopped.add(root.origin)
            return NamedFailures({place: self._error() for place in places})
        return self._error()

    def _make_calls(self, *, is_enough: bool = False) -> None:
        now = self._scene.clock.now
        while len(self._book.running) < MOST_CALLS and now <= self.channel.starts_until:
            batch = self._book.take_call(now, is_enough=is_enough)
            if batch is None:
                break
            self._begin_call(batch)

    def _begin_call(self, batch: Batch) -> None:
        scene, truth, now = self._scene, self._scene.truth, self._scene.clock.now
        scene.note(f"{self._consumer} call of {[root.id for root in batch.roots]} starts")
        batches.no_two_calls_share_a_key(batch, [each for each in self._book.running if each is not batch])
        others = list(truth.runs.values())
        begun: set[Record] = set()
        self._failed_alone.difference_update(batch.roots)
        for root, item in zip(batch.roots, batch.items, strict=True):
            assert isinstance(root.message, Record)
            run = Run(self._consumer, root.message, root.epoch, item.attempt)
            work.rule_23_nothing_begins_after_a_gap_until_a_commit_is_confirmed(
                run, now, scene.standstills.get(self._consumer), scene.scenario.gap_seconds
            )
            work.rule_15_attempts_are_counted(
                run.number, self._charged.get(root, 0) + 1, scene.scenario.retry.max_attempts
            )
            shadow = self._manager.shadows.get(root.tp)
            if shadow is None or shadow.in_flight.get(root.offset) is not root:
                raise RuleBroken("8", f"{run} starts for an assignment that has ended")
            rebalances.rule_7_nothing_starts_while_revoking(shadow, root)
            work.rules_9_and_13_keys_do_not_overlap(run, others, scene.scenario)
            batches.order_holds_inside(shadow, run, begun, truth)
            begun.add(run.record)
            work.repeats_only_what_nobody_was_told(run, truth, is_current=self._manager.is_still_ours(shadow))
            truth.repeated += run.record in truth.done
            truth.attempts += 1
            truth.runs[root] = run
        self._began_at[batch] = now

    def _mark_call(self, batch: Batch) -> None:
        runs = [self._scene.truth.runs[root] for root in batch.roots]
        if runs[0].is_marked:
            return
        is_stubborn = self._scene.fault("stubborn attempts", 0.3)
        for run in runs:
            run.is_marked = True
            run.is_stubborn = run.is_stubborn or is_stubborn

    def _take_reports(self) -> None:
        """No message is charged or given up unless it failed alone or by name."""
        for root, retry in self._book.charged:
            if retry.is_charged:
                batches.only_its_own_failure_is_charged(root, self._failed_alone)
                self._charged[root] = retry.attempt
        self._book.charged.clear()
        self._book.searched.clear()
        finished = self._reports.drain(sys.maxsize)
        for failed in finished.failures:
            batches.only_its_own_failure_is_charged(failed.item, self._failed_alone)
            self._leave(failed.item)
            self.channel.failed(failed.item, failed.error, failed.attempt)
        for cancelled in finished.cancellations:
            self._leave(cancelled.item)
            self.channel.cancelled(cancelled.item, cancelled.attempt)
        for item in finished.successes:
            self._leave(item)
            self._manager.note_done(item)
            self.channel.succeeded(item)

    def _leave(self, item: WorkItem) -> None:
        self._open.remove(item)
        self._charged.pop(item, None)
        self._failed_alone.discard(item)
