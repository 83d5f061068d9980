"""An engine around the real ``Attempts``: the world decides when and how attempts end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.errors import DoNotRetry, ProcessDiedError, RetryLater
from pyrallel_consumer.execution_plane.attempts import Attempt, Attempts, Exhausted, RetryAt, Uncharged, Verdict
from pyrallel_consumer.execution_plane.engine import (
    CompletionChannel,
    EngineStatus,
    ExecutionEngine,
    StuckAttempt,
)
from pyrallel_consumer.execution_plane.processes.parent.key_order import KeyOrder
from tests.simulation.oracles import rebalances, work
from tests.simulation.oracles.verdict import RuleBroken
from tests.simulation.scene import Scene
from tests.simulation.topic_log import Record
from tests.simulation.truth import Run
from tests.simulation.watched_manager import WatchedManager

CUT_SHORT_SHARE = 0.7


class VirtualEngine(ExecutionEngine):
    """Checks the rules of section *Work* at every start and end of an attempt."""

    def __init__(self, scene: Scene, consumer: str, manager: WatchedManager) -> None:
        self._scene = scene
        self._consumer = consumer
        self._manager = manager
        scenario = scene.scenario
        self.is_keeping_order = scenario.work.is_sending_ahead  # type: ignore[misc]  # by scenario, not by class
        self._attempts = Attempts(
            scenario.retry, scenario.slots, scene.random.random, is_timing=not self.is_keeping_order
        )
        self._runs = KeyOrder()
        self._charged: dict[WorkItem, int] = {}
        self._held: list[Attempt] = []
        self.channel: CompletionChannel

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        self.channel = channel

    async def stop(self, timeout_seconds: float) -> None:
        raise NotImplementedError

    # What the control loop calls

    def capacity(self) -> int:
        return self._attempts.capacity

    def run_length(self) -> int:
        """The length of a run varies, as in engines that learn how long an item takes."""
        longest = self._scene.scenario.run_length
        return longest if self._scene.random.random() < 0.8 else self._scene.random.randint(1, longest)

    def submit(self, item: WorkItem) -> None:
        attempt = self._attempts.start(item, self._scene.clock.now)
        if not self._runs.add(item):
            self._give_back(item)
        elif self._runs.is_first(item) and self._begin(attempt) and self._scene.random.random() < 0.1:
            self.end(item, "ok")

    def sweep(self, now: float) -> None:
        for attempt in self._expired(now):
            self._mark(attempt)
        if now <= self.channel.starts_until:
            for attempt in self._attempts.due(now, self._scene.scenario.slots):
                self._begin(attempt)
        self.check_slots()

    def heed_lease(self) -> None:
        held, self._held = self._held, []
        for attempt in held:
            if self._attempts.running.get(attempt.root) is attempt:
                self._begin(attempt)

    def next_sweep_at(self) -> float | None:
        moments = [self._attempts.next_due_at(with_retries=self.channel.starts_until > -inf)]
        if self.is_keeping_order and self._timeout_seconds:
            moments += [
                attempt.started_at + self._timeout_seconds for attempt in self._begun() if not attempt.marked_at
            ]
        return min((moment for moment in moments if moment is not None), default=None)

    def running(self, which: Callable[[WorkItem], bool] | None = None) -> int:
        return sum(1 for item in self._attempts.running if which is None or which(item))

    def waiting(self) -> Sequence[WorkItem]:
        return self._attempts.waiting()

    def withdraw(self, which: Callable[[WorkItem], bool]) -> None:
        for root, uncharged in self._attempts.withdraw(which):
            self._charged.pop(root, None)
            self.channel.cancelled(root, uncharged.attempt)
            self._runs.broke(root, is_final=True)
        for root in self._unbegun():
            if which(root):
                self._give_back(root)

    def cancel(self, which: Callable[[WorkItem], bool]) -> None:
        for attempt in self._attempts.cancel(which, self._scene.clock.now):
            if attempt.root in self._scene.truth.runs:
                self._mark(attempt)
            else:
                self._give_back(attempt.root)

    def stuck(self, now: float) -> Sequence[StuckAttempt]:
        return ()

    def status(self) -> EngineStatus:
        return EngineStatus(
            self.running(), self._attempts.waiting_count, self._attempts.due_count, self._attempts.retries_total, 0
        )

    # What the world calls

    def endable(self) -> list[WorkItem]:
        """Items whose attempt may end now, oldest start first; stubborn ones end when the faults do.

        Doomed items that were sent ahead are among them: they may be reported late.
        """
        runs, has_faults = self._scene.truth.runs, self._scene.has_faults
        return [
            item
            for item in self._attempts.running
            if (not (has_faults and runs[item].is_stubborn) if item in runs else self._runs.is_doomed(item))
        ]

    def end_by_chance(self, item: WorkItem) -> None:
        """Cancelled attempts usually raise, others usually return."""
        scene = self._scene
        if item not in scene.truth.runs:
            self.end(item, "unbegun")
            return
        run = scene.truth.runs[item]
        if not run.is_marked and scene.fault("stubborn attempts", 0.03):
            run.is_stubborn = True
            return
        is_cut_short = run.is_marked and scene.random.random() < CUT_SHORT_SHARE
        is_outage = scene.is_outage and scene.fault("outage", 1.0)
        is_failure = is_cut_short or is_outage or scene.fault("failures", scene.scenario.failure_share)
        self.end(item, "failed" if is_failure else "ok")

    def end(self, item: WorkItem, how: str) -> None:
        """The attempt of ``item`` returned or raised; or it is doomed, and that is reported now."""
        scene = self._scene
        if item not in scene.truth.runs:
            self._give_back(item)
            return
        run = scene.truth.runs.pop(item)
        if how == "ok":
            verdict = self._returned(item)
            work.rule_28_what_returned_is_done(run, verdict)
        else:
            verdict = self._attempts.ended_failed(item, self._error(how), scene.clock.now)
        scene.note(f"{self._consumer} {item!r} ended {how}: {verdict}")
        match verdict:
            case None:
                self._manager.note_done(item)
                self.channel.succeeded(item)
            case Exhausted():
                self.channel.failed(item, verdict.error, verdict.attempt)
            case Uncharged():
                self.channel.cancelled(item, verdict.attempt)
            case _:
                self._charged[item] = run.number - (not verdict.is_charged)
                self.channel.notify()
        if verdict is None:
            following = self._runs.succeeded(item)
            if following is not None:
                self._begin(self._attempts.running[following])
        else:
            self._runs.broke(item, is_final=not isinstance(verdict, RetryAt))
        self.check_slots()

    def kill_worker(self, most: int) -> None:
        """A worker process dies: ``most`` attempts that began fail, stubborn or not; as many unbegun are given back."""
        unbegun = self._unbegun()[:most]
        for attempt in self._begun()[:most]:
            self.end(attempt.root, "died")
        for item in unbegun:
            if item in self._attempts.running and item not in self._scene.truth.runs:
                self._give_back(item)

    def check_slots(self) -> None:
        attempts = self._attempts
        capacity = attempts.capacity  # asked first: looking may give a slot to a retry
        running = len(self._scene.truth.runs_of(self._consumer)) + len(self._unbegun())
        work.rule_15_slots_hold(running, attempts.due_count, capacity, self._scene.scenario.slots)

    # Inside

    @property
    def _timeout_seconds(self) -> float:
        return self._scene.scenario.retry.timeout_ms / 1000

    def _begun(self) -> list[Attempt]:
        return [attempt for item, attempt in self._attempts.running.items() if item in self._scene.truth.runs]

    def _unbegun(self) -> list[WorkItem]:
        return [item for item in self._attempts.running if item not in self._scene.truth.runs]

    def _expired(self, now: float) -> list[Attempt]:
        """An item that was sent ahead is timed from its real beginning."""
        if not (self.is_keeping_order and self._timeout_seconds):
            return self._attempts.expired(now)
        found = [
            attempt
            for attempt in self._begun()
            if not attempt.marked_at and attempt.started_at + self._timeout_seconds <= now
        ]
        for attempt in found:
            self._attempts.time_out(attempt, now)
        return found

    def _give_back(self, item: WorkItem) -> None:
        """Given back unbegun and uncharged, together with the items behind it."""
        uncharged = self._attempts.ended_cancelled(item, self._scene.clock.now)
        self._scene.note(f"{self._consumer} {item!r} is given back unbegun")
        self._runs.broke(item, is_final=True)
        self.channel.cancelled(item, uncharged.attempt)

    def _returned(self, item: WorkItem) -> Verdict | None:
        """The outcome of a call that returned: success, unless a bug is planted."""
        ended_ok: Callable[[WorkItem, float], Verdict | None] = self._attempts.ended_ok
        return ended_ok(item, self._scene.clock.now)

    def _error(self, how: str = "failed") -> BaseException:
        if how == "died":
            return ProcessDiedError("the worker process died")
        random = self._scene.random
        kind = random.random()
        if kind < 0.1:
            return DoNotRetry("no")
        if kind < 0.3:
            delay_ms = random.choice((0, 30, 300))
            return RetryLater(delay_ms, charge=delay_ms != 0)
        return ValueError("invalid data")

    def _begin(self, attempt: Attempt) -> bool:
        """Begin the item, or hold it until it may begin."""
        if self._scene.clock.now > self.channel.starts_until:
            attempt.started_at = inf
            self._held.append(attempt)
            return False
        self._began(attempt)
        return True

    def _began(self, attempt: Attempt) -> None:
        scene, item = self._scene, attempt.root
        assert isinstance(item.message, Record)
        run = Run(self._consumer, item.message, item.epoch, attempt.number)
        work.rule_23_nothing_begins_after_a_gap_until_a_commit_is_confirmed(
            run, scene.clock.now, scene.standstills.get(self._consumer), scene.scenario.gap_seconds
        )
        scene.note(f"{self._consumer} {item!r} attempt {attempt.number} starts")
        expected = self._charged.pop(item, 0) + 1
        work.rule_15_attempts_are_counted(run.number, expected, scene.scenario.retry.max_attempts)
        shadow = self._manager.shadows.get(item.tp)
        if shadow is None or shadow.in_flight.get(item.offset) is not item:
            raise RuleBroken("8", f"{run} starts for an assignment that has ended")
        rebalances.rule_7_nothing_starts_while_revoking(shadow, item)
        work.rules_9_and_13_keys_do_not_overlap(run, scene.truth.runs.values(), scene.scenario)
        work.rule_13_nothing_begins_before_those_before_it_are_done(shadow, run, scene.truth)
        attempt.started_at = scene.clock.now
        if run.number == 1:
            work.repeats_only_what_nobody_was_told(run, scene.truth, is_current=self._manager.is_still_ours(shadow))
            scene.truth.repeated += run.record in scene.truth.done
        scene.truth.attempts += 1
        scene.truth.runs[item] = run

    def _mark(self, attempt: Attempt) -> None:
        run = self._scene.truth.runs[attempt.root]
        run.is_marked = True
        run.is_stubborn = run.is_stubborn or self._scene.fault("stubborn attempts", 0.3)
