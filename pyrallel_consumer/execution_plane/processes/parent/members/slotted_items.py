"""The engine's record of an async worker process: its sent and unfinished messages by slot, and its room for more.

It decides, and the engine acts. A message has its slot until its end is reported or it is taken back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.execution_plane.processes.slot_marker import BEGUN, RETURNED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pyrallel_consumer.execution_plane.attempts import Attempt
    from pyrallel_consumer.execution_plane.processes.slot_marker import SlotMarker


class SlottedItems:
    """At most ``slots`` at once."""

    def __init__(self, slots: int, marker: SlotMarker) -> None:
        self.by_slot: dict[int, Attempt] = {}
        """In the order in which they were sent. Only to be read."""
        self.sent_total = 0
        self.generation = 0
        self._marker = marker
        self._free = list(range(slots))
        self._numbers = [0] * slots

    def __len__(self) -> int:
        return len(self.by_slot)

    @property
    def room(self) -> int:
        """How many more messages the process may be sent."""
        return len(self._free)

    def add(self, attempts: Sequence[Attempt]) -> tuple[int, list[int]]:
        """Note sent attempts, for which there is room; returns the number of the first, and the slot of each."""
        first = self.sent_total + 1
        count = len(attempts)
        slots = self._free[-count:]
        del self._free[-count:]
        self.by_slot.update(zip(slots, attempts, strict=True))
        numbers = self._numbers
        for number, slot in enumerate(slots, first):
            numbers[slot] = number
        self.sent_total += count
        return first, slots

    def end(self, slot: int) -> Attempt:
        """The attempt in ``slot`` has ended."""
        self._free.append(slot)
        return self.by_slot.pop(slot)

    def end_all(self, slots: Iterable[int]) -> list[Attempt]:
        """``end`` each of ``slots``."""
        pop = self.by_slot.pop
        ended = [pop(slot) for slot in slots]
        self._free.extend(slots)
        return ended

    def is_number(self, slot: int, number: int) -> bool:
        """Whether ``slot`` still belongs to message ``number``."""
        return slot in self.by_slot and self._numbers[slot] == number

    # By the marker

    def has_begun(self, slot: int) -> bool:
        """Whether the message in ``slot`` has begun, and has not returned."""
        return self._marker.has(slot, self._numbers[slot], BEGUN)

    def has_returned(self, slot: int) -> bool:
        return self._marker.has(slot, self._numbers[slot], RETURNED)

    def unbegun(self) -> list[int]:
        """Slots of messages that may not have begun, in the order of sending."""
        return [slot for slot in self.by_slot if not (self.has_begun(slot) or self.has_returned(slot))]

    def has_unbegun_of(self, which: Callable[[Attempt], bool]) -> bool:
        """Whether a message of ``which`` may not have begun."""
        return any(which(self.by_slot[slot]) for slot in self.unbegun())

    def oldest_begun(self) -> Attempt | None:
        """The running attempt that was sent first."""
        return next((attempt for slot, attempt in self.by_slot.items() if self.has_begun(slot)), None)

    @property
    def is_last_unbegun(self) -> bool:
        """Whether the last sent message has not begun: messages begin in the order in which they were sent."""
        if not self.by_slot:
            return False
        slot = next(reversed(self.by_slot))
        return not (self.has_begun(slot) or self.has_returned(slot))
