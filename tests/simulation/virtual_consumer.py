"""One consumer of the group: the real pump and control plane between a fake poll thread and a fake engine.

Starts, stops in order, or dies, as ``PyrallelConsumer`` does; ``step_life`` takes the stop one step further.
"""

from __future__ import annotations

import contextvars
from math import inf
from typing import Any, cast

from pyrallel_consumer.control_plane.events import CoordinatorSilent, PollThreadFroze
from pyrallel_consumer.control_plane.membership import Membership
from pyrallel_consumer.control_plane.offsets.commit_sequence import CommitSequence
from pyrallel_consumer.dto import DlqPayloadMode, TopicPartition
from pyrallel_consumer.errors import MessageExhaustedError
from pyrallel_consumer.runtime.outcomes.dead_letters import DeadLetters
from pyrallel_consumer.runtime.pump.control_loop import ControlLoop
from tests.simulation.group import Group
from tests.simulation.letter_producer import POLICY, VirtualLetterProducer
from tests.simulation.oracles import circuits, figures, flow, rebalances
from tests.simulation.poll_side import PollSide
from tests.simulation.scene import Scene, Standstill
from tests.simulation.virtual_batches import VirtualBatchEngine
from tests.simulation.virtual_engine import VirtualEngine
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.watched_manager import WatchedManager

DRAIN_SECONDS = 0.5
CANCEL_SECONDS = 0.3
COMMIT_SECONDS = 1.0
RESUME_AT = 0.7


