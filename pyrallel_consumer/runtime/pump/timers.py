"""When the pump is woken without a fact or a completion: by its ticker, and by one alarm before the next tick.

Belongs to the event loop. While the consumer is idle, the ticker is slower. ``turn_seconds`` bounds one turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextvars import Context

TICK_SECONDS = 0.05
STILL_TICK_SECONDS = 0.125
"""The tick interval while idle: two ticks per snapshot, and well below the watchdog's limit for a late loop."""
STILL_SECONDS = 2.0
"""The consumer is idle after this long without movement: longer than a commit usually takes."""
MIN_ALARM_SECONDS = 0.001
"""Two alarms are at least this far apart, even if they are set for closer times."""
TURN_SECONDS, LONGEST_TURN_SECONDS = 0.002, 0.01
"""How long one turn may take: usually, and at most, if the loop's other callbacks delay the turn by the same time."""


def turn_seconds(waited_seconds: float) -> float:
    """How long a turn may take that started ``waited_seconds`` late.

    With thousands of waiting workers an iteration of the loop is long. Short turns could not route and start enough
    messages per iteration, and keys would run dry.
    """
    return min(max(TURN_SECONDS, 2 * waited_seconds), LONGEST_TURN_SECONDS)


class Timers:
    """Calls ``tick`` once for each ``next_tick``, and ``ring`` at the time of the alarm; both in the context ``base``.

    All times are of the pump's clock, in seconds; it runs as fast as the loop's.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        base: Context,
        *,
        tick: Callable[[], None],
        ring: Callable[[], None],
        now: float,
    ) -> None:
        self._loop = loop
        self._base = base
        self._tick = tick
        self._ring = ring
        self._moved_at = now
        self._tick_at = 0.0
        self._ticker: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._alarm: asyncio.TimerHandle | None = None

    def next_tick(self, now: float, *, may_be_still: bool) -> None:
        """Tick again: soon, or later if nothing has moved for a while and ``may_be_still``."""
        is_still = may_be_still and now - self._moved_at > STILL_SECONDS
        self._tick_in(STILL_TICK_SECONDS if is_still else TICK_SECONDS, now)

    def note_movement(self, now: float) -> None:
        """From now on tick at the usual interval for a while."""
        self._moved_at = now
        if self._ticker is not None and self._tick_at > now + TICK_SECONDS:
            self._ticker.cancel()
            self._tick_in(TICK_SECONDS, now)

    def set_alarm(self, at: float | None, now: float) -> None:
        """Ring at ``at``, unless that is None or the next tick comes first."""
        at = max(self._tick_at if at is None else at, now + MIN_ALARM_SECONDS)
        if at >= self._tick_at or (self._alarm is not None and self._alarm_at <= at):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._call_in(at - now, self._sound)

    def cancel(self) -> None:
        """Neither tick nor ring any more."""
        for timer in (self._ticker, self._alarm):
            if timer is not None:
                timer.cancel()

    def _tick_in(self, seconds: float, now: float) -> None:
        self._tick_at = now + seconds
        self._ticker = self._call_in(seconds, self._end_tick)

    def _end_tick(self) -> None:
        self._ticker = None
        self._tick()

    def _sound(self) -> None:
        self._alarm = None
        self._ring()

    def _call_in(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        return self._loop.call_at(self._loop.time() + seconds, call, context=self._base)
