"""What laps on an event loop have in common: which loop, and the wait for the end or the cap."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Coroutine
from typing import Any, Final

from race.lap_plan import LapPlan
from race.stopwatch import Stopwatch

LOOK_SECONDS: Final = 0.02

Figures = dict[str, float]


def on_loop(plan: LapPlan, lap: Coroutine[Any, Any, Figures]) -> Figures:
    """Run a lap on asyncio's loop, or on uvloop where the plan says so."""
    if plan.settings.get("is_uvloop"):
        figures: Figures = importlib.import_module("uvloop").run(lap)
        return figures
    return asyncio.run(lap)


async def until_over(watch: Stopwatch) -> None:
    """Return when the last message is finished, on whichever thread, or when the cap is reached."""
    loop, is_over = asyncio.get_running_loop(), asyncio.Event()
    watch.when_over(lambda: loop.call_soon_threadsafe(is_over.set))
    while not (watch.is_over or watch.is_late()):
        try:
            await asyncio.wait_for(is_over.wait(), LOOK_SECONDS)
        except TimeoutError:
            continue
