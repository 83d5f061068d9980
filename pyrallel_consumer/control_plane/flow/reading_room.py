"""How many messages may be read now, and which partitions pause meanwhile, and why.

Owned by ``WorkManager``. Reasons to pause are a set per partition: fetching resumes when the set is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.events import Pause, Resume
from pyrallel_consumer.control_plane.flow.allowance import Allowance
from pyrallel_consumer.control_plane.flow.backpressure import Backpressure
from pyrallel_consumer.control_plane.flow.fair_shares import FairShares
from pyrallel_consumer.control_plane.flow.pauses import Pauses
from pyrallel_consumer.control_plane.partitions.loaded_bytes import EXACT_MESSAGES

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.dispatch import Dispatch
    from pyrallel_consumer.control_plane.failures.failure_circuit import FailureCircuit
    from pyrallel_consumer.control_plane.flow.backpressure import Load
    from pyrallel_consumer.control_plane.flow.loads import Loads
    from pyrallel_consumer.control_plane.partitions.assigned_partitions import AssignedPartitions
    from pyrallel_consumer.control_plane.policies import FlowLimits
    from pyrallel_consumer.dto import TopicPartition

COUNTED_PER_SECOND = 20_000
"""How many unfinished messages are counted in a second for the snapshot alone: less than 1 % of a core."""


class ReadingRoom:
    """The room in the buffer of read messages, for all partitions and for each."""

    def __init__(
        self,
        limits: FlowLimits,
        works: AssignedPartitions,
        loads: Loads,
        dispatch: Dispatch,
        circuit: FailureCircuit,
    ) -> None:
        self.backpressure = Backpressure(limits)
        self._works = works
        self._loads = loads
        self._dispatch = dispatch
        self._circuit = circuit
        self._shares = FairShares(limits)
        self._allowance = Allowance()
        self._pauses = Pauses()
        self._bytes_due_at = 0.0

    @property
    def load(self) -> Load:
        """Messages that are read and not finished, over all partitions; bytes are measured again if they matter."""
        return self._loads.measured_load

    @property
    def room(self) -> int:
        """How many more messages may be read now, of any partition that is not paused."""
        load = self.load
        room = self.backpressure.room(load)
        if self._circuit.is_open:
            return min(room, 1) if self._dispatch.needs_another_probe(load) else 0
        if room == 0 or len(self._works) <= 1:
            return room
        anybodys = self._shares.certain_room(load, self.backpressure.message_bytes)
        if anybodys is not None:
            return min(room, anybodys)
        parts = self._loads.parts(self._full_partitions())
        return min(room, self._shares.room(parts, self.backpressure.message_bytes))

    def allowed(self, taken: int, room: int, *, free_slots: int) -> int:
        """How many messages in total may be delivered; ``taken`` have come, and ``room`` is the present room."""
        waiting = self._loads.load.messages - self._loads.in_flight
        is_idle = free_slots > 0 and not self._dispatch.ready
        return self._allowance.allow(taken + room, waiting=waiting, is_idle=is_idle)

    def review_shares(self) -> None:
        """Pause the partitions that filled their share of the buffer, resume those that made room."""
        full = self._full_partitions()
        if not full and self._shares.certain_room(self._loads.load, self.backpressure.message_bytes) is not None:
            self._shares.pass_over()
            return
        now_full = self._shares.review(self._loads.parts(full))
        for tp in sorted(now_full - full):  # Sets have no order of their own, and a seed of the simulator must replay.
            self.pause(tp, "share")
        for tp in sorted(full - now_full):
            self.resume(tp, "share")

    def pause(self, tp: TopicPartition, reason: str) -> None:
        """Fetch no more of ``tp`` until this reason, and every other, is gone."""
        if tp in self._works:
            self._pauses.add(tp, reason)

    def resume(self, tp: TopicPartition, reason: str) -> bool:
        """End the pause for this reason; returns False if there was none."""
        return self._pauses.remove(tp, reason)

    def is_paused(self, tp: TopicPartition) -> bool:
        """Whether there is a reason to pause ``tp``, the circuit left out."""
        return bool(self._pauses.reasons(tp))

    def reasons(self, tp: TopicPartition) -> tuple[str, ...]:
        """Why ``tp`` is paused, sorted; empty if it is not."""
        reasons = self._pauses.reasons(tp)
        return tuple(sorted(reasons | {"circuit"} if self._circuit.is_open else reasons))

    def repeat(self, tp: TopicPartition) -> None:
        """``tp`` has a new epoch: tell the client again whether it is paused."""
        self._pauses.repeat(tp)

    def forget(self, tp: TopicPartition) -> None:
        """``tp`` is no longer assigned."""
        self._pauses.forget(tp)

    def take_changes(self) -> list[Pause | Resume]:
        """The commands that bring the client in line with the reasons; empty if nothing changed."""
        changes: list[Pause | Resume] = []
        for tp, is_paused in self._pauses.take_changes():
            work = self._works[tp]
            changes.append(Pause(tp, work.epoch) if is_paused else Resume(tp, work.epoch))
        return changes

    def observe(self, now: float) -> None:
        """A tick: count bytes if that is due, and note how many messages are done."""
        messages = self._loads.load.messages
        if now >= self._bytes_due_at or messages <= EXACT_MESSAGES:
            self._bytes_due_at = now + messages / COUNTED_PER_SECOND
            self._loads.count_bytes()
        self._allowance.tick(self._works.processed)

    def _full_partitions(self) -> set[TopicPartition]:
        return self._pauses.paused_for("share")
