"""Reading of one consumer: where its client stands in each log, what it hands on, and what happens to it there.

The real ``Assignments`` stamps and cuts what is read, under the credit that the loop side granted.
"""

from __future__ import annotations

from collections.abc import Callable

from pyrallel_consumer.control_plane.assignments import Assignments
from pyrallel_consumer.control_plane.events import Assigned, OffsetWentBack
from pyrallel_consumer.control_plane.offset_map import OffsetMap
from pyrallel_consumer.dto import Message, TopicPartition
from tests.simulation.oracles import flow
from tests.simulation.scene import Scene
from tests.simulation.watched_manager import WatchedManager


class Fetching:
    """``paused`` partitions are not read; ``count`` messages were handed on since the beginning."""

    def __init__(
        self,
        scene: Scene,
        name: str,
        assignments: Assignments,
        manager: WatchedManager,
        deliver: Callable[[object], None],
    ) -> None:
        self.paused: set[TopicPartition] = set()
        self.count = 0
        self._scene = scene
        self._name = name
        self._assignments = assignments
        self._manager = manager
        self._deliver = deliver
        self._positions: dict[TopicPartition, int] = {}
        self._restored: dict[TopicPartition, OffsetMap] = {}

    def begin(self, assigned: Assigned) -> None:
        """Read this partition from its start."""
        self._positions[assigned.tp] = assigned.start_offset
        self._restored[assigned.tp] = assigned.restored
        self.paused.discard(assigned.tp)

    def end(self, tp: TopicPartition) -> None:
        """Read this partition no more."""
        self._positions.pop(tp, None)
        self._restored.pop(tp, None)
        self.paused.discard(tp)

    def truncated(self, tp: TopicPartition, offset: int) -> None:
        """The log was cut at ``offset`` and has a new record there; a client that was beyond begins again there."""
        position = self._positions.get(tp)
        if position is None:
            return
        if position > offset:
            self._positions[tp] = offset
        elif (restored := self._restored.get(tp)) is not None:
            # Nothing comes twice, so nobody can tell that the map speaks of records that are gone.
            epoch = self._scene.current_epochs[self._name, tp]
            self._scene.truth.excuse(tp, restored, self._scene.incarnations[self._name, tp, epoch])

    def rewind(self, tp: TopicPartition, offset: int) -> None:
        """The client begins again at an earlier offset."""
        if tp in self._positions and self._positions[tp] > offset:
            self._positions[tp] = offset

    @property
    def restoring(self) -> list[TopicPartition]:
        """Partitions of which not all that an earlier owner had seen was read yet."""
        return [tp for tp, restored in self._restored.items() if self._positions[tp] < restored.top]

    def read(self, credit: int) -> None:
        """One read, of at most ``credit`` messages, from whichever partitions chance takes."""
        random, logs = self._scene.random, self._scene.logs
        room = random.randint(1, max(1, min(credit, self._scene.scenario.poll_batch_size)))
        tps = [tp for tp in self._assignments if tp not in self.paused]
        random.shuffle(tps)
        messages: list[Message] = []
        for tp in tps:
            self._begin_again_if_out_of_range(tp)
            records = logs[tp].read(self._positions[tp], random.randint(0, room - len(messages)))
            if records:
                self._positions[tp] = records[-1].offset() + 1
            messages.extend(records)
        if not messages:
            self._look_at_positions()
        for fact in self._assignments.split(messages):
            if isinstance(fact, OffsetWentBack):
                self._went_back(fact)
            else:
                self.count += len(getattr(fact, "messages", ()))
            self._deliver(fact)
        inbox = self.count - self._manager.taken
        unfinished = sum(len(shadow.unfinished) for shadow in self._manager.shadows.values())
        flow.rule_20_load_is_bounded(inbox + unfinished, self._scene.scenario.work.limits.max_messages)

    def _begin_again_if_out_of_range(self, tp: TopicPartition) -> None:
        log = self._scene.logs[tp]
        if self._positions[tp] > log.high:
            self._positions[tp] = log.low if self._scene.scenario.reset == "earliest" else log.high
            self._scene.truth.allow_repeats(log, OffsetMap(0, 0))

    def _look_at_positions(self) -> None:
        for tp in self._assignments:
            log = self._scene.logs[tp]
            if not log.read(self._positions[tp], 1):
                self._positions[tp] = max(self._positions[tp], log.high)
            fact = self._assignments.advance(tp, self._positions[tp])
            if fact is not None:
                self._deliver(fact)

    def _went_back(self, fact: OffsetWentBack) -> None:
        log = self._scene.logs[fact.tp]
        self._restored.pop(fact.tp, None)
        self._scene.current_epochs[self._name, fact.tp] = fact.epoch
        self._scene.incarnations[self._name, fact.tp, fact.epoch] = log.incarnation
        self._scene.truth.allow_repeats(log, OffsetMap(fact.offset, fact.offset))
