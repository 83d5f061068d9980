"""The only entry point of the control plane: every fact about assignments, messages and completions goes through here.

Owned by the event loop. It decides which message starts next, which offsets may be committed, how much may be read and
which partitions pause; other parts act on that. Epochs and item identity fence off late results of an ended assignment.
A key whose head still runs from an ended assignment *lingers*: it starts nothing new until that head has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.dispatch import Dispatch
from pyrallel_consumer.control_plane.failures.condemned_items import CondemnedItems
from pyrallel_consumer.control_plane.failures.failure_circuit import FailureCircuit
from pyrallel_consumer.control_plane.failures.poison_keys import PoisonKeys
from pyrallel_consumer.control_plane.flow.blocked_messages import BlockedMessages
from pyrallel_consumer.control_plane.flow.loads import Loads
from pyrallel_consumer.control_plane.flow.rate_limit import RateLimit
from pyrallel_consumer.control_plane.flow.reading_room import ReadingRoom
from pyrallel_consumer.control_plane.output.outbox import Outbox
from pyrallel_consumer.control_plane.partitions.assigned_partitions import AssignedPartitions
from pyrallel_consumer.control_plane.partitions.latency import MOST_PENDING
from pyrallel_consumer.control_plane.partitions.slowness import look_at
from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.dto import OnExhausted, RebalanceStateStrategy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyrallel_consumer.control_plane.events import (
        Assigned,
        CommitSnapshot,
        OffsetWentBack,
        Pause,
        PositionAdvanced,
        Resume,
    )
    from pyrallel_consumer.control_plane.flow.backpressure import Load
    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
    from pyrallel_consumer.dto import Message, TopicPartition, WorkItem


class WorkManager:
    """The assigned partitions and their work."""

    def __init__(self, policy: WorkPolicy) -> None:
        self.policy = policy
        self.fenced_completions = 0
        is_dlq = policy.on_exhausted is OnExhausted.DLQ
        self.circuit = FailureCircuit(policy.circuit if is_dlq or policy.on_exhausted is OnExhausted.SKIP else None)
        self.poison_keys = PoisonKeys(policy.poison if is_dlq else None)
        self._loads = Loads(policy.limits)
        self._works = AssignedPartitions(
            policy.ordering,
            self._loads,
            with_map=policy.state_strategy is RebalanceStateStrategy.METADATA_SNAPSHOT,
            is_sending_ahead=policy.is_sending_ahead,
            is_timed=policy.is_timed,
            is_writing=policy.is_writing,
        )
        self._dispatch = Dispatch(self._loads, self.circuit)
        self._reading = ReadingRoom(policy.limits, self._works, self._loads, self._dispatch, self.circuit)
        self.backpressure = self._reading.backpressure
        self.rate = RateLimit(policy.max_per_second)
        self.outbox = Outbox(self._works, self._loads, self._dispatch, self._returned)
        self._is_paused_by_user = False
        self._blocked = BlockedMessages(self._loads)
        self._condemned = CondemnedItems(self.poison_keys, self._loads, self._blocked)

    def __iter__(self) -> Iterator[PartitionWork]:
        return iter(self._works)

    def __len__(self) -> int:
        return len(self._works)

    # Assignments

    def assign(self, assigned: Assigned) -> None:
        """A partition is assigned under a new epoch."""
        self._works.assign(assigned)
        if self._is_paused_by_user:
            self.pause(assigned.tp, "user")

    def stop_dispatching(self, tps: Iterable[TopicPartition]) -> None:
        """Start no more messages of these partitions: they are about to be revoked."""
        for tp in tps:
            if (work := self._works.get(tp)) is not None:
                work.is_dispatching = False
                self._loads.touch(work)

    def stop_all_dispatching(self) -> None:
        """Start no more messages, also of partitions that are assigned from now on: the consumer stops."""
        self._dispatch.is_dispatching = False

    def end(self, partitions: Iterable[tuple[TopicPartition, int]], *, is_lost: bool) -> tuple[CommitSnapshot, ...]:
        """Snapshot and fence in one step; returns the last commits, none for lost partitions.

        Partitions that are not assigned under the given epoch are skipped.
        """
        snapshots = []
        for tp, epoch in partitions:
            work = self._works.under(tp, epoch)
            if work is None:
                continue
            snapshot = self._works.end(work, is_lost=is_lost)
            if snapshot is not None:
                snapshots.append(snapshot)
            self._blocked.forget(work)
            self.poison_keys.forget(tp)
            self._reading.forget(tp)
        return tuple(snapshots)

    def go_back(self, fact: OffsetWentBack) -> None:
        """Offsets were delivered a second time: a new epoch begins within the assignment."""
        work = self._works.under(fact.tp, fact.old_epoch)
        if work is not None:
            work.go_back(fact.epoch, fact.offset, fact.leader_epoch)
            self._loads.touch(work)
            if not work.held:
                self.resume(fact.tp, "exhausted")  # The message that it was paused for is gone.
            self._reading.repeat(fact.tp)

    @property
    def processed(self) -> int:
        """Messages done since the consumer started, including those of ended assignments."""
        return self._works.processed

    @property
    def failed(self) -> int:
        """Messages whose last attempt failed, since the consumer started."""
        return self._works.failed

    @property
    def settled(self) -> int:
        """Done messages whose last attempt had failed: they were dead-lettered or skipped."""
        return self._works.settled

    # Messages in, items out, completions back

    def add(self, tp: TopicPartition, epoch: int, messages: Sequence[Message]) -> None:
        """Take in messages of one partition; messages of an ended assignment are dropped."""
        work = self._works.under(tp, epoch)
        if work is not None and messages:
            before = work.load.size_bytes
            work.add(messages)
            self._loads.touch(work)
            self.backpressure.observe_size(len(messages), work.load.size_bytes - before)
            self._dispatch.line_up(work)

    def advance(self, fact: PositionAdvanced) -> None:
        """The client's position passed the delivered messages: trailing markers, holes at the end."""
        work = self._works.under(fact.tp, fact.epoch)
        if work is not None:
            work.advance(fact.position, fact.leader_epoch)

    def allow_runs(self, most: int, *, are_whole: bool = False) -> None:
        """If keys are sent ahead: from now on up to ``most`` items of one virtual partition may be in flight.

        ``are_whole``: all that may start of one is started before the next one has its turn.
        """
        self._works.allow_runs(most, are_whole=are_whole)

    def take_limited(self, most: int, slots: int, now: float, retries: int) -> list[WorkItem]:
        """``take`` as many items as the rate limit allows at ``now``; ``retries`` counts all retries so far."""
        allowed = self.rate.allowed(most, now, retries)
        scarce = slots if allowed == most else allowed  # Where the limit holds messages back, the lowest ones start.
        items = self.take(allowed, scarce, now if self.policy.is_timed else None)
        self.rate.started(len(items), now, is_more_ready=allowed < most and len(items) == allowed and self.ready > 0)
        return items

    def take(self, most: int, slots: int | None = None, now: float | None = None) -> list[WorkItem]:
        """Start up to ``most`` items, across partitions in turn; ``now`` is the time, if items are timed.

        ``slots`` (default: ``most``) is the number of free slots: a partition with more ready items than that starts
        its lowest offsets first, and one with fewer does not sort them. While the circuit is open, only a probe starts.
        Items of poisoned keys are left out: ``take_condemned`` returns them.
        """
        started = self._dispatch.take(most, most if slots is None else slots, now)
        if not self.poison_keys:
            return started
        sound = self._condemned.without(started)
        if started and not sound:
            self.circuit.gave_up(started[0])  # If it was the probe, it says nothing about the outage.
        return sound

    def take_condemned(self) -> list[WorkItem]:
        """Items that were not started because their keys are poisoned. They are held; dead-letter them untried."""
        return self._condemned.take()

    def succeed(self, items: Sequence[WorkItem], now: float | None = None) -> None:
        """These items are processed; ``now`` is the time, if items are timed."""
        self.circuit.succeeded(items)
        if self.poison_keys:
            for item in items:
                self.poison_keys.succeeded(item)
        loads = self._loads
        if self._works.are_runs_whole and len(items) > 1:
            items, ready = self._works.finish_runs(items, now)
            for work in ready:
                self._dispatch.line_up(work)
        for item in items:
            work = item._origin.work
            if not work.is_touched:
                loads.touch(work)
            if work.tracker.unfinished.get(item._offset) is not item:
                if now is not None:
                    work.time(item, now)  # Its offset was delivered again, but the worker did take that long.
                self._end_fenced(item)
            elif work.finish(item, now) and not work.is_listed:
                self._dispatch.line_up(work)

    def exhaust(self, item: WorkItem, now: float | None = None, *, is_hopeless: bool = False) -> OnExhausted | None:
        """The last attempt of ``item`` failed, at the time ``now`` if items are timed.

        Returns the action to take, None for no action. ``is_hopeless``: the message can never succeed, and its failure
        says nothing about an outage.
        After ``skip`` the offset is completed. After all other actions the item is held until ``settle``. There is no
        action if the item was fenced off. Nor is there one while the circuit is open: then the item is ready again.
        """
        work: PartitionWork = item._origin.work
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
            self._dispatch.line_up(work)
            return None
        self.poison_keys.failed(item)
        work.hold(item)
        self._blocked.add(work)
        if now is not None:
            work.time(item, now)
        if self.policy.on_exhausted is OnExhausted.SKIP:
            if work.writing is None:
                self.settle(item)
            else:
                self.outbox.skip(work.writing, item)
        elif self.policy.on_exhausted is OnExhausted.PAUSE_PARTITION:
            self.pause(item.tp, "exhausted")
        return self.policy.on_exhausted

    def settle(self, item: WorkItem) -> None:
        """A held item is done: its dead letter was acknowledged, or it is skipped."""
        work: PartitionWork = item._origin.work
        if work.is_current(item):
            work.finish_held(item)
            self._loads.touch(work)
            self._dispatch.line_up(work)

    def cancel(self, item: WorkItem) -> None:
        """An attempt was cancelled and does not count: the item is ready again, unless it was fenced off."""
        work: PartitionWork = item._origin.work
        self.circuit.gave_up(item)
        if work.is_current(item):
            work.put_back(item)
            self._loads.touch(work)
            self._dispatch.line_up(work)
        else:
            self._end_fenced(item)

    def is_current(self, item: WorkItem) -> bool:
        """Whether ``item`` belongs to an assignment that goes on."""
        return bool(item._origin.work.is_current(item))

    # Commits

    def snapshots(self, *, is_repeating: bool = False) -> tuple[CommitSnapshot, ...]:
        """Snapshots of the partitions whose offset or map the broker does not have.

        With ``is_repeating`` the snapshots that the broker already has are repeated unchanged.
        """
        return self._works.snapshots(is_repeating=is_repeating)

    @property
    def has_uncommitted(self) -> bool:
        """Whether ``snapshots`` would return anything; cheap, encodes nothing."""
        return self._works.has_uncommitted

    def confirm(self, snapshot: CommitSnapshot) -> None:
        """The broker has confirmed ``snapshot``."""
        work = self._works.under(snapshot.tp, snapshot.epoch)
        if work is not None:
            self.outbox.confirm(work, snapshot)

    def shrink_metadata(self, snapshot: CommitSnapshot) -> None:
        """The broker refused the size of ``snapshot``'s map: the next is at most half as large, and finally empty."""
        work = self._works.under(snapshot.tp, snapshot.epoch)
        if work is not None:
            work.commits.shrink_metadata(len(snapshot.metadata))

    # Flow

    @property
    def load(self) -> Load:
        """Messages that are read and not finished, over all partitions; bytes are measured again if they matter."""
        return self._reading.load

    @property
    def room(self) -> int:
        """How many more messages may be read now, of any partition that is not paused."""
        return self._reading.room

    def allowed(self, taken: int, *, free_slots: int) -> int:
        """How many messages the poll thread may deliver in total, of which ``taken`` have come, with ``free_slots``."""
        return self._reading.allowed(taken, self.room, free_slots=free_slots)

    @property
    def in_flight(self) -> int:
        """Items started and not finished, without those of ended assignments."""
        return self._loads.in_flight

    @property
    def ready(self) -> int:
        """Items that could start now."""
        return self._dispatch.ready

    def note_failing(self, items: Iterable[WorkItem]) -> None:
        """These items wait for a retry: they and the items behind them count as blocked."""
        self._blocked.note_failing(items)

    def review_shares(self) -> None:
        """Pause the partitions that filled their share of the buffer, resume those that made room."""
        self._reading.review_shares()

    def pause(self, tp: TopicPartition, reason: str) -> None:
        """Fetch no more of ``tp`` until this reason, and every other, is gone."""
        self._reading.pause(tp, reason)

    def resume(self, tp: TopicPartition, reason: str) -> None:
        """This reason to pause is gone. With ``exhausted`` the exhausted messages of ``tp`` are tried again."""
        if self._reading.resume(tp, reason) and reason == "exhausted":
            work = self._works[tp]
            work.put_back_held()
            self._loads.touch(work)
            self._dispatch.line_up(work)

    def pause_all(self) -> None:
        """Pause all assigned partitions, and those that are assigned later, for the reason ``user``."""
        self._is_paused_by_user = True
        for work in self._works:
            self.pause(work.tp, "user")

    def resume_all(self) -> None:
        """Resume all partitions that the user or an exhausted message paused."""
        self._is_paused_by_user = False
        for work in self._works:
            self.resume(work.tp, "user")
            self.resume(work.tp, "exhausted")

    def pause_reasons(self, tp: TopicPartition) -> tuple[str, ...]:
        """Why ``tp`` is paused, sorted; empty if it is not."""
        return self._reading.reasons(tp)

    def take_pause_changes(self) -> list[Pause | Resume]:
        """The commands that bring the client in line with the reasons; empty if nothing changed."""
        return self._reading.take_changes()

    def observe(self, now: float) -> None:
        """A tick: note the time, how long each blocking offset has blocked, the load, and the done messages."""
        self.circuit.observe(now)
        self.poison_keys.observe(now)
        for work in self._loads.take_moved():
            work.blocking.observe(work.tracker.blocking_offset, now)
            if work.latency is not None and len(work.latency.pending) > MOST_PENDING:
                work.latency.settle()
        self._reading.observe(now)

    def observe_slowness(self, now: float, *, free_slots: int) -> None:
        """Note why each partition is not faster now. Call this several times a second."""
        is_open, is_held_back = self.circuit.is_open, self.backpressure.is_active
        has_free_slots = free_slots > 0 and not is_open and self._dispatch.is_dispatching
        for work in self._works:
            is_paused = is_held_back or self._reading.is_paused(work.tp)
            look_at(work, now, is_held_back=is_paused, is_circuit_open=is_open, has_free_slots=has_free_slots)

    def _returned(self, item: WorkItem, now: float | None) -> bool:
        """A worker returned records. Returns whether the assignment of ``item`` goes on; if not, ``item`` has ended."""
        if not self.is_current(item):
            self.succeed((item,), now)
            return False
        self.circuit.succeeded((item,))
        if self.poison_keys:
            self.poison_keys.succeeded(item)
        return True

    def _end_fenced(self, item: WorkItem) -> None:
        """The attempt of an ended assignment ended: only now may its key go on under the new one."""
        self.fenced_completions += 1
        for work in self._works.let_go(item):
            self._dispatch.line_up(work)
