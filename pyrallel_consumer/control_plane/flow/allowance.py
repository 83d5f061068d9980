"""How many messages in total the poll thread may deliver: as many as there is room for, but not a few at a time.

Each grant wakes the poll thread, which takes the interpreter's lock from the workers. So while all slots are taken, or
enough items are ready to fill them, the total does not rise before the next tick, if the waiting messages last until
then.
"""

from __future__ import annotations

ENOUGH = 1.5
"""Waiting messages last until the next tick if they are this many times the messages finished between the last two
ticks. The factor allows for a late tick."""


class Allowance:
    """``total`` counts from the consumer's start. It falls at once, and rises at ticks or when messages are needed."""

    def __init__(self) -> None:
        self.total = 0
        self._is_due = True
        self._finished = 0
        self._finished_a_tick = 0

    def tick(self, finished: int) -> None:
        """A tick: ``finished`` messages were done since the consumer's start."""
        self._is_due = True
        self._finished_a_tick, self._finished = finished - self._finished, finished

    def allow(self, most: int, *, waiting: int, is_idle: bool) -> int:
        """The new total: ``most``, or the total as it was if the poll thread need not be woken now.

        ``waiting`` messages are delivered and not started. ``is_idle``: a slot is free, and no item is ready for it.
        """
        if is_idle or self._is_due or most < self.total or waiting <= ENOUGH * self._finished_a_tick:
            self.total = most
            self._is_due = False
        return self.total
