"""The naive model for keys that are sent ahead: how many items of a key may be out, and when the key has to wait."""

from __future__ import annotations

from dataclasses import dataclass

from pyrallel_consumer.control_plane.policies import OrderingPolicy
from pyrallel_consumer.dto import TopicPartition
from tests.unit.control_plane.work_model import Entry, Partition, Running, State, WorkModel


@dataclass
class Run:
    """The state of a key, from its first message until it has none.

    ``reach`` bounds how many may be out; it begins at what the engine allows, is 1 after a setback, and grows with
    every success. ``is_stopped`` is set after a setback, or if the engine says that the sent items began together:
    nothing more is sent until all sent items have come back. ``is_awake``: an event allowed one more item to be sent. A
    longer allowance alone sends nothing.
    """

    reach: int
    is_stopped: bool = False
    is_awake: bool = True


class RunModel(WorkModel):
    """``allowed`` is what the engine said last."""

    def __init__(self, ordering: OrderingPolicy) -> None:
        super().__init__(ordering)
        self.allowed = 1
        self.runs: dict[tuple[TopicPartition, object], Run] = {}

    def out(self, tp: TopicPartition, place: object) -> list[Running]:
        """All unreported attempts of ``place``, also of ended assignments."""
        return [running for running in self.running.values() if running.tp == tp and running.place == place]

    def states(self, partition: Partition) -> dict[int, State]:
        """Of the items that are out, only the first one of a key certainly runs."""
        first = {running.place: running for running in reversed(self.running.values()) if running.tp == partition.tp}
        return {
            offset: State.QUEUED
            if state is State.RUNNING and place is not None and first[place].offset != offset
            else state
            for offset, state in super().states(partition).items()
            for place in [self.place_of(partition.entries[offset].key)]
        }

    def entries_of(self, partition: Partition, place: object) -> list[Entry]:
        """The unfinished messages of ``place`` by offset."""
        entries = [entry for entry in partition.entries.values() if self.place_of(entry.key) == place]
        return sorted(entries, key=lambda entry: entry.offset)

    def may_start(self, partition: Partition, place: object) -> list[int]:
        """The offsets of ``place`` that may be sent, in this order."""
        run, out = self.runs[partition.tp, place], self.out(partition.tp, place)
        entries = self.entries_of(partition, place)
        if any(entry.state is State.HELD for entry in entries) or (out and run.is_stopped):
            return []
        if any(self.entry_of(running) is None for running in out):
            return []
        queued = [entry.offset for entry in entries if entry.state is State.QUEUED]
        return queued[: max(0, min(run.reach, self.allowed) - len(out))]

    def places(self, partition: Partition) -> list[object]:
        """The ordered places that have unfinished messages."""
        places = {self.place_of(entry.key) for entry in partition.entries.values()} - {None}
        return sorted(places, key=repr)

    def unordered(self, partition: Partition) -> list[int]:
        """Offsets that may start independently of all others."""
        return [entry.offset for entry in self.entries_of(partition, None) if entry.state is State.QUEUED]

    def ready_offsets(self, partition: Partition) -> list[int]:
        if partition.is_stopped:
            return []
        ordered = [offset for place in self.places(partition) for offset in self.may_start(partition, place)]
        return sorted(ordered + self.unordered(partition))

    def due(self, partition: Partition) -> dict[object, list[int]]:
        """Offsets that must be sent if there are slots: of places that are awake, or of which nothing is out."""
        if partition.is_stopped:
            return {}
        due = {
            place: self.may_start(partition, place)
            for place in self.places(partition)
            if self.runs[partition.tp, place].is_awake or not self.out(partition.tp, place)
        }
        return {place: offsets for place, offsets in due.items() if offsets}

    def took(self, partition: Partition, places: set[object]) -> None:
        """Items of these places were sent: the places are awake while more may be sent."""
        for place in self.places(partition):
            run = self.runs[partition.tp, place]
            run.is_awake = (run.is_awake or place in places) and bool(self.may_start(partition, place))

    # What happens

    def deliver(self, partition: Partition, offset: int, key: bytes | None, size_bytes: int) -> None:
        place = self.place_of(key)
        is_new = offset not in partition.done_before
        super().deliver(partition, offset, key, size_bytes)
        if place is not None and is_new:
            self.runs.setdefault((partition.tp, place), Run(self.allowed))
            self._wake(partition, place)

    def end_attempt(self, running: Running) -> bool:
        is_current = super().end_attempt(running)
        run = self.runs.get((running.tp, running.place))
        if run is not None and not self.out(running.tp, running.place):
            run.is_stopped = False
            if not is_current:
                self._review(running)
        return is_current

    def finish(self, running: Running) -> None:
        super().finish(running)
        if running.place is not None:
            self.runs[running.tp, running.place].reach += 1
            self._review(running)

    def fail(self, running: Running) -> None:
        super().fail(running)
        self._set_back(running)

    def put_back(self, running: Running) -> None:
        super().put_back(running)
        self._set_back(running)

    def seal(self, running: Running) -> None:
        """The sent items of its key have begun together."""
        self.runs[running.tp, running.place].is_stopped = True

    def go_back(self, partition: Partition, epoch: int, offset: int) -> None:
        super().go_back(partition, epoch, offset)
        places = self.places(partition)
        for tp, place in list(self.runs):
            if tp == partition.tp and place not in places:
                del self.runs[tp, place]
        for running in self.running.values():
            run = self.runs.get((running.tp, running.place))
            if run is not None and running.tp == partition.tp and self.entry_of(running) is None:
                run.is_stopped = True

    def end(self, tp: TopicPartition) -> None:
        super().end(tp)
        self.runs = {known: run for known, run in self.runs.items() if known[0] != tp}

    def _set_back(self, running: Running) -> None:
        if running.place is None:
            return
        run = self.runs[running.tp, running.place]
        run.reach = 1
        run.is_stopped = bool(self.out(running.tp, running.place))
        self._wake(self.partitions[running.tp], running.place)

    def _review(self, running: Running) -> None:
        """A message of a key ended: the key goes on, or it is empty."""
        partition, place = self.partitions[running.tp], running.place
        if self.entries_of(partition, place):
            self._wake(partition, place)
        elif not self.out(running.tp, place):
            del self.runs[running.tp, place]

    def _wake(self, partition: Partition, place: object) -> None:
        run = self.runs[partition.tp, place]
        run.is_awake = run.is_awake or bool(self.may_start(partition, place))
