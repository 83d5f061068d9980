"""Moves a kit's clock whenever no attempt runs and nothing else is left to do, and knows when all is settled.

Called after every turn of the control loop, and by nothing else: while an attempt runs, time is real.
"""

from __future__ import annotations

import asyncio
from typing import Final

from pyrallel_consumer.testing.kit.clock import KitClock
from pyrallel_consumer.testing.kit.life import Life

QUIET_SECONDS: Final = 0.5
"""For this time of the kit's clock nothing must be left to do: longer than a tick, a commit and a picture take."""
TICKS_BEFORE_LEAP: Final = 5
"""This many timers in a row are waited for one by one; then the clock jumps to the next retry, however far."""
LOOKS_AT_REST: Final = 3
"""This many looks in a row must find nothing to do: a cancelled task takes a few turns of the loop to end."""


class Mover:
    """``settled`` is set while nothing is left to do for the consumer of ``life``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: KitClock) -> None:
        self.settled = asyncio.Event()
        self.life: Life | None = None
        self._loop = loop
        self._clock = clock
        self._is_looking = False
        self._steps = 0
        self._quiet_since: float | None = None
        self._by_hand: asyncio.Event | None = None

    def disturb(self) -> None:
        """There is something new to do."""
        self.settled.clear()
        self._quiet_since = None
        self._steps = 0

    def after_turn(self) -> None:
        """No callback of the control loop is waiting: check the remaining work after the other callbacks."""
        if not self._is_looking:
            self._is_looking = True
            self._loop.call_soon(self._look)

    async def advance(self, seconds: float) -> None:
        """Move the clock on by ``seconds``; everything that is due meanwhile happens at its time."""
        ends_at = self._clock.now() + seconds
        self.disturb()
        self._by_hand = asyncio.Event()
        try:
            await self._rest(self._by_hand)
            while self.life is not None:
                at = self._next_at(self.life)
                if at is None or at >= ends_at:
                    break
                self._move_to(at)
                await self._rest(self._by_hand)
            self._move_to(ends_at)
            await self._rest(self._by_hand)
        finally:
            self._by_hand = None
            self.after_turn()

    async def _rest(self, rested: asyncio.Event) -> None:
        """Return when everything that is due has happened, except for the work of running attempts."""
        looks = 0
        while looks < LOOKS_AT_REST:
            rested.clear()
            self.after_turn()
            await rested.wait()
            # Since the look that found nothing to do, timers may have come by real time.
            looks = 0 if self.life is not None and _is_busy(self.life) else looks + 1

    def _look(self) -> None:
        self._is_looking = False
        life = self.life
        if life is None or _is_busy(life):
            return
        if self._by_hand is not None:
            self._by_hand.set()
            return
        if life.is_running_attempts:
            self.disturb()
            return
        if life.is_quiet and not life.is_stopping:
            now = self._clock.now()
            if self._quiet_since is None:
                self._quiet_since = now
            if now - self._quiet_since >= QUIET_SECONDS:
                self.settled.set()
                return
        else:
            self.settled.clear()
            self._quiet_since = None
        at = self._next_at(life)
        if at is not None:
            self._move_to(at)

    def _next_at(self, life: Life) -> float | None:
        """When something is due: the next timer, or, where timers alone have changed nothing, the next retry."""
        self._steps += 1
        retry_at = life.next_retry_at
        is_far = retry_at is not None and retry_at > self._clock.now()
        if self._steps > TICKS_BEFORE_LEAP and is_far and not life.is_stopping:
            self._steps = 0
            return retry_at
        return life.timers.next_at

    def _move_to(self, moment: float) -> None:
        self._clock.move_to(moment)
        if self.life is not None:
            self.life.timers.run_due()


def _is_busy(life: Life) -> bool:
    """Whether a turn of the control loop comes by itself."""
    return life.timers.is_busy or life.has_news
