"""All views for operators are made through this class: an error in one is counted and logged once, and ends nothing.

Snapshot, status feed, watches and the endpoint's answers are *pictures*. They call foreign code (a user's
engine, a user's logging setup), and a bug in one of them must not cost a message. Necessary work, for example commands
and commits, does not belong here: an error in it ends the consumer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from pyrallel_consumer.log import Log

logger = Log("pyrallel_consumer.observability")


class Pictures:
    """``failures`` counts the errors of all pictures. ``note`` may be called by any thread."""

    def __init__(self) -> None:
        self.failures = 0
        self._drawers: list[Callable[[float], None]] = []
        self._told: set[tuple[str, type]] = set()
        self._lock = threading.Lock()

    def add(self, draw: Callable[[float], None]) -> None:
        """Call ``draw`` with the time at every tick."""
        self._drawers.append(draw)

    def draw(self, now: float) -> None:
        """A tick: draw every picture, even if others fail."""
        for draw in self._drawers:
            try:
                draw(now)
            except Exception as error:  # noqa: BLE001 -- the edge around pictures; see the module's law
                self.note(draw.__qualname__, error)

    def note(self, name: str, error: Exception) -> None:
        """The picture ``name`` failed. Each kind of error is logged once for each picture."""
        kind = name, type(error)
        with self._lock:
            self.failures += 1
            if kind in self._told:
                return
            self._told.add(kind)
        with suppress(Exception):  # The user's logging setup may fail.
            logger.error(
                "%s failed with %s: what operators see is incomplete, and consuming goes on. This is told once; "
                "consumer_picture_failures_total counts on",
                name,
                type(error).__name__,
                exc_info=error,
            )
