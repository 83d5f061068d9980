"""How late the user's own timers come while the library starts workers that keep the loop busy before they wait."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from consumer_setup import GIVE_UP_SECONDS, build
from job import Figures, Job

TIMER_SECONDS: Final = 0.001
PRELUDE_SECONDS: Final = 0.001
QUIET_SECONDS: Final = 1.0


async def busy_preludes(job: Job) -> Figures:
    """Milliseconds by which a timer of 1 ms is late, from the first start of a worker to the last end.

    Each worker computes for 1 ms and then waits ``worker_ms``. Before that the same timer runs without any consumer:
    how late the machine alone makes it. ``preludes_between_timers`` says the same without the noise of the machine: how
    many workers began, at most, while a timer waited for its turn.
    """
    quiet = _Timer()
    async with asyncio.timeout(GIVE_UP_SECONDS), quiet:
        await asyncio.sleep(QUIET_SECONDS)
    timer = _Timer()
    is_done = asyncio.Event()
    seconds_each = job.worker_ms / 1000
    finished = 0

    async def worker(_: object) -> None:
        nonlocal finished
        timer.is_recording = True
        timer.since_last += 1
        until = time.perf_counter() + PRELUDE_SECONDS
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(seconds_each)
        finished += 1
        if finished == job.messages:
            is_done.set()

    timer.is_recording = False
    async with build(job, worker), asyncio.timeout(GIVE_UP_SECONDS), timer:
        await is_done.wait()
    return {
        "max_ms": timer.percentile(1.0),
        "p99_ms": timer.percentile(0.99),
        "quiet_max_ms": quiet.percentile(1.0),
        "preludes_between_timers": timer.most_between,
        "timers": len(timer.late_ms),
        "processed": finished,
    }


class _Timer:
    """Sleeps again and again while its block runs, and notes how late it wakes."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self.since_last = self.most_between = 0
        self.is_recording = True

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._sleep_on())

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    def percentile(self, share: float) -> float:
        """The lateness that this share of the timers did not exceed."""
        ordered = sorted(self.late_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    async def _sleep_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TIMER_SECONDS
            await asyncio.sleep(TIMER_SECONDS)
            self.most_between = max(self.most_between, self.since_last)
            self.since_last = 0
            if self.is_recording:
                self.late_ms.append((loop.time() - due) * 1000)
