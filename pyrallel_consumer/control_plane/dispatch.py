"""What may start next: partitions in turn, their lowest offsets first when slots are short, probes while the circuit
is open.

Owned by ``WorkManager``. Partitions that have something ready stand in one queue, the *listed* ones.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.failures.failure_circuit import FailureCircuit
    from pyrallel_consumer.control_plane.flow.backpressure import Load
    from pyrallel_consumer.control_plane.flow.loads import Loads
    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
    from pyrallel_consumer.dto import WorkItem

FEW_LISTED = 16
"""Up to this many partitions with ready items are summed up on demand: that costs less than to keep a running sum."""

TAKE_QUANTUM = 32
"""How many items one partition may start before the next partition has its turn."""


class Dispatch:
    """The queue of partitions that have something ready."""

    def __init__(self, loads: Loads, circuit: FailureCircuit) -> None:
        self.is_dispatching = True
        self._loads = loads
        self._circuit = circuit
        self._listed: deque[PartitionWork] = deque()

    def line_up(self, work: PartitionWork) -> None:
        """``work`` may have something ready: it gets its turn."""
        if work.ready and work.is_dispatching and not work.is_listed:
            work.is_listed = True
            self._listed.append(work)

    def take(self, most: int, slots: int, now: float | None) -> list[WorkItem]:
        """Start up to ``most`` items, across partitions in turn; see ``WorkManager.take``."""
        if self._circuit.is_open:
            return self._take_probe(now) if most > 0 else []
        started: list[WorkItem] = []
        listed = self._listed
        while listed and len(started) < most and self.is_dispatching:
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
        return started

    @property
    def ready(self) -> int:
        """Items that could start now."""
        if self._circuit.is_open:
            return int(self.is_dispatching and self._circuit.wants_probe and bool(self._listed))
        if not self.is_dispatching:
            return 0
        listed = self._listed
        if len(listed) > FEW_LISTED:
            return self._loads.ready
        return sum([len(work.ready) for work in listed if work.is_dispatching])

    def needs_another_probe(self, load: Load) -> bool:
        """Whether the open circuit needs another message to be read: all loaded ones were tried, and none may start."""
        if self._circuit.wants_probe:
            return not self._listed
        has_probes = self._loads.in_flight > 0 or self._loads.ready > 0
        return not has_probes or load.messages <= self._circuit.failed_probes

    def _take_probe(self, now: float | None) -> list[WorkItem]:
        """One item, and not the previous probe if there is another item: a poison message makes a bad probe."""
        circuit, listed = self._circuit, self._listed
        while circuit.wants_probe and listed and self.is_dispatching:
            work = listed.popleft()
            work.is_listed = False
            if work.is_dispatching and work.ready:
                item = work.take_probe(now)
                self._loads.touch(work)
                self.line_up(work)
                if item is not None:
                    circuit.probe_with(item)
                    return [item]
        return []
