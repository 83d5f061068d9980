"""How far the end of a poll thread has come: asked for by any thread, seen by the poll thread in the midst of a wait.

Only ever goes forward: from nothing to closing to abandoned.
"""

from __future__ import annotations

import threading


class Ending:
    """Closing: finish in order, wait for nothing new. Abandoned: end as soon as possible, commit nothing."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._is_abandoned = False

    @property
    def is_asked(self) -> bool:
        """Whether the thread is to end, in order or at once."""
        return self._asked.is_set()

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody waits any more for what the thread still does."""
        return self._is_abandoned

    def ask(self) -> None:
        """The thread is to end in order."""
        self._asked.set()

    def abandon(self) -> None:
        """The thread is to end at once."""
        self._is_abandoned = True
        self._asked.set()

    def wait_asked(self, seconds: float) -> bool:
        """Sleep, but not past the moment when the end is asked for; returns whether it is."""
        return self._asked.wait(seconds)
