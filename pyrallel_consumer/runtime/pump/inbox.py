"""Facts on their way to the event loop: any thread delivers them, the loop takes them in chunks.

Delivered messages are taken piece by piece, so that one large fact cannot hold up the loop.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.control_plane.events import Delivered

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextvars import Context

    from pyrallel_consumer.control_plane.work_manager import WorkManager

FACTS_CHUNK = 256
"""How many delivered messages are handled before the clock is read: more than items, because routing runs no worker."""


class Inbox:
    """``wake`` is called on the loop after a fact came. ``messages_taken`` counts delivered messages."""

    def __init__(self, loop: asyncio.AbstractEventLoop, base: Context, wake: Callable[[], None]) -> None:
        self._loop = loop
        self._base = base
        self._wake = wake
        self._facts: deque[Any] = deque()
        self._taken_of_first = 0
        self._is_announced = False
        self.messages_taken = 0

    def __bool__(self) -> bool:
        return bool(self._facts)

    def deliver(self, fact: object) -> None:
        """Deliver a fact, from any thread. Raises RuntimeError if the loop is closed."""
        self._facts.append(fact)
        if not self._is_announced:
            self._is_announced = True
            self._loop.call_soon_threadsafe(self._hear, context=self._base)

    def _hear(self) -> None:
        """The loop's end of ``deliver``; it resets the flag before it reads the inbox, so that no fact is missed."""
        self._is_announced = False
        self._wake()

    def take(self, manager: WorkManager, take_fact: Callable[[object], None]) -> None:
        """Take one chunk: delivered messages go to ``manager``, all other facts to ``take_fact``."""
        budget = FACTS_CHUNK
        facts = self._facts
        while budget > 0 and facts:
            fact = facts[0]
            if type(fact) is not Delivered:
                facts.popleft()
                take_fact(fact)
                budget -= 1
                continue
            at, messages = self._taken_of_first, fact.messages
            piece = messages[at : at + budget]
            manager.add(fact.tp, fact.epoch, piece)
            self.messages_taken += len(piece)
            budget -= len(piece)
            self._taken_of_first = at + len(piece)
            if self._taken_of_first >= len(messages):
                facts.popleft()
                self._taken_of_first = 0
