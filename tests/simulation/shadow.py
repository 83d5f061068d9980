"""One assigned partition as an independent bookkeeper sees it: plain lists and dicts, compared with the code's own.

Written by the naive definition of each rule, without care for speed.
"""

from __future__ import annotations

from pyrallel_consumer.control_plane.events import Assigned, OffsetWentBack, PositionAdvanced
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.partitions.loaded_bytes import MESSAGE_OVERHEAD_BYTES
from pyrallel_consumer.dto import WorkItem
from tests.simulation.scenario import Scenario
from tests.simulation.topic_log import Record
from tests.simulation.truth import covers


class Shadow:
    """Delivered, unfinished, in flight and held messages. ``incarnation`` is that of the log when the epoch began."""

    def __init__(
        self, assigned: Assigned, incarnation: int, scenario: Scenario, handed_over: frozenset[Record]
    ) -> None:
        self.tp = assigned.tp
        self.epoch = assigned.epoch
        self.incarnation = incarnation
        self.next_offset = assigned.start_offset
        self.restored: OffsetMap | None = assigned.restored
        self.leader_epochs = {assigned.leader_epoch}
        self.last_leader_epoch = assigned.leader_epoch
        self._handed_over = handed_over
        self.delivered: dict[int, Record] = {}
        self.unfinished: dict[int, Record] = {}
        self.in_flight: dict[int, WorkItem] = {}
        self.held: dict[int, WorkItem] = {}
        self.queues: dict[object, list[int]] = {}
        self.is_revoking = False
        self.map_limit_bytes: int | None = None
        self.went_back_to: int | None = None
        self._scenario = scenario

    @property
    def committable_offset(self) -> int:
        return min(self.unfinished, default=self.next_offset)

    @property
    def size_bytes(self) -> int:
        return sum([MESSAGE_OVERHEAD_BYTES + record.size_bytes for record in self.unfinished.values()])

    def add(self, records: list[Record]) -> list[Record]:
        """Register a delivery; returns the records that an earlier owner finished, by the restored map."""
        skipped = []
        for record in records:
            offset = record.offset()
            self.delivered[offset] = record
            self.next_offset = offset + 1
            self.last_leader_epoch = record.leader_epoch()
            self.leader_epochs.add(self.last_leader_epoch)
            if self.restored is not None and offset < self.restored.top and _is_newer(record, self.restored):
                self.restored = None
            if self.restored is not None and offset < self.restored.top and covers(self.restored, offset):
                skipped.append(record)
                continue
            self.unfinished[offset] = record
            queue = self._scenario.lane_of(record.key())
            if queue is not None:
                self.queues.setdefault(queue, []).append(offset)
        return skipped

    def advance(self, fact: PositionAdvanced) -> None:
        """Nothing more comes below the fact's position."""
        self.next_offset = max(self.next_offset, fact.position)
        if fact.leader_epoch is not None:
            self.last_leader_epoch = max(fact.leader_epoch, self.last_leader_epoch or 0)
            self.leader_epochs.add(self.last_leader_epoch)

    def before(self, record: Record) -> list[int]:
        """The unfinished offsets that must end before the record may start."""
        queue = self._scenario.lane_of(record.key())
        return [] if queue is None else [offset for offset in self.queues[queue] if offset < record.offset()]

    def behind(self, record: Record) -> list[int]:
        """The unfinished offsets that wait for the record."""
        queue = self._scenario.lane_of(record.key())
        return [] if queue is None else [offset for offset in self.queues[queue] if offset > record.offset()]

    def finish(self, offset: int) -> None:
        record = self.unfinished.pop(offset)
        self.in_flight.pop(offset, None)
        self.held.pop(offset, None)
        queue = self._scenario.lane_of(record.key())
        if queue is not None:
            self.queues[queue].remove(offset)

    @property
    def map_leader_epoch(self) -> int | None:
        """The leader epoch of the last record that a map would list now."""
        is_carried_on = self.restored is not None and self.restored.top > self.next_offset
        return self.restored.leader_epoch if self.restored and is_carried_on else self.last_leader_epoch

    @property
    def known(self) -> frozenset[Record]:
        """The finished records, of earlier owners or of this one: a commit of this moment means these."""
        finished = {record for offset, record in self.delivered.items() if offset not in self.unfinished}
        return self._handed_over | finished

    def go_back(self, fact: OffsetWentBack, incarnation: int) -> None:
        """Forget everything from an offset on."""
        epoch, offset = fact.epoch, fact.offset
        forgotten = [known for known in self.unfinished if known >= offset]
        for known in forgotten:
            self.finish(known)
        self.delivered = {known: record for known, record in self.delivered.items() if known < offset}
        self.epoch = epoch
        self.next_offset = self.went_back_to = offset
        self.restored = None
        self.incarnation = incarnation
        self.last_leader_epoch = fact.leader_epoch
        self.leader_epochs = {record.leader_epoch() for record in self.delivered.values()} | {fact.leader_epoch}


def _is_newer(record: Record, restored: OffsetMap) -> bool:
    theirs, ours = record.leader_epoch(), restored.leader_epoch
    return theirs is not None and ours is not None and theirs > ours
