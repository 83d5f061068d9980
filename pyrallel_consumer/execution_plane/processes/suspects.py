"""Which messages may have killed their process, and whose turn it is to show that it has not. Pure.

A process that runs many messages at once dies with all of them, and only one may be to blame. Each of them is charged
an attempt. Who was there the second time, or has one attempt left, runs alone from then on, in a process set aside:
one suspect at a time. A suspect is cleared when an attempt of it ends in any other way than by a death.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrallel_consumer.dto import WorkItem


class Suspects:
    """Messages are known by their roots, as in ``Attempts``."""

    def __init__(self) -> None:
        self._deaths: dict[WorkItem, int] = {}
        """How many deaths each was present at."""
        self._queue: deque[WorkItem] = deque()
        """Those that are to run alone, in the order of their turns, without the one whose turn it is."""
        self._current: WorkItem | None = None

    def __bool__(self) -> bool:
        """Whether anybody was present at a death and is not cleared."""
        return bool(self._deaths)

    @property
    def current(self) -> WorkItem | None:
        """Whose turn it is to run alone."""
        return self._current

    @property
    def are_waiting(self) -> bool:
        """Whether anybody is to run alone, now or later."""
        return self._current is not None or bool(self._queue)

    def was_present(self, root: WorkItem, attempts_left: int) -> bool:
        """The process died with ``root``, which may have so many attempts more. Returns whether it runs alone now."""
        deaths = self._deaths[root] = self._deaths.get(root, 0) + 1
        if deaths == 1 and attempts_left > 1:
            return False
        if self._current is root:
            self._current = None
        self._queue.append(root)
        return True

    def next(self) -> WorkItem | None:
        """Whose turn has come just now; None while it is somebody's turn, or nobody waits."""
        if self._current is not None or not self._queue:
            return None
        self._current = self._queue.popleft()
        return self._current

    def cleared(self, root: WorkItem) -> None:
        """``root`` is no suspect, or has its completion; nothing happens where it never was one."""
        if self._deaths.pop(root, None) is None:
            return
        if self._current is root:
            self._current = None
        elif root in self._queue:
            self._queue.remove(root)
