"""The common parts of laps on an event loop: which loop, the wait for the end or the cap, and the program."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

from race.lap_plan import LapPlan, read_plan
from race.stopwatch import Stopwatch, leave, tell

LOOK_SECONDS: Final = 0.02

Figures = dict[str, float]


def run_lap(lap: Callable[[LapPlan], Coroutine[Any, Any, Figures]]) -> None:
    """A contender's whole program: run the lap of the plan in its argument, say the figures, and leave."""
    plan = read_plan(sys.argv[1])
    tell(_on_loop(plan, lap(plan)))
    leave()


async def until_over(watch: Stopwatch) -> None:
    """Return when the last message is finished, on whichever thread, or when the cap is reached."""
    loop, is_over = asyncio.get_running_loop(), asyncio.Event()
    watch.when_over(lambda: loop.call_soon_threadsafe(is_over.set))
    while not (watch.is_over or watch.is_late()):
        try:
            await asyncio.wait_for(is_over.wait(), LOOK_SECONDS)
        except TimeoutError:
            continue


def _on_loop(plan: LapPlan, lap: Coroutine[Any, Any, Figures]) -> Figures:
    """Run a lap on asyncio's loop, or on uvloop where the plan says so."""
    if plan.settings.get("is_uvloop"):
        figures: Figures = importlib.import_module("uvloop").run(lap)
        return figures
    return asyncio.run(lap)
