"""What metrics cost a consumer of no-ops: durations taken and not taken in turn within one lap, and scrapes apart.

Laps differ by far more than what is looked for, whole processes still more. Stretches of a few milliseconds that follow
one another differ little: each is held against the mean of its two neighbours, which were the other way.
"""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import geometric_mean, median
from typing import Final

from consumer_setup import GIVE_UP_SECONDS, build, uncommitted
from job import Figures, Job

STRETCH_MESSAGES: Final = 2000
CUT: Final = 5
"""One stretch in so many is left out at either end: those in which something else took the machine."""
SCRAPES: Final = 20
Mark = tuple[float, float]


async def in_turn(job: Job) -> Figures:
    """``job.laps`` laps; ratios of what is done with durations taken to without, and CPU milliseconds of a scrape."""
    rates: list[float] = []
    cpus: list[float] = []
    scrapes: list[float] = []
    counts: list[int] = []
    left = 0
    for number in range(job.laps):
        lap = replace(job, group=f"{job.group}-{number}", is_metered=True)
        finished, marks = await _lap(lap, number % 2, scrapes)
        rates += [1 / ratio for ratio in _on_off([seconds for seconds, _ in marks], number % 2)]
        cpus += _on_off([seconds for _, seconds in marks], number % 2)
        counts.append(finished)
        left += await asyncio.to_thread(uncommitted, lap)
    return {
        "rate_on_off": trimmed(rates),
        "cpu_on_off": trimmed(cpus),
        "scrape_ms": 1000 * median(scrapes),
        "processed": max(counts, key=lambda count: abs(count - job.messages)),
        "uncommitted": left,
    }


async def _lap(job: Job, first: int, scrapes: list[float]) -> tuple[int, list[Mark]]:
    """What the clocks showed at each change; ``first`` tells whether durations are taken to begin with."""
    finished, is_done = 0, asyncio.Event()
    marks: list[Mark] = []

    async def worker(_: object) -> None:
        nonlocal finished
        finished += 1
        if finished % STRETCH_MESSAGES == 0:
            # No setting changes while a consumer runs; what it decides is this, asked where messages start and end.
            manager._is_timed = control._is_timed = (len(marks) + first) % 2 == 1  # noqa: SLF001
            marks.append((time.perf_counter(), time.process_time()))
        if finished == job.messages:
            is_done.set()

    consumer = build(job, worker)
    async with consumer, asyncio.timeout(GIVE_UP_SECONDS):
        parts = consumer._parts  # noqa: SLF001 -- as above
        manager, control = parts.manager, parts.control
        await is_done.wait()
        address = consumer.metrics_address
        assert address is not None
        for _ in range(SCRAPES):
            before = time.process_time()
            await asyncio.to_thread(_scrape, *address)
            scrapes.append(time.process_time() - before)
    return finished, marks


def _scrape(host: str, port: int) -> None:
    client = http.client.HTTPConnection(host, port)
    client.request("GET", "/metrics")
    client.getresponse().read()
    client.close()


def _on_off(clock: Sequence[float], first: int) -> list[float]:
    """Of each stretch that has neighbours: with over without. The first begins as ``first`` says."""
    took = [later - earlier for earlier, later in pairwise(clock)]
    ratios = []
    for at in range(1, len(took) - 1):
        ratio = 2 * took[at] / (took[at - 1] + took[at + 1])
        ratios.append(ratio if (at + first) % 2 == 1 else 1 / ratio)
    return ratios


def trimmed(ratios: Sequence[float]) -> float:
    """Their mean, as of ratios, without the least and the greatest."""
    cut = len(ratios) // CUT
    return geometric_mean(sorted(ratios)[cut : len(ratios) - cut])