class VirtualConsumer:
    """``state`` goes from running over draining, cancelling, committing and closing to closed; or to dead."""

    def __init__(self, scene: Scene, group: Group, name: str) -> None:
        self.name = name
        self.state = "running"
        self.blocked_until = 0.0
        self._frozen_until = self._hung_until = self._cut_off_until = 0.0
        self._hung_since: float | None = None
        self._expires_at = inf
        self._scene = scene
        self._group = group
        self._deadline = 0.0
        self._starved_ticks = 0
        self._began_at = scene.clock.now
        self._is_open = False
        self._taken_before = 0
        self._hogging_ticks: dict[TopicPartition, int] = {}
        self._probeless_since: float | None = None
        self.manager = WatchedManager(scene, name)
        self._commits = CommitSequence(
            self.manager, scene.scenario.commit_interval_seconds, scene.scenario.give_up_seconds
        )
        batches = scene.scenario.batches
        self.engine = (
            VirtualEngine(scene, name, self.manager)
            if batches is None
            else VirtualBatchEngine(scene, name, self.manager, batches)
        )
        self._letters = VirtualLetterProducer(scene, self.manager)
        self._loop = VirtualLoop(scene.clock)
        self._control = ControlLoop(
            manager=self.manager,
            commits=self._commits,
            engine=self.engine,
            revoke_grace_seconds=scene.scenario.grace_seconds,
            loop=cast("Any", self._loop),
            base=contextvars.Context(),
            fail=self._fail,
            membership=Membership(scene.scenario.gap_seconds),
        )
        self.engine.channel = self._control.channel
        self._control.dead_letters = DeadLetters(
            self.manager,
            self._letters,
            suffix=".dlq",
            payload_mode=DlqPayloadMode.FULL,
            clock=scene.clock.creep,
            policy=POLICY,
        )
        self._control.on_tick.append(self._after_review)
        self.poll_side = PollSide(scene, group, name, self.manager, self._control.deliver)
        self._control.start(self.poll_side)
        self._note_doubts()

    @property
    def is_alive(self) -> bool:
        return self.state not in {"closed", "dead"}

    @property
    def is_frozen(self) -> bool:
        """Whether nothing of it moves except work in other processes."""
        return self._scene.has_faults and self._scene.clock.now < self._frozen_until

    @property
    def is_hung(self) -> bool:
        """Whether its poll thread hangs, alone."""
        return self._scene.has_faults and self._scene.clock.now < self._hung_until

    @property
    def is_cut_off(self) -> bool:
        """Whether the network drops its packets, in both directions."""
        return self._scene.has_faults and self._scene.clock.now < self._cut_off_until

    # What the world calls

    def poll(self) -> None:
        """A turn of the poll thread, which tells of its own gap at the end, unless it learned of a rebalance."""
        if self.is_hung:
            return
        rebalances = self.poll_side.rebalances
        self.poll_side.turn(is_cut_off=self.is_cut_off)
        since, self._hung_since = self._hung_since, None
        if since is not None and self.poll_side.rebalances == rebalances:
            self.poll_side.tell_of_gap(self._scene.clock.now - since)

    def hang_poll_thread(self, seconds: float, session_seconds: float) -> None:
        """The group removes it when the longest time between two polls is over."""
        if self.poll_side.is_asking:
            return
        now = self._scene.clock.now
        self._scene.note(f"the poll thread of {self.name} hangs for {seconds:.1f} s")
        self._hung_since, self._hung_until, self._expires_at = now, now + seconds, now + session_seconds

    def drop_packets(self, seconds: float, session_seconds: float) -> None:
        """Nothing reaches the group and nothing comes from it; it removes the member when its session is over."""
        now = self._scene.clock.now
        self._scene.note(f"{self.name} is cut off for {seconds:.1f} s")
        self._cut_off_until, self._expires_at = now + seconds, now + session_seconds

    def freeze(self, seconds: float, session_seconds: float) -> None:
        """A SIGSTOP; the group removes it when its session is over."""
        now = self._scene.clock.now
        self._scene.note(f"{self.name} is frozen for {seconds:.1f} s")
        self._frozen_until, self._expires_at = now + seconds, now + session_seconds
        self._stand_still(seconds)

    def block_loop(self, seconds: float) -> None:
        """A worker or a callback blocks the event loop; everything else goes on."""
        self.blocked_until = max(self.blocked_until, self._scene.clock.now + seconds)
        self._stand_still(seconds)

    def run_loop(self, most: int) -> bool:
        """Run at most this many callbacks of the event loop; returns whether there was one."""
        ran = False
        for _ in range(most):
            if not self._loop.run_one():
                break
            ran = True
            self._after_turn()
        return ran

    def answer_letter(self) -> None:
        """The broker's answer for a batch of dead letters is sent."""
        answered = self._letters.answer_batch()
        if answered is not None:
            self._control.deliver(answered)

    def resume_exhausted(self) -> None:
        """The operator resumes partitions that were paused for a failed message."""
        for shadow in list(self.manager.shadows.values()):
            self.manager.resume(shadow.tp, "exhausted")

    def stop(self) -> None:
        """Begin the stop in order."""
        if self.state == "running":
            self._scene.note(f"{self.name} stops")
            self.state = "draining"
            self._deadline = self._scene.clock.now + DRAIN_SECONDS
            self.poll_side.stop_fetching()
            self.manager.stop_all_dispatching()
            self.engine.withdraw(lambda _: True)

    def step_life(self) -> None:
        """Continue the stop, if it is time."""
        now = self._scene.clock.now
        if now >= self._expires_at and (self.is_frozen or self.is_hung or self.is_cut_off):
            self._expires_at = inf
            self._group.expire(self.name, is_alive=True)
        if self.is_frozen:
            return
        is_drained = not self.engine.running() and not self._control.channel.has_items
        if self.state == "draining" and (is_drained or now >= self._deadline):
            if not is_drained:
                self.engine.cancel(lambda _: True)
            self.state, self._deadline = "cancelling", now + CANCEL_SECONDS
        elif self.state == "cancelling" and (is_drained or now >= self._deadline):
            self._control.begin_final_commits()
            self.state, self._deadline = "committing", now + COMMIT_SECONDS
        elif self.state == "committing":
            is_committed = not (self._commits.is_under_way or self.manager.has_uncommitted)
            if is_committed or now >= self._deadline:
                self.poll_side.close()
                self.state = "closing"
        elif self.state == "closing" and self.poll_side.is_closed:
            self._end("closed")

    def die(self) -> None:
        """As by kill -9."""
        self._scene.note(f"{self.name} dies")
        self._end("dead")

    # Inside

    def _note_doubts(self) -> None:
        """The loop's lease hears of each gap of the poll thread; from then on nothing may begin."""
        lease = self._control.lease
        doubt = lease.doubt

        def noted(fact: PollThreadFroze | CoordinatorSilent) -> None:
            doubt(fact)
            self._scene.hear_of_doubt(self.name)

        lease.doubt = noted  # type: ignore[method-assign]  # it stands between the real ones

    def _stand_still(self, seconds: float) -> None:
        now, before = self._scene.clock.now, self._scene.standstills.get(self.name)
        if seconds > self._scene.scenario.gap_seconds:
            if before is not None and before.ends_at > now:
                self._scene.standstills[self.name] = Standstill(before.began_at, max(before.ends_at, now + seconds))
            else:
                self._scene.standstills[self.name] = Standstill(now, now + seconds)

    def _end(self, state: str) -> None:
        self.state = state
        self._control.stop()
        for item in self._scene.truth.runs_of(self.name):
            del self._scene.truth.runs[item]
        for key in [key for key in self._scene.current_epochs if key[0] == self.name]:
            del self._scene.current_epochs[key]

    def _fail(self, error: BaseException) -> None:
        if not isinstance(error, MessageExhaustedError):
            raise error
        self.stop()

    def _fullness(self) -> tuple[float, float]:
        limits, shadows = self._scene.scenario.work.limits, self.manager.shadows.values()
        messages = sum(len(shadow.unfinished) for shadow in shadows)
        return messages / limits.max_messages, self.manager.size_bytes / limits.max_bytes

    def _after_turn(self) -> None:
        self.manager.check_all()
        self.engine.check_slots()
        if self._is_open != self.manager.circuit.is_open:
            self._is_open = self.manager.circuit.is_open
            self._scene.note(f"{self.name}: the circuit {'opens' if self._is_open else 'closes'}")
        flow.rule_20_pauses_at_the_limit(self.poll_side.granted - self.manager.taken, max(self._fullness()))
        if self.manager.circuit.is_open:
            circuits.reads_at_most_one_message(self.poll_side.granted - self.manager.taken)
        if not self._control.channel.has_items:
            going = [shadow for shadow in self.manager.shadows.values() if shadow.is_revoking]
            unfinished = sum(len(shadow.in_flight) + len(shadow.held) for shadow in going)
            rebalances.rule_7_waits_only_for_work_and_letters(self._control.is_rebalancing, unfinished)

    def _after_review(self, now: float) -> None:
        self._judge_figures(now)
        self._judge_circuit(now)
        taken = self.manager.taken
        is_open = self.manager.circuit.is_open
        is_starved = (
            not is_open
            and not self.manager.rate.is_limited  # There are enough messages, and the next one may be too large.
            and max(self._fullness()) <= RESUME_AT
            and self.poll_side.granted == taken == self._taken_before
        )
        self._starved_ticks = self._starved_ticks + 1 if is_starved else 0
        self._taken_before = taken
        flow.rule_20_resumes_below_the_limit(self._starved_ticks)
        limits = self._scene.scenario.work.limits
        parts = {
            tp: max(len(shadow.unfinished) / limits.max_messages, shadow.size_bytes / limits.max_bytes)
            for tp, shadow in self.manager.shadows.items()
        }
        idle = sum(1 for part in parts.values() if part == 0)
        for tp, part in parts.items():
            is_hogging = idle > 0 and part >= 1 - 0.5 * idle / len(parts)
            is_paused = "share" in self.manager.pause_reasons(tp)
            self._hogging_ticks[tp] = self._hogging_ticks.get(tp, 0) + 1 if is_hogging and not is_paused else 0
            flow.rule_20_one_partition_leaves_room(tp, self._hogging_ticks[tp])

    def _judge_circuit(self, now: float) -> None:
        manager, policy = self.manager, self.manager.policy.circuit
        may_probe = (
            self.state == "running"
            and manager.circuit.is_open
            and not self._control.lease.is_held
            and self.engine.capacity() > 0
            and any(work.ready and work.is_dispatching for work in manager)
        )
        if not may_probe or policy is None:
            self._probeless_since = None
            return
        since = now if self._probeless_since is None else self._probeless_since
        self._probeless_since = max(since, manager.probed_at, self.blocked_until, self._frozen_until)
        circuits.rule_29_a_probe_is_under_way_or_due(now - self._probeless_since, policy.probe_seconds)

    def _judge_figures(self, now: float) -> None:
        manager = self.manager
        manager.observe_slowness(now, free_slots=self.engine.capacity())
        for work in manager:
            figures.a_moment_has_one_cause(work, now - self._began_at)
            if manager.policy.poison is None:  # Messages of poisoned keys end untried.
                figures.rule_14_what_ended_was_timed_once(work, manager.fenced_completions)
