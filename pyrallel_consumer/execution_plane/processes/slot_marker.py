"""The state of an async worker process, in memory that it shares with the engine and that outlives a kill -9.

The engine gives each message that it sends a *slot* and a number that no other message of that process has. The process
writes into the slot whether the message has begun or returned. It writes that a message begins before it looks at the
generation; the engine stores a new generation, waits until that store has certainly been seen, and then finds in the
slots all messages of earlier generations that may have begun. See ``progress_marker`` for processes without a loop.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

from pyrallel_consumer.execution_plane.processes.progress_marker import new_file

BEGUN: Final = 1
RETURNED: Final = 2
_NUMBER: Final = 4
"""A slot holds ``number * 4 + state``, so that the value of an earlier message is not taken for a later one's."""

_WORD_BYTES: Final = 8
_TIMES: Final = 2
_STARTS_UNTIL, _TURNED_AT = 0, 1
_GENERATION: Final = 0
_FIRST_SLOT: Final = 1


def state_word(number: int, state: int) -> int:
    """The value in the slot of message ``number`` in this state."""
    return number * _NUMBER + state


class SlotMarker:
    """Maps the file ``fd``, which stays open until ``close``. Without one it makes a new file for ``slots`` slots."""

    def __init__(self, slots: int = 0, fd: int | None = None) -> None:
        size = (_TIMES + _FIRST_SLOT + slots) * _WORD_BYTES
        self.fd = new_file(size) if fd is None else fd
        self._map = mmap.mmap(self.fd, os.fstat(self.fd).st_size)
        view = memoryview(self._map)
        self._times = view[: _TIMES * _WORD_BYTES].cast("d")
        self._words = view[_TIMES * _WORD_BYTES :].cast("Q")
        self.slots = self._words[_FIRST_SLOT:]
        """One word each, see ``state_word``. The process writes, the engine reads."""

    # The process writes

    def turned(self, now: float) -> None:
        """Its event loop is running at ``now`` (``time.monotonic``, the same clock in all processes of a machine)."""
        self._times[_TURNED_AT] = now

    # The engine writes

    def recall(self, generation: int) -> None:
        """No message of a generation before ``generation`` begins any more."""
        self._words[_GENERATION] = generation

    def let_start(self, until: float) -> None:
        """Messages may begin until then, in ``boot_seconds``; a new marker lets none begin."""
        self._times[_STARTS_UNTIL] = until

    # Both read

    def has(self, slot: int, number: int, state: int) -> bool:
        """Whether message ``number`` is in ``state``; before it begins it is in none."""
        return self.slots[slot] == number * _NUMBER + state

    @property
    def turned_at(self) -> float:
        return self._times[_TURNED_AT]

    @property
    def starts_until(self) -> float:
        return self._times[_STARTS_UNTIL]

    @property
    def generation(self) -> int:
        return self._words[_GENERATION]

    def close(self) -> None:
        """Let the memory and the file go. A second call does nothing."""
        if self._map.closed:
            return
        self.slots.release()
        self._words.release()
        self._times.release()
        self._map.close()
        os.close(self.fd)
