"""Which messages may have killed their process, and which of them runs alone now to find out. Pure.

A process that runs many messages at once dies with all of them, and only one may be to blame. Each of them loses
an attempt. A message that was present a second time, or has one attempt left, runs alone from then on, in a process set
aside: one suspect at a time. A suspect is cleared when an attempt of it ends without a death. Where it is not known
which messages ran, all that were sent are *doubtful*: they are not charged, and the next death there tells more.
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
        """How many deaths each was present at; 0 if it is only doubtful."""
        self._queue: deque[WorkItem] = deque()
        """Suspects that must run alone, in the order of their turns, without the current one."""
        self._current: WorkItem | None = None

    def __bool__(self) -> bool:
        """Whether a message was, or may have been, present at a death and is not cleared."""
        return bool(self._deaths)

    def __contains__(self, root: WorkItem) -> bool:
        return root in self._deaths

    @property
    def current(self) -> WorkItem | None:
        """The suspect that runs alone now."""
        return self._current

    @property
    def are_waiting(self) -> bool:
        """Whether a suspect must run alone, now or later."""
        return self._current is not None or bool(self._queue)

    def was_present(self, root: WorkItem, attempts_left: int) -> bool:
        """The process died with ``root``, which has ``attempts_left``. Returns whether it must run alone now."""
        deaths = self._deaths[root] = self._deaths.get(root, 0) + 1
        if deaths == 1 and attempts_left > 1:
            return False
        if self._current is root:
            self._current = None
        self._queue.append(root)
        return True

    def doubt(self, root: WorkItem) -> None:
        """The process died with ``root`` sent to it, and whether that had begun is not known."""
        self._deaths.setdefault(root, 0)

    def next(self) -> WorkItem | None:
        """The suspect whose turn begins now; None while another one runs, or none waits."""
        if self._current is not None or not self._queue:
            return None
        self._current = self._queue.popleft()
        return self._current

    def cleared(self, root: WorkItem) -> None:
        """``root`` is not to blame, or has its completion; no effect if it was no suspect."""
        if self._deaths.pop(root, None) is None:
            return
        if self._current is root:
            self._current = None
        elif root in self._queue:
            self._queue.remove(root)
