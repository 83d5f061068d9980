"""Reading of one consumer: where its client stands in each log, what it hands on, and what happens to it there.

The real ``Assignments`` stamps and cuts what is read, and the real ``ReadAhead`` hands it on under the credit that the
loop side granted; plain lists beside it hold the expected messages.
"""

from __future__ import annotations

from collections.abc import Callable

from pyrallel_consumer.control_plane.events import Assigned, OffsetWentBack
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import Message, TopicPartition
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.read_ahead import ReadAhead
from tests.simulation.oracles import flow, reading
from tests.simulation.scene import Scene
from tests.simulation.watched_manager import WatchedManager


class Fetching:
    """Paused partitions are not read; ``count`` is the number of messages handed on so far."""

    def __init__(
        self,
        scene: Scene,
        name: str,
        assignments: Assignments,
        manager: WatchedManager,
        deliver: Callable[[object], None],
    ) -> None:
        self.count = 0
        self.read_ahead = ReadAhead(scene.scenario.read_ahead)
        self._paused: set[TopicPartition] = set()
        self._unheard: dict[TopicPartition, list[Message]] = {}
        self._scene = scene
        self._name = name
        self._assignments = assignments
        self._manager = manager
        self._deliver = deliver
        self._positions: dict[TopicPartition, int] = {}
        self._leader_epochs: dict[TopicPartition, int | None] = {}
        self._restored: dict[TopicPartition, OffsetMap] = {}

    def begin(self, assigned: Assigned) -> None:
        """Read this partition from its start, or from where the log was cut below it: the client checks that."""
        log = self._scene.logs[assigned.tp]
        position = assigned.start_offset
        if assigned.leader_epoch is not None:
            position = min(position, log.end_of(assigned.leader_epoch))
        self._positions[assigned.tp] = position
        self._leader_epochs[assigned.tp] = assigned.leader_epoch
        self._restored[assigned.tp] = assigned.restored
        self._unheard[assigned.tp] = []

    def end(self, tp: TopicPartition) -> None:
        """Stop reading this partition."""
        self._positions.pop(tp, None)
        self._leader_epochs.pop(tp, None)
        self._restored.pop(tp, None)
        self._unheard.pop(tp, None)
        self._paused.discard(tp)
        self.read_ahead.drop([tp])

    def pause(self, tp: TopicPartition) -> None:
        self._paused.add(tp)
        self.read_ahead.hold(tp)

    def resume(self, tp: TopicPartition) -> None:
        self._paused.discard(tp)
        self.read_ahead.resume(tp)

    def truncated(self, tp: TopicPartition, offset: int) -> None:
        """The log was cut at ``offset`` and has a new record there; a client that was beyond begins again there."""
        position = self._positions.get(tp)
        if position is None:
            return
        if position > offset:
            self._positions[tp] = offset

    def rewind(self, tp: TopicPartition, offset: int) -> None:
        """The client begins again at an earlier offset."""
        if tp in self._positions and self._positions[tp] > offset:
            self._positions[tp] = offset

    @property
    def restoring(self) -> list[TopicPartition]:
        """Partitions in which some messages that an earlier owner had seen are not read yet."""
        return [tp for tp, restored in self._restored.items() if self._positions[tp] < restored.top]

    def read(self, room: int) -> None:
        """One read, of at most ``room`` messages, from randomly chosen partitions."""
        random, logs = self._scene.random, self._scene.logs
        ready = sum(len(messages) for tp, messages in self._unheard.items() if tp not in self._paused)
        reading.rule_20_reads_ahead_within_bounds(ready, self._scene.scenario.read_ahead.max_messages)
        room = random.randint(1, max(1, min(room, self._scene.scenario.poll_batch_size)))
        tps = [tp for tp in self._assignments if tp not in self._paused]
        random.shuffle(tps)
        messages: list[Message] = []
        for tp in tps:
            self._begin_again_if_out_of_range(tp)
            records = logs[tp].read(self._positions[tp], random.randint(0, room - len(messages)))
            if records:
                self._positions[tp] = records[-1].offset() + 1
                self._leader_epochs[tp] = records[-1].leader_epoch()
            messages.extend(records)
        if not messages:
            self.read_ahead.run_dry()
            self._look_at_positions()
            return
        facts = self._assignments.split(messages)
        for fact in facts:
            unheard = self._unheard[fact.tp]
            if isinstance(fact, OffsetWentBack):
                unheard[:] = [message for message in unheard if message.offset() < fact.offset]
            else:
                unheard.extend(fact.messages)
        for fact in self.read_ahead.put(facts):
            self._went_back(fact)
            self._deliver(fact)

    def hand_on(self, credit: int) -> None:
        """Hand on to the loop as many read messages as it allows."""
        facts = self.read_ahead.take(credit, len(self._assignments))
        reading.rule_20_no_more_than_granted(facts, credit)
        for fact in facts:
            current_epoch = self._scene.current_epochs.get((self._name, fact.tp))
            reading.rule_6_hands_on_only_what_is_assigned(fact, current_epoch)
            reading.rule_10_hands_nothing_on_of_paused_partitions(fact, self._paused)
            reading.rule_13_hands_on_in_the_order_of_the_log(fact, self._unheard[fact.tp])
            del self._unheard[fact.tp][: len(fact.messages)]
            self.count += len(fact.messages)
            self._deliver(fact)
        reading.rule_20_nothing_is_forgotten(self.read_ahead, self._unheard)
        inbox = self.count - self._manager.taken
        unfinished = sum(len(shadow.unfinished) for shadow in self._manager.shadows.values())
        flow.rule_20_load_is_bounded(inbox + unfinished, self._scene.scenario.work.limits.max_messages)

    def _begin_again_if_out_of_range(self, tp: TopicPartition) -> None:
        log = self._scene.logs[tp]
        if log.low <= self._positions[tp] <= log.high:
            return
        self._scene.truth.allow_repeats(log, OffsetMap(0, 0))
        if self._scene.scenario.reset == "earliest":
            self._positions[tp] = log.low
            self._leader_epochs[tp] = None
        else:  # The client tells this position with its next record only: told here at once, as that record would.
            self._positions[tp] = log.high
            self._leader_epochs[tp] = log.leader_epoch_below(log.high)
            self._scene.truth.pass_over(log, log.high)

    def _look_at_positions(self) -> None:
        for tp in self._assignments:
            if tp in self.read_ahead:
                continue
            log = self._scene.logs[tp]
            if self._positions[tp] < log.high and not log.read(self._positions[tp], 1):
                self._positions[tp] = log.high
                self._leader_epochs[tp] = log.leader_epoch_below(log.high)
            fact = self._assignments.advance(tp, self._positions[tp], self._leader_epochs[tp])
            if fact is not None:
                self._deliver(fact)

    def _went_back(self, fact: OffsetWentBack) -> None:
        log = self._scene.logs[fact.tp]
        self._restored.pop(fact.tp, None)
        self._scene.current_epochs[self._name, fact.tp] = fact.epoch
        self._scene.incarnations[self._name, fact.tp, fact.epoch] = log.incarnation
        self._scene.truth.allow_repeats(log, OffsetMap(fact.offset, fact.offset))
