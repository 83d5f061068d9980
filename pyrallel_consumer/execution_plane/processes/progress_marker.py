"""The state of a worker process, in memory that it shares with the engine and that outlives a kill -9.

Five words, each with one writer: the process writes which item runs (its number), since when, and up to which item all
have ended; the engine writes the lowest generation of items that may still begin, and until when any item may begin. A
process stores what runs before it looks at the generation. An engine stores a generation, waits until that store has
certainly been seen, and then finds in ``running`` the last item of earlier generations that may have begun.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Final

_BYTES: Final = 40
_RUNNING, _DONE, _GENERATION = 0, 1, 2
_SINCE, _STARTS_UNTIL = 0, 1

STORES_ARE_SEEN_SECONDS: Final = 0.002
"""After this time all other processes see a store of one process; processors need microseconds."""


class ProgressMarker:
    """Maps the file ``fd``, which stays open until ``close``. ``None`` makes a new one, of zeros."""

    def __init__(self, fd: int | None = None) -> None:
        self.fd = new_file(_BYTES) if fd is None else fd
        self._map = mmap.mmap(self.fd, _BYTES)
        view = memoryview(self._map)
        self._words = view[:24].cast("Q")
        self._times = view[24:].cast("d")

    # The process writes

    def begin(self, number: int, now: float) -> None:
        """Item ``number`` begins at ``now`` (``time.monotonic``, the same clock in all processes of a machine)."""
        self._times[_SINCE] = now
        self._words[_RUNNING] = number

    def end(self, number: int) -> None:
        """All items up to ``number`` have returned, or were told otherwise before this call."""
        self._words[_DONE] = number

    def begin_nothing(self) -> None:
        """The item of the last ``begin`` does not begin after all."""
        self._words[_RUNNING] = 0

    # The engine writes

    def recall(self, generation: int) -> None:
        """No item of a generation before ``generation`` begins any more."""
        self._words[_GENERATION] = generation

    def let_start(self, until: float) -> None:
        """Items may begin until then, in ``boot_seconds``; a new marker lets none begin."""
        self._times[_STARTS_UNTIL] = until

    # Both read

    @property
    def running(self) -> int:
        """The item that began last, 0 for none; it has ended if ``done`` is not lower."""
        return self._words[_RUNNING]

    @property
    def since(self) -> float:
        return self._times[_SINCE]

    @property
    def starts_until(self) -> float:
        return self._times[_STARTS_UNTIL]

    @property
    def done(self) -> int:
        return self._words[_DONE]

    @property
    def generation(self) -> int:
        return self._words[_GENERATION]

    def close(self) -> None:
        """Let the memory and the file go. A second call does nothing."""
        if self._map.closed:
            return
        self._words.release()
        self._times.release()
        self._map.close()
        os.close(self.fd)


def new_file(size: int) -> int:
    """The descriptor of a new file without a name, of ``size`` zero bytes."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("pyrallel-marker")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, size)
    return fd
