"""How many messages the poll thread may hand on in all: what there is room for, but not a few at a time.

Each grant wakes the poll thread, and that takes the interpreter's lock from who works. So while all slots are taken, or
enough is there to fill them, no more is granted until the next tick, if what waits lasts so long.
"""

from __future__ import annotations

ENOUGH = 1.5
"""So many times what was finished between the last two ticks lasts until the next one, late as it may be."""


class Allowance:
    """``total`` counts from the consumer's beginning. It falls at once, and rises at ticks or where it is needed."""

    def __init__(self) -> None:
        self.total = 0
        self._is_due = True
        self._finished = 0
        self._finished_a_tick = 0

    def tick(self, finished: int) -> None:
        """A tick has come; ``finished`` messages were done since the consumer's beginning."""
        self._is_due = True
        self._finished_a_tick, self._finished = finished - self._finished, finished

    def allow(self, most: int, *, waiting: int, is_idle: bool) -> int:
        """The new total, ``most`` if it has to be that.

        ``waiting`` messages have come and are not started; ``is_idle``: a slot is free, and nothing is ready for it.
        """
        if is_idle or self._is_due or most < self.total or waiting <= ENOUGH * self._finished_a_tick:
            self.total = most
            self._is_due = False
        return self.total
