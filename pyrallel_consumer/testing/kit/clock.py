"""The clock of a kit: real time, and ahead of it by all the waiting that was left out.

``KitTimers`` stands between the control loop and the event loop: the control loop's timers are due by the kit's clock.
Nothing else is changed: ``asyncio.sleep`` and ``time.time`` in workers stay real.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from contextvars import Context
from itertools import count


class KitClock:
    """Seconds as ``time.monotonic`` counts them, never going back. For any thread; moved on one alone."""

    def __init__(self) -> None:
        self._ahead_seconds = 0.0

    def now(self) -> float:
        return time.monotonic() + self._ahead_seconds

    def move_to(self, moment: float) -> None:
        """Be at ``moment`` or later, at once."""
        self._ahead_seconds += max(0.0, moment - self.now())

    def real(self, moment: float) -> float:
        """When ``moment`` comes by ``time.monotonic``, unless the clock is moved."""
        return moment - self._ahead_seconds


class KitTimer:
    """What ``call_at`` returns."""

    __slots__ = ("call", "is_cancelled", "moment")

    def __init__(self, moment: float, call: Callable[[], None]) -> None:
        self.moment = moment
        self.call = call
        self.is_cancelled = False

    def when(self) -> float:
        return self.moment

    def cancel(self) -> None:
        self.is_cancelled = True


class KitTimers:
    """The part of an event loop that the control loop uses. ``after`` is called when no callback of it is waiting."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: KitClock, after: Callable[[], None]) -> None:
        self._loop = loop
        self._clock = clock
        self._after = after
        self._waiting = 0
        self._heap: list[tuple[float, int, KitTimer]] = []
        self._sequence = count()
        self._alarm: asyncio.TimerHandle | None = None
        self._is_over = False

    def time(self) -> float:
        return self._clock.now()

    def call_soon(self, callback: Callable[..., object], *args: object, context: Context | None = None) -> None:
        self._waiting += 1
        self._loop.call_soon(self._run_waiting, callback, args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> None:
        self._loop.call_soon_threadsafe(self._run, callback, args, context=context)

    def call_at(
        self, moment: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> KitTimer:
        """Call when the kit's clock is at ``moment``."""
        timer = KitTimer(moment, lambda: self.call_soon(callback, *args, context=context))
        heapq.heappush(self._heap, (moment, next(self._sequence), timer))
        if self._heap[0][2] is timer:
            self._set_alarm()
        return timer

    @property
    def next_at(self) -> float | None:
        """When the next timer is due, by the kit's clock."""
        while self._heap and self._heap[0][2].is_cancelled:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    @property
    def is_busy(self) -> bool:
        """Whether callbacks wait for their turn on the loop."""
        return self._waiting > 0

    def run_due(self) -> None:
        """Have the callbacks called whose time has come."""
        now = self._clock.now()
        while (at := self.next_at) is not None and at <= now:
            heapq.heappop(self._heap)[2].call()
        self._set_alarm()

    def close(self) -> None:
        """Call nothing more."""
        self._is_over = True
        self._heap.clear()
        if self._alarm is not None:
            self._alarm.cancel()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        at = self.next_at
        if at is not None and not self._is_over:
            seconds = max(0.0, self._clock.real(at) - time.monotonic())
            self._alarm = self._loop.call_later(seconds, self.run_due)

    def _run_waiting(self, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        self._waiting -= 1
        self._run(callback, args)

    def _run(self, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        if self._is_over:
            return
        callback(*args)
        if self._waiting == 0:
            self._after()
