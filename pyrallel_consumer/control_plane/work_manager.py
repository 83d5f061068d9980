"""The one funnel of the control plane: every fact about assignments, messages and completions goes through here.

Owned by the event loop. It decides what starts next, which offsets may be committed, how much may be read and which
partitions pause; others act on that. Epochs and item identity fence off everything that an ended assignment still
sends. A key whose head still runs from an ended assignment *lingers*: it starts nothing new until that head ended.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.events import Pause, Resume
from pyrallel_consumer.control_plane.failures.failure_circuit import FailureCircuit
from pyrallel_consumer.control_plane.failures.poison_keys import PoisonKeys
from pyrallel_consumer.control_plane.flow.allowance import Allowance
from pyrallel_consumer.control_plane.flow.backpressure import Backpressure, FairShares, Load
from pyrallel_consumer.control_plane.flow.loads import Loads
from pyrallel_consumer.control_plane.flow.pauses import Pauses
from pyrallel_consumer.control_plane.partitions.latency import MOST_PENDING, Latencies
from pyrallel_consumer.control_plane.partitions.partition_counters import PartitionCounters
from pyrallel_consumer.control_plane.partitions.partition_work import EXACT_MESSAGES, PartitionWork
from pyrallel_consumer.control_plane.partitions.run_work import RunLength, RunWork
from pyrallel_consumer.control_plane.policies import FlowLimits, OrderingPolicy
from pyrallel_consumer.dto import OnExhausted, RebalanceStateStrategy
from pyrallel_consumer.errors import InvariantViolation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyrallel_consumer.control_plane.events import Assigned, CommitSnapshot, OffsetWentBack, PositionAdvanced
    from pyrallel_consumer.control_plane.failures.failure_circuit import CircuitPolicy
    from pyrallel_consumer.control_plane.failures.poison_keys import PoisonPolicy
    from pyrallel_consumer.control_plane.partitions.partition_work import Lingering
    from pyrallel_consumer.control_plane.partitions.virtual_partition import VirtualPartition
    from pyrallel_consumer.dto import Message, TopicPartition, WorkItem

COUNTED_PER_SECOND = 20_000
"""Unfinished messages whose bytes are counted for the picture alone: less than a hundredth of the time."""

FEW_LISTED = 16
"""So many partitions with something ready are looked at one by one: that costs less than to keep the sum up."""

TAKE_QUANTUM = 32
"""Items that one partition may start before the next one has its turn."""


@dataclass(frozen=True, slots=True)
class WorkPolicy:
    """What the control plane obeys.

    ``circuit`` counts where exhausted messages are let go (``dlq``, ``skip``), ``poison`` where they are dead-lettered.
    ``is_sending_ahead``: the engine keeps the order of a key itself, and is sent runs of it (see ``allow_runs``).
    ``is_timed``: durations are taken, and whoever takes items or ends them tells the time.
    """

    ordering: OrderingPolicy = field(default_factory=OrderingPolicy)
    limits: FlowLimits = field(default_factory=FlowLimits)
    state_strategy: RebalanceStateStrategy = RebalanceStateStrategy.METADATA_SNAPSHOT
    on_exhausted: OnExhausted = OnExhausted.DLQ
    circuit: CircuitPolicy | None = None
    poison: PoisonPolicy | None = None
    is_sending_ahead: bool = False
    is_timed: bool = False


class WorkManager:
    """Assigned partitions and the work in them."""

    def __init__(self, policy: WorkPolicy) -> None:
        self.policy = policy
        self.backpressure = Backpressure(policy.limits)
        self.fenced_completions = 0
        is_dlq = policy.on_exhausted is OnExhausted.DLQ
        self.circuit = FailureCircuit(policy.circuit if is_dlq or policy.on_exhausted is OnExhausted.SKIP else None)
        self.poison_keys = PoisonKeys(policy.poison if is_dlq else None)
        self._condemned: list[WorkItem] = []
        self._is_timed = policy.is_timed
        self._with_map = policy.state_strategy is RebalanceStateStrategy.METADATA_SNAPSHOT
        self._shares = FairShares(policy.limits)
        self._loads = Loads(policy.limits)
        self._troubled: dict[PartitionWork, None] = {}
        self._allowance = Allowance()
        self._works: dict[TopicPartition, PartitionWork] = {}
        self._lingering: Lingering = {}
        self._listed: deque[PartitionWork] = deque()
        self._pauses = Pauses()
        self._run_length = RunLength()
        self._is_dispatching = True
        self._bytes_due_at = 0.0
        self._away: dict[TopicPartition, PartitionCounters] = {}

    def __iter__(self) -> Iterator[PartitionWork]:
        return iter(self._works.values())

    def __len__(self) -> int:
        return len(self._works)

    # Assignments

    def assign(self, assigned: Assigned) -> None:
        """A partition is ours under a new epoch."""
        if assigned.tp in self._works:
            msg = f"{assigned.tp} was assigned while it was assigned"
            raise InvariantViolation(msg)
        ordering, lingering = self.policy.ordering, self._lingering
        if self.policy.is_sending_ahead:
            work: PartitionWork = RunWork(assigned, ordering, lingering, self._run_length)
        else:
            work = PartitionWork(assigned, ordering, lingering)
        self._works[assigned.tp] = work
        work.carry_on(self._away.pop(assigned.tp, PartitionCounters()))
        if self._is_timed:
            work.latency = work.latency or Latencies()
        self._loads.assign(work)

    def stop_dispatching(self, tps: Iterable[TopicPartition]) -> None:
        """Start nothing more of these partitions: they are about to be revoked."""
        for tp in tps:
            if (work := self._works.get(tp)) is not None:
                work.is_dispatching = False
                self._loads.touch(work)

    def stop_all_dispatching(self) -> None:
        """Start nothing more at all, whatever is assigned from now on: the consumer stops."""
        self._is_dispatching = False

    def end(self, partitions: Iterable[tuple[TopicPartition, int]], *, is_lost: bool) -> tuple[CommitSnapshot, ...]:
        """Snapshot and fence in one step; returns what is to be committed, nothing for lost partitions.

        Partitions that are not assigned under the named epoch are passed over.
        """
        snapshots = []
        for tp, epoch in partitions:
            work = self._works.get(tp)
            if work is None or work.epoch != epoch:
                continue
            snapshot = None if is_lost else self._snapshot(work)
            if snapshot is not None:
                snapshots.append(snapshot)
            self._away[tp] = work.tally
            work.fence()
            self._loads.end(work)
            self._troubled.pop(work, None)
            del self._works[tp]
            self.poison_keys.forget(tp)
            self._pauses.forget(tp)
        return tuple(snapshots)

    def go_back(self, fact: OffsetWentBack) -> None:
        """Offsets come a second time: a new epoch begins within the assignment."""
        work = self._works.get(fact.tp)
        if work is not None and work.epoch == fact.old_epoch:
            work.go_back(fact.epoch, fact.offset, fact.leader_epoch)
            self._loads.touch(work)
            if not work.held:
                self.resume(fact.tp, "exhausted")  # The message that it was paused for is gone.
            self._pauses.repeat(fact.tp)

    @property
    def processed(self) -> int:
        """Messages done since the consumer began, those of ended assignments included."""
        return sum(tally.finished for tally in self._away.values()) + sum(
            work.finished for work in self._works.values()
        )

    @property
    def failed(self) -> int:
        """Messages whose last attempt failed, since the consumer began."""
        return sum(tally.failed for tally in self._away.values()) + sum(work.failed for work in self._works.values())

    @property
    def settled(self) -> int:
        """Those of the done messages whose last attempt had failed: dead-lettered or skipped."""
        return sum(tally.settled for tally in self._away.values()) + sum(work.settled for work in self._works.values())

    # Messages in, items out, completions back

    def add(self, tp: TopicPartition, epoch: int, messages: Sequence[Message]) -> None:
        """Take in a run of one partition's messages; what belongs to an ended assignment is dropped."""
        work = self._works.get(tp)
        if work is not None and work.epoch == epoch and messages:
            before = work.load.size_bytes
            work.add(messages)
            self._loads.touch(work)
            self.backpressure.observe_size(len(messages), work.load.size_bytes - before)
            self._list(work)

    def advance(self, fact: PositionAdvanced) -> None:
        """The client's position passed what was delivered: trailing markers, holes at the end."""
        work = self._works.get(fact.tp)
        if work is not None and work.epoch == fact.epoch:
            work.tracker.advance(fact.position)

    def allow_runs(self, most: int) -> None:
        """From now on up to ``most`` items of one virtual partition may be in flight, where they are sent ahead."""
        self._run_length.most = most

    def take(self, most: int, slots: int | None = None, now: float | None = None) -> list[WorkItem]:
        """Start up to ``most`` items, across partitions in turn; ``now`` is the time where they are timed.

        ``slots`` (default: ``most``) is how many could start if asked for: a partition with more than that ready
        starts its lowest offsets first, and one with fewer does not sort them. While the circuit is open a probe is
        all that starts. Items of poisoned keys are left out: ``take_condemned`` has them.
        """
        if self.circuit.is_open:
            return self._take_probe(now) if most > 0 else []
        slots = most if slots is None else slots
        started: list[WorkItem] = []
        listed = self._listed
        while listed and len(started) < most and self._is_dispatching:
            work = listed.popleft()
            if not work.is_dispatching:
                work.is_listed = False
                continue
            started += work.take(min(TAKE_QUANTUM, most - len(started)), slots - len(started), now)
            self._loads.touch(work)
            if work.ready:
                listed.append(work)
            else:
                work.is_listed = False
        return self._without_condemned(started) if self.poison_keys else started

    def take_condemned(self) -> list[WorkItem]:
        """Items that were not started because their keys are poisoned: held, and to be dead-lettered untried."""
        condemned, self._condemned = self._condemned, []
        return condemned

    def succeed(self, items: Sequence[WorkItem], now: float | None = None) -> None:
        """These items are processed; ``now`` is the time where they are timed."""
        self.circuit.succeeded(items)
        if self.poison_keys:
            for item in items:
                self.poison_keys.succeeded(item)
        loads = self._loads
        for item in items:
            work: PartitionWork = item._origin.work
            if not work.is_touched:
                loads.touch(work)
            if work.tracker.unfinished.get(item._offset) is not item:
                if now is not None:
                    work.time(item, now)  # Its offset came again: the worker took that long.
                self._end_fenced(item)
            elif work.finish(item, now) and not work.is_listed:
                self._list(work)

    def exhaust(self, item: WorkItem, now: float | None = None, *, is_hopeless: bool = False) -> OnExhausted | None:
        """The last attempt of ``item`` failed, at the time ``now`` where it is timed.

        Returns what is to be done about it, None where that is nothing. ``is_hopeless``: it can never succeed, and says
        nothing of an outage.
        ``skip`` has completed the offset. With all others the item is held until ``settle``. Nothing is to be done
        where it was fenced off, and while the circuit is open: then the item is ready again, for another round.
        """
        work: PartitionWork = item.origin.work
        is_kept = False
        if is_hopeless:
            self.circuit.gave_up(item)
        else:
            is_kept = self.circuit.failed(item)
        self._loads.touch(work)
        if not work.is_current(item):
            self._end_fenced(item)
            return None
        if is_kept:
            work.put_back(item)
            self._list(work)
            return None
        self.poison_keys.failed(item)
        work.hold(item)
        self._troubled[work] = None
        if now is not None:
            work.time(item, now)
        if self.policy.on_exhausted is OnExhausted.SKIP:
            self.settle(item)
        elif self.policy.on_exhausted is OnExhausted.PAUSE_PARTITION:
            self.pause(item.tp, "exhausted")
        return self.policy.on_exhausted

    def settle(self, item: WorkItem) -> None:
        """A held item is done with: its dead letter was acknowledged, or it is skipped."""
        work: PartitionWork = item.origin.work
        if work.is_current(item):
            work.finish_held(item)
            self._loads.touch(work)
            self._list(work)

    def cancel(self, item: WorkItem) -> None:
        """An attempt was cancelled and is not charged: the item is ready again, unless it was fenced off."""
        work: PartitionWork = item.origin.work
        self.circuit.gave_up(item)
        if work.is_current(item):
            work.put_back(item)
            self._loads.touch(work)
            self._list(work)
        else:
            self._end_fenced(item)

    def is_current(self, item: WorkItem) -> bool:
        """Whether ``item`` belongs to an assignment that goes on."""
        return bool(item.origin.work.is_current(item))

    # Commits

    def snapshots(self, *, is_repeating: bool = False) -> tuple[CommitSnapshot, ...]:
        """What is worth committing: partitions whose offset or map the broker does not have.

        With ``is_repeating`` those that the broker has are told again, as they are.
        """
        candidates = (
            work.snapshot(with_map=self._with_map, is_repeating=is_repeating) for work in self._works.values()
        )
        return tuple(snapshot for snapshot in candidates if snapshot is not None)

    @property
    def has_uncommitted(self) -> bool:
        """Whether ``snapshots`` would return anything; cheap, encodes nothing."""
        with_map = self._with_map
        return any(work.is_worth_committing(with_map=with_map) for work in self._works.values())

    def confirm(self, snapshot: CommitSnapshot) -> None:
        """The broker has confirmed ``snapshot``."""
        work = self._works.get(snapshot.tp)
        if work is not None and work.epoch == snapshot.epoch:
            work.confirm(snapshot)

    def shrink_metadata(self, snapshot: CommitSnapshot) -> None:
        """The broker refused the size of ``snapshot``'s map: the next one is at most half as large, at last none."""
        work = self._works.get(snapshot.tp)
        if work is not None and work.epoch == snapshot.epoch:
            work.shrink_metadata(len(snapshot.metadata))

    # Flow

    @property
    def load(self) -> Load:
        """What is read and not finished, over all partitions; its bytes are measured anew where they matter."""
        return self._loads.measured_load

    @property
    def room(self) -> int:
        """How many more messages may be read now, of any partition that is not paused."""
        load = self.load
        room = self.backpressure.room(load)
        if self.circuit.is_open:
            return min(room, 1) if self._needs_another_probe(load) else 0
        if room == 0 or len(self._works) <= 1:
            return room
        anybodys = self._shares.certain_room(load, self.backpressure.message_bytes)
        if anybodys is not None:
            return min(room, anybodys)
        parts = self._loads.parts(self._full_partitions())
        return min(room, self._shares.room(parts, self.backpressure.message_bytes))

    def allowed(self, taken: int, *, free_slots: int) -> int:
        """How many messages may be handed on in all, of which ``taken`` have come; the engine has ``free_slots``."""
        waiting = self._loads.load.messages - self.in_flight
        is_idle = free_slots > 0 and not self.ready
        return self._allowance.allow(taken + self.room, waiting=waiting, is_idle=is_idle)

    @property
    def in_flight(self) -> int:
        """Items started and not finished, those of ended assignments left out."""
        return self._loads.in_flight

    @property
    def ready(self) -> int:
        """Items that could start now."""
        if self.circuit.is_open:
            return int(self._is_dispatching and self.circuit.wants_probe and bool(self._listed))
        if not self._is_dispatching:
            return 0
        listed = self._listed
        if len(listed) > FEW_LISTED:
            return self._loads.ready
        return sum([len(work.ready) for work in listed if work.is_dispatching])

    def note_failing(self, items: Iterable[WorkItem]) -> None:
        """Which items wait for a retry: they and what is behind them count as blocked."""
        troubled = self._troubled
        for work in troubled:
            work.failing.clear()
            work.blocked = sum(1 + len(item.origin.waiting or ()) for item in work.held.values())
            self._loads.touch(work)
        self._troubled = {work: None for work in troubled if work.held}
        for item in items:
            work = item.origin.work
            if work.is_current(item):
                work.blocked += 1 + len(item.origin.waiting or ())
                work.failing.add(item.offset)
                self._troubled[work] = None
                self._loads.touch(work)

    def review_shares(self) -> None:
        """Pause the partitions that filled their share of the buffer, resume those that made room."""
        full = self._full_partitions()
        if not full and self._shares.certain_room(self._loads.load, self.backpressure.message_bytes) is not None:
            self._shares.pass_over()
            return
        now_full = self._shares.review(self._loads.parts(full))
        for tp in now_full - full:
            self.pause(tp, "share")
        for tp in full - now_full:
            self.resume(tp, "share")

    def pause(self, tp: TopicPartition, reason: str) -> None:
        """Fetch no more of ``tp`` until this reason, and every other, is gone."""
        if tp in self._works:
            self._pauses.add(tp, reason)

    def resume(self, tp: TopicPartition, reason: str) -> None:
        """This reason to pause is gone. With ``exhausted`` the messages that gave it are tried again."""
        if self._pauses.remove(tp, reason) and reason == "exhausted":
            work = self._works[tp]
            work.put_back_held()
            self._loads.touch(work)
            self._list(work)

    def pause_reasons(self, tp: TopicPartition) -> tuple[str, ...]:
        """Why ``tp`` is paused, sorted; empty where it is not."""
        reasons = self._pauses.reasons(tp)
        return tuple(sorted(reasons | {"circuit"} if self.circuit.is_open else reasons))

    def take_pause_changes(self) -> list[Pause | Resume]:
        """The commands that bring the client in line with the reasons; empty where nothing changed."""
        works = self._works
        return [
            Pause(tp, works[tp].epoch) if is_paused else Resume(tp, works[tp].epoch)
            for tp, is_paused in self._pauses.take_changes()
        ]

    def observe(self, now: float) -> None:
        """A tick: note the time, since when each blocking offset blocks, what is loaded, and how much is done."""
        self.circuit.observe(now)
        self.poison_keys.observe(now)
        for work in self._loads.take_moved():
            work.observe(now)
            if work.latency is not None and len(work.latency.pending) > MOST_PENDING:
                work.latency.settle()
        messages = self._loads.load.messages
        if now >= self._bytes_due_at or messages <= EXACT_MESSAGES:
            self._bytes_due_at = now + messages / COUNTED_PER_SECOND
            self._loads.count_bytes()
        self._allowance.tick(self.processed)

    def observe_slowness(self, now: float, *, free_slots: int) -> None:
        """Note why each partition is not faster now; to be asked several times a second."""
        is_open = self.circuit.is_open
        is_held_back = self.backpressure.is_active
        has_free_slots = free_slots > 0 and not is_open
        for tp, work in self._works.items():
            work.look(
                now,
                is_held_back=is_held_back or bool(self._pauses.reasons(tp)),
                is_circuit_open=is_open,
                has_free_slots=has_free_slots and self._is_dispatching,
            )

    @property
    def _has_probes(self) -> bool:
        """Whether anything runs or could run: if not, all that is read waits for dead letters, or nothing is read."""
        return self._loads.in_flight > 0 or self._loads.ready > 0

    def _needs_another_probe(self, load: Load) -> bool:
        """Whether a message is to be read for the open circuit: nothing is left that was not tried, or may start."""
        if self.circuit.wants_probe:
            return not self._listed
        return not self._has_probes or load.messages <= self.circuit.failed_probes

    def _take_probe(self, now: float | None) -> list[WorkItem]:
        """One item, another one than last time where there are several: a poison message is no good probe."""
        circuit, listed = self.circuit, self._listed
        while circuit.wants_probe and listed and self._is_dispatching:
            work = listed.popleft()
            work.is_listed = False
            if work.is_dispatching and work.ready:
                item = work.take_probe(now)
                self._loads.touch(work)
                self._list(work)
                if item is not None:
                    circuit.probe_with(item)
                    return [item]
        return []

    def _without_condemned(self, items: list[WorkItem]) -> list[WorkItem]:
        sound, poisoned = self.poison_keys.part(items)
        for item in poisoned:
            work: PartitionWork = item.origin.work
            self._loads.touch(work)
            self._troubled[work] = None
            if work.condemn(item):
                self._condemned.append(item)
        return sound

    def _full_partitions(self) -> set[TopicPartition]:
        return self._pauses.paused_for("share")

    def _snapshot(self, work: PartitionWork) -> CommitSnapshot | None:
        return work.snapshot(with_map=self._with_map)

    def _list(self, work: PartitionWork) -> None:
        if work.ready and work.is_dispatching and not work.is_listed:
            work.is_listed = True
            self._listed.append(work)

    def _end_fenced(self, item: WorkItem) -> None:
        """The attempt of an ended assignment ended: only now may its key go on under the new one."""
        self.fenced_completions += 1
        lane: VirtualPartition = item.origin
        if not lane.let_go(item):
            return
        self._loads.touch(lane.work)
        if self._lingering.get((lane.work.tp, lane.key)) is not lane:
            self._list(lane.work)  # Only the end of what it had sent ahead was forgotten.
            return
        del self._lingering[lane.work.tp, lane.key]
        if lane.successor is not None:
            lane.successor.follow()
            self._loads.touch(lane.successor.work)
            self._list(lane.successor.work)
