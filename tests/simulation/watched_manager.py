"""The real work manager, with a shadow beside it: every fact and decision is judged by the oracles as it passes.

Overrides the public methods only; each calls the real one and then compares the books of both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pyrallel_consumer.control_plane.events import Assigned, CommitSnapshot, OffsetWentBack, PositionAdvanced
from pyrallel_consumer.control_plane.offsets.commit_encoder import encode
from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import Message, OnExhausted, RebalanceStateStrategy, TopicPartition, WorkItem
from tests.simulation.oracles import circuits, flow, offsets, rebalances, work
from tests.simulation.oracles.verdict import RuleBroken
from tests.simulation.scene import Scene
from tests.simulation.shadow import Shadow
from tests.simulation.topic_log import Record

STARTS_KEPT = 100
"""The rate is checked over this many starts in a row."""


class WatchedManager(WorkManager):
    """``shadows`` by partition; what the broker said is told to ``answered`` and ``acknowledged``.

    ``handed_over``: the records that an assignment was told of as finished.
    """

    def __init__(self, scene: Scene, consumer: str) -> None:
        super().__init__(replace(scene.scenario.work, is_timed=True))
        self.shadows: dict[TopicPartition, Shadow] = {}
        self.handed_over: dict[TopicPartition, frozenset[Record]] = {}
        self.answered: dict[int, CommitSnapshot] = {}
        self.open_items: dict[int, WorkItem] = {}
        self.acknowledged: list[WorkItem] = []
        self.taken = 0
        self._starts: deque[tuple[float, int]] = deque(maxlen=STARTS_KEPT)
        self._allowed = 1
        self._scene = scene
        self._consumer = consumer
        self._latest_epoch = 0
        self.probed_at = float("-inf")
        self._seen_condemned: list[WorkItem] = []
        self._failures_in_a_row: dict[tuple[TopicPartition, bytes | None], int] = {}
        self._revoked_at: dict[TopicPartition, float] = {}
        self._confirmed: dict[TopicPartition, CommitSnapshot] = {}
        self._has_map = scene.scenario.work.state_strategy is RebalanceStateStrategy.METADATA_SNAPSHOT

    # Assignments

    def assign(self, assigned: Assigned) -> None:
        rebalances.rule_8_epochs_ascend(assigned.epoch, self._latest_epoch)
        self._latest_epoch = assigned.epoch
        super().assign(assigned)
        tp, start = assigned.tp, assigned.start_offset
        incarnation = self._scene.incarnations[self._consumer, tp, assigned.epoch]
        self.shadows[tp] = Shadow(assigned, incarnation, self._scene.scenario, self.handed_over[tp])
        if assigned.is_committed:
            metadata = encode(assigned.restored, tp) if self._has_map else ""
            self._confirmed[tp] = CommitSnapshot(tp, assigned.epoch, start, metadata, 0, None)
        self._compare(tp)

    def stop_dispatching(self, tps: Iterable[TopicPartition]) -> None:
        tps = list(tps)
        for tp in tps:
            if (shadow := self.shadows.get(tp)) is not None:
                shadow.is_revoking = True
                self._revoked_at[tp] = self._scene.clock.now
        super().stop_dispatching(tps)

    def end(self, partitions: Iterable[tuple[TopicPartition, int]], *, is_lost: bool) -> tuple[CommitSnapshot, ...]:
        partitions = list(partitions)
        snapshots = super().end(partitions, is_lost=is_lost)
        if is_lost:
            rebalances.rule_7_lost_commits_nothing(snapshots)
        ended = {tp for tp, epoch in partitions if tp in self.shadows and self.shadows[tp].epoch == epoch}
        for snapshot in snapshots:
            self._judge(snapshot)
        for tp in sorted(ended):
            if not is_lost:
                self._judge_end(tp, any(snapshot.tp == tp for snapshot in snapshots))
            if not self._has_map or self.shadows[tp].map_limit_bytes is not None:
                self._scene.truth.taint(tp, "the map was limited")
            del self.shadows[tp]
        self.check_all()
        return snapshots

    def go_back(self, fact: OffsetWentBack) -> None:
        super().go_back(fact)
        shadow = self.shadows.get(fact.tp)
        if shadow is not None and shadow.epoch == fact.old_epoch:
            rebalances.rule_8_epochs_ascend(fact.epoch, self._latest_epoch)
            self._latest_epoch = fact.epoch
            shadow.go_back(fact, self._scene.incarnations[self._consumer, fact.tp, fact.epoch])
        self._compare(fact.tp)

    # Messages in, items out, completions back

    def add(self, tp: TopicPartition, epoch: int, messages: Sequence[Message]) -> None:
        super().add(tp, epoch, messages)
        self.taken += len(messages)
        shadow = self.shadows.get(tp)
        if shadow is not None and shadow.epoch == epoch:
            records = [message for message in messages if isinstance(message, Record)]
            for record in shadow.add(records):
                if not self._scene.truth.is_done(record):
                    raise RuleBroken("4", f"{record} is skipped, and it was never finished")
        self._compare(tp)

    def advance(self, fact: PositionAdvanced) -> None:
        super().advance(fact)
        shadow = self.shadows.get(fact.tp)
        if shadow is not None and shadow.epoch == fact.epoch:
            shadow.advance(fact)
        self._compare(fact.tp)

    def allow_runs(self, most: int, *, are_whole: bool = False) -> None:
        super().allow_runs(most, are_whole=are_whole)
        self._allowed = most

    def take_limited(self, most: int, slots: int, now: float, retries: int) -> list[WorkItem]:
        was_open = self.circuit.is_open
        items = super().take_limited(most, slots, now, retries)
        if self.rate.is_limited and not was_open:
            self._judge_order(items)
        self._starts.append((now, len(items)))
        flow.no_more_start_than_the_rate_allows(self._starts, now, self.policy.max_per_second)
        return items

    def take(self, most: int, slots: int | None = None, now: float | None = None) -> list[WorkItem]:
        was_open = self.circuit.is_open
        crowded = [work for work in self if len(work.ready) > (most if slots is None else slots)]
        items = super().take(most, slots, now)
        if was_open:
            self._judge_probes(items)
        else:
            self._judge_order(items, crowded)
        self._condemn(super().take_condemned())
        for item in items:
            shadow = self.shadows.get(item.tp)
            rebalances.rule_7_nothing_starts_while_revoking(shadow, item)
            work.rule_13_heads_start_first(shadow, item, self._allowed)
            work.rule_14_submitted_once(item, self.open_items.values())
            self.open_items[id(item)] = item
            if shadow is not None:
                shadow.in_flight[item.offset] = item
        for tp in {item.tp: None for item in items}:
            self._compare(tp)
        return items

    def take_condemned(self) -> list[WorkItem]:
        condemned, self._seen_condemned = self._seen_condemned, []
        return condemned

    def _condemn(self, items: list[WorkItem]) -> None:
        poison = self.policy.poison
        for item in items:
            self._scene.note(f"{item!r} is condemned")
            shadow = self.shadows.get(item.tp)
            rebalances.rule_7_nothing_starts_while_revoking(shadow, item)
            work.rule_13_heads_start_first(shadow, item)
            failures = self._failures_in_a_row.get((item.tp, item.key), 0)
            circuits.only_poisoned_keys_are_condemned(item, failures, None if poison is None else poison.failures)
            if shadow is not None:
                shadow.held[item.offset] = item
        self._seen_condemned += items

    def succeed(self, items: Sequence[WorkItem], now: float | None = None) -> None:
        for item in items:
            self._failures_in_a_row.pop((item.tp, item.key), None)
            shadow = self._completed(item)
            if shadow is not None:
                shadow.finish(item.offset)
        super().succeed(items, now)
        for tp in {item.tp: None for item in items}:
            self._compare(tp)

    def exhaust(self, item: WorkItem, now: float | None = None, *, is_hopeless: bool = False) -> OnExhausted | None:
        shadow = self._completed(item)
        if shadow is not None:
            del shadow.in_flight[item.offset]
            shadow.held[item.offset] = item
        was_open = self.circuit.is_open
        outcome = super().exhaust(item, now, is_hopeless=is_hopeless)
        circuits.nothing_is_let_go_while_open(item, outcome, was_open=was_open)
        if outcome is not None and shadow is None:
            raise RuleBroken("8", f"{item} failed for good, is not ours, and was met with {outcome}")
        if outcome is None and shadow is not None:
            circuits.what_is_kept_is_kept_for_an_outage(item, is_kept=True, is_open=self.circuit.is_open)
            del shadow.held[item.offset]
        if outcome is OnExhausted.DLQ:
            place = item.tp, item.key
            self._failures_in_a_row[place] = self._failures_in_a_row.get(place, 0) + 1
        self._compare(item.tp)
        return outcome

    def settle(self, item: WorkItem) -> None:
        if self.policy.on_exhausted is OnExhausted.DLQ:
            work.rule_18_letters_settle_by_their_acknowledgement(item, self.acknowledged)
        self.note_done(item)
        shadow = self.shadows.get(item.tp)
        if shadow is not None and shadow.held.get(item.offset) is item:
            shadow.finish(item.offset)
        super().settle(item)
        self._compare(item.tp)

    def cancel(self, item: WorkItem) -> None:
        shadow = self._completed(item)
        if shadow is not None:
            del shadow.in_flight[item.offset]
        super().cancel(item)
        self._compare(item.tp)

    # Commits

    def snapshots(self, *, is_repeating: bool = False) -> tuple[CommitSnapshot, ...]:
        snapshots = super().snapshots(is_repeating=is_repeating)
        for snapshot in snapshots:
            self._judge(snapshot, is_repeating=is_repeating)
        if is_repeating:
            offsets.rule_23_every_partition_is_committed_again(snapshots, self.shadows)
        return snapshots

    def confirm(self, snapshot: CommitSnapshot) -> None:
        if id(snapshot) not in self.answered:
            raise RuleBroken("5", f"{snapshot} counts as committed before the broker said so")
        super().confirm(snapshot)
        self._confirmed[snapshot.tp] = snapshot

    def shrink_metadata(self, snapshot: CommitSnapshot) -> None:
        super().shrink_metadata(snapshot)
        shadow = self.shadows.get(snapshot.tp)
        if shadow is not None and shadow.epoch == snapshot.epoch:
            shadow.map_limit_bytes = len(snapshot.metadata) // 2

    # Flow

    def resume(self, tp: TopicPartition, reason: str) -> None:
        is_tried_again = reason == "exhausted" and reason in self.pause_reasons(tp)
        super().resume(tp, reason)
        if is_tried_again and (shadow := self.shadows.get(tp)) is not None:
            shadow.held.clear()

    # Judging

    def check_all(self) -> None:
        """Compare everything with the shadows, and the committed offsets with the broker's."""
        assigned = {real.tp for real in self}
        if assigned != set(self.shadows):
            raise RuleBroken("8", f"work exists for {assigned}, assigned are {set(self.shadows)}")
        for real in self:
            shadow = self.shadows[real.tp]
            work.rules_8_and_14_books_agree(real, shadow)
            if self.is_still_ours(shadow) and not real.commits.is_worth_committing(real, with_map=self._has_map):
                stored_offset = self._scene.offset_of_group(real.tp)
                offsets.rule_5_committed_means_confirmed(shadow, stored_offset)
        in_flight = sum(len(shadow.in_flight) for shadow in self.shadows.values())
        if self.in_flight != in_flight:
            raise RuleBroken("14", f"{self.in_flight} items are in flight and should be {in_flight}")
        flow.rule_20_bytes_counted_are_never_too_few(self.load.size_bytes, self.size_bytes)

    def note_done(self, item: WorkItem) -> None:
        """The work of ``item`` is done, whether or not that still counts for its assignment."""
        truth, shadow = self._scene.truth, self.shadows.get(item.tp)
        assert isinstance(item.message, Record)
        truth.done.add(item.message)
        is_current = (
            shadow is not None
            and item in (shadow.in_flight.get(item.offset), shadow.held.get(item.offset))
            and self.is_still_ours(shadow)
        )
        if not is_current:
            truth.may_repeat.add(item.message)  # It ended after its assignment: the next owner knows nothing of it.

    @property
    def size_bytes(self) -> int:
        return sum(shadow.size_bytes for shadow in self.shadows.values())

    def _judge_order(self, started: Sequence[WorkItem], crowded: Iterable[PartitionWork] | None = None) -> None:
        """Of ``crowded`` partitions (default: all) more was ready than could start."""
        if self.policy.is_sending_ahead or self.policy.poison is not None:
            return  # Runs stand for their first message; and messages of poisoned keys are put back.
        for each in self if crowded is None else crowded:
            begun = [item.offset for item in started if item.tp == each.tp]
            work.the_lowest_offsets_go_first(each.tp, begun, [item.offset for item in each.ready.items()])

    def _judge_probes(self, started: Sequence[WorkItem]) -> None:
        policy, now = self.policy.circuit, self._scene.clock.now
        if started and policy is not None:
            circuits.probes_start_when_they_are_due(started, now - self.probed_at, policy.probe_seconds)
            self.probed_at = now

    def is_still_ours(self, shadow: Shadow) -> bool:
        """Whether the group still has this assignment; news of its end may be on the way."""
        is_owner = self._scene.owners.get(shadow.tp) == self._consumer
        return is_owner and shadow.epoch == self._scene.current_epochs.get((self._consumer, shadow.tp))

    def _completed(self, item: WorkItem) -> Shadow | None:
        """The shadow that ``item`` is in flight in, None where its assignment has ended."""
        work.rule_14_completed_once(item, self.open_items.pop(id(item), None) is not None)
        shadow = self.shadows.get(item.tp)
        return shadow if shadow is not None and shadow.in_flight.get(item.offset) is item else None

    def _judge(self, snapshot: CommitSnapshot, *, is_repeating: bool = False) -> None:
        shadow = self.shadows[snapshot.tp]
        self._scene.known[id(snapshot)] = snapshot, shadow.known
        offsets.rule_1_commits_stop_at_the_lowest_unfinished(shadow, snapshot)
        offsets.rule_2_holes_stall_nothing(shadow, snapshot)
        offsets.rule_4_claims_only_what_is_done(shadow, snapshot, self._scene.truth, self._scene.logs[snapshot.tp])
        offsets.rule_4_leader_epoch_travels_along(shadow, snapshot)
        offsets.rule_22_map_carries_the_leader_epoch_of_its_top(shadow, snapshot)
        if shadow.map_limit_bytes is not None:
            offsets.rule_5_refused_maps_shrink(snapshot, shadow.map_limit_bytes)
        else:
            if not is_repeating:
                offsets.rule_6_idle_commits_nothing_new(snapshot, self._confirmed.get(snapshot.tp))
            if self._has_map:
                offsets.rule_4_map_tells_all_that_is_done(shadow, snapshot)

    def _judge_end(self, tp: TopicPartition, is_snapshot_taken: bool) -> None:
        shadow = self.shadows[tp]
        truth, clock = self._scene.truth, self._scene.clock
        running = [
            truth.runs[item] for item in truth.runs_of(self._consumer) if shadow.in_flight.get(item.offset) is item
        ]
        waited = clock.now - self._revoked_at.get(tp, clock.now)
        rebalances.rule_7_running_work_gets_the_grace(waited, self._scene.scenario.grace_seconds, running)
        if not is_snapshot_taken and self.is_still_ours(shadow):
            stored_offset = self._scene.offset_of_group(tp)
            offsets.rule_4_start_is_handed_over(tp, stored_offset)

    def _compare(self, tp: TopicPartition) -> None:
        for real in self:
            if real.tp == tp and tp in self.shadows:
                work.rules_8_and_14_books_agree(real, self.shadows[tp])
