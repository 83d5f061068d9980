"""Simulated time and event loop: callbacks run when the world says so, and the clock is a number."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any


class Clock:
    """The one clock of a run, in seconds. ``creep`` lets it move a little, as it does while code runs."""

    def __init__(self, random: Random) -> None:
        self.now = 1000.0
        self._random = random

    def creep(self) -> float:
        self.now += self._random.choice((0.0, 0.0, 0.0005, 0.0012))
        return self.now


class Timer:
    """What ``call_at`` returns."""

    def __init__(self, when: float, call: Callable[[], object]) -> None:
        self.call = call
        self.is_cancelled = False
        self._when = when

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self.is_cancelled = True


class VirtualLoop:
    """The part of an asyncio event loop that the control loop uses."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._timers_made = 0

    def time(self) -> float:
        return self._clock.creep()

    def call_soon(self, callback: Callable[..., object], *args: Any, context: object = None) -> None:
        self._ready.append(lambda: callback(*args))

    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: object = None) -> Timer:
        timer = Timer(when, lambda: callback(*args))
        self._timers_made += 1
        heapq.heappush(self._timers, (when, self._timers_made, timer))
        return timer

    def run_one(self) -> bool:
        """Run one callback that is ready or due; False where there is none."""
        while self._timers and self._timers[0][0] <= self._clock.now:
            timer = heapq.heappop(self._timers)[2]
            if not timer.is_cancelled:
                self._ready.append(timer.call)
        if not self._ready:
            return False
        self._ready.popleft()()
        return True
