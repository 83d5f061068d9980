"""What metrics cost a consumer: durations taken and not taken in turn within one lap, and scrapes apart.

Laps differ by far more than what is looked for, whole processes still more. Stretches of a few milliseconds that follow
one another differ little: each is held against the mean of its two neighbours, which were the other way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf
from statistics import geometric_mean, median
from typing import Final

from consumer_setup import GIVE_UP_SECONDS, build, uncommitted
from job import Figures, Job
from race.scraper import scrape_once

from pyrallel_consumer.consumer import PyrallelConsumer
from pyrallel_consumer.control_plane.latency import INSTANT_SECONDS

STRETCH_MESSAGES: Final = 2000
CUT: Final = 5
"""One stretch in so many is left out at either end: those in which something else took the machine."""
STRETCH_WAITS: Final = 1000
SCRAPES: Final = 20
Mark = tuple[float, float]


async def in_turn(job: Job) -> Figures:
    """``job.laps`` laps; ratios of what is done with durations taken to without, and CPU milliseconds of a scrape.

    ``cores`` is what the process keeps busy while it consumes.
    """
    rates: list[float] = []
    cpus: list[float] = []
    scrapes: list[float] = []
    counts: list[int] = []
    left = 0
    seconds = cpu_seconds = 0.0
    for number in range(job.laps):
        lap = replace(job, group=f"{job.group}-{number}", is_metered=True)
        finished, marks = await _lap(lap, number % 2, scrapes)
        clock, cpu_clock = zip(*marks, strict=True)
        rates += [1 / ratio for ratio in _on_off(clock, number % 2)]
        cpus += _on_off(cpu_clock, number % 2)
        seconds += clock[-1] - clock[0]
        cpu_seconds += cpu_clock[-1] - cpu_clock[0]
        counts.append(finished)
        left += await asyncio.to_thread(uncommitted, lap)
    return {
        "rate_on_off": _trimmed(rates),
        "cpu_on_off": _trimmed(cpus),
        "cores": cpu_seconds / seconds,
        "scrape_ms": 1000 * median(scrapes),
        "processed": max(counts, key=lambda count: abs(count - job.messages)),
        "uncommitted": left,
    }


async def _lap(job: Job, first: int, scrapes: list[float]) -> tuple[int, list[Mark]]:
    """What the clocks showed at each change; ``first`` tells whether durations are taken to begin with."""
    finished, is_done = 0, asyncio.Event()
    marks: list[Mark] = []
    seconds_each = job.worker_ms / 1000
    stretch = STRETCH_WAITS if seconds_each else STRETCH_MESSAGES

    async def worker(_: object) -> None:
        nonlocal finished
        if seconds_each:
            await asyncio.sleep(seconds_each)
        finished += 1
        if finished % stretch == 0:
            _take_durations(consumer, is_wanted=(len(marks) + first) % 2 == 1)
            marks.append((time.perf_counter(), time.process_time()))
        if finished == job.messages:
            is_done.set()

    consumer = build(job, worker)
    async with consumer, asyncio.timeout(GIVE_UP_SECONDS):
        await is_done.wait()
        address = consumer.metrics_address
        assert address is not None
        for _ in range(SCRAPES):
            before = time.process_time()
            await asyncio.to_thread(scrape_once, *address)
            scrapes.append(time.process_time() - before)
    return finished, marks


def _take_durations(consumer: PyrallelConsumer, *, is_wanted: bool) -> None:
    """From now on, or no longer: no setting changes while a consumer runs, so its books are told."""
    parts = consumer._parts  # noqa: SLF001 -- as said
    parts.manager._is_timed = parts.control._is_timed = is_wanted  # noqa: SLF001 -- as said
    instant_until = time.monotonic() + INSTANT_SECONDS if is_wanted else inf
    for work in parts.manager:
        for lane in work._lanes.values():  # noqa: SLF001 -- as said
            lane.instant_until = instant_until


def _on_off(clock: Sequence[float], first: int) -> list[float]:
    """Of each stretch that has neighbours: with over without. The first begins as ``first`` says."""
    took = [later - earlier for earlier, later in pairwise(clock)]
    ratios = []
    for at in range(1, len(took) - 1):
        ratio = 2 * took[at] / (took[at - 1] + took[at + 1])
        ratios.append(ratio if (at + first) % 2 == 1 else 1 / ratio)
    return ratios


def _trimmed(ratios: Sequence[float]) -> float:
    """Their mean, as of ratios, without the least and the greatest."""
    cut = len(ratios) // CUT
    return geometric_mean(sorted(ratios)[cut : len(ratios) - cut])
