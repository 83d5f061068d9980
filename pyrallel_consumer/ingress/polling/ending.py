"""How far the end of a poll thread has come: any thread asks for the end, and the poll thread sees it even in a wait.

It only goes forward: from nothing to closing to abandoned.
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
        """Whether the thread must end, in order or at once."""
        return self._asked.is_set()

    @property
    def is_abandoned(self) -> bool:
        """Whether the wait for the thread was given up."""
        return self._is_abandoned

    def ask(self) -> None:
        """The thread must end in order."""
        self._asked.set()

    def abandon(self) -> None:
        """The thread must end at once."""
        self._is_abandoned = True
        self._asked.set()

    def wait_asked(self, seconds: float) -> bool:
        """Sleep until the time is over or the end is asked for; returns whether it was asked for."""
        return self._asked.wait(seconds)
