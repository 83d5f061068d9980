"""The state of each message in an async worker process: a *slot* of shared memory says if it has begun or returned.

The engine gives each message that it sends a slot, and a number that no other message of that process has. The process
writes the slots; see ``shared_marker``. ``progress_marker`` is for processes without an event loop.
"""

from __future__ import annotations

from typing import Final

from pyrallel_consumer.execution_plane.processes.shared_marker import OWN_TIME, SharedMarker

BEGUN: Final = 1
RETURNED: Final = 2
_NUMBER: Final = 4
"""A slot holds ``number * 4 + state``, so that the value of an earlier message is not taken for a later one's."""
_FIRST_SLOT: Final = 1


def state_word(number: int, state: int) -> int:
    """The value in the slot of message ``number`` in this state."""
    return number * _NUMBER + state


class SlotMarker(SharedMarker):
    """Maps the file ``fd``, which stays open until ``close``. Without one it makes a new file for ``slots`` slots."""

    def __init__(self, slots: int = 0, fd: int | None = None) -> None:
        super().__init__(_FIRST_SLOT + slots, fd)
        self.slots = self._words[_FIRST_SLOT:]
        """One word each, see ``state_word``. The process writes, the engine reads."""

    def turned(self, now: float) -> None:
        """The process's event loop is running at ``now`` (``time.monotonic``, one clock for all processes)."""
        self._times[OWN_TIME] = now

    def has(self, slot: int, number: int, state: int) -> bool:
        """Whether message ``number`` is in ``state``; before it begins it is in none."""
        return self.slots[slot] == number * _NUMBER + state

    @property
    def turned_at(self) -> float:
        return self._times[OWN_TIME]

    def close(self) -> None:
        """Release the memory and the file. A second call does nothing."""
        self.slots.release()
        super().close()
