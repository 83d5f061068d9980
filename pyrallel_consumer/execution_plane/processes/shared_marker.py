"""The memory that a worker process shares with its engine, and that outlives a kill -9: a file without a name.

Words and times, each with one writer. The engine writes the lowest generation of items that may still begin, and until
when any item may begin. A process stores what begins before it looks at the generation. The engine stores a generation,
waits until that store has certainly been seen, and then finds in the other words all items of earlier generations that
may have begun.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Final

_WORD_BYTES: Final = 8
_TIMES_BYTES: Final = 2 * _WORD_BYTES
STARTS_UNTIL: Final = 0
OWN_TIME: Final = 1
"""Times: the first is the engine's, the second the process's."""
GENERATION: Final = 0
"""The first word; a marker has the words behind it."""

STORES_ARE_SEEN_SECONDS: Final = 0.002
"""After this time all other processes see a store of one process; processors need microseconds."""


class SharedMarker:
    """Maps the file ``fd``, which stays open until ``close``. ``None`` makes a new one of ``words`` words, all zero."""

    def __init__(self, words: int, fd: int | None = None) -> None:
        self.fd = _new_file(_TIMES_BYTES + words * _WORD_BYTES) if fd is None else fd
        self._map = mmap.mmap(self.fd, os.fstat(self.fd).st_size)
        view = memoryview(self._map)
        self._times = view[:_TIMES_BYTES].cast("d")
        self._words = view[_TIMES_BYTES:].cast("Q")

    def recall(self, generation: int) -> None:
        """No item of a generation before ``generation`` begins any more. The engine's."""
        self._words[GENERATION] = generation

    def let_start(self, until: float) -> None:
        """Items may begin until then, in ``boot_seconds``; a new marker lets none begin. The engine's."""
        self._times[STARTS_UNTIL] = until

    @property
    def starts_until(self) -> float:
        return self._times[STARTS_UNTIL]

    @property
    def generation(self) -> int:
        return self._words[GENERATION]

    def close(self) -> None:
        """Release the memory and the file. A second call does nothing."""
        if self._map.closed:
            return
        self._words.release()
        self._times.release()
        self._map.close()
        os.close(self.fd)


def _new_file(size: int) -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("pyrallel-marker")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, size)
    return fd
