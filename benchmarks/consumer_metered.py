"""What metrics cost a consumer, by laps in which durations are taken and not taken in turn (see ``race.in_turn``)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from consumer_setup import GIVE_UP_SECONDS, build, uncommitted
from job import Figures, Job
from race.in_turn import Stretches, figures_of, scrape_seconds


async def in_turn(job: Job) -> Figures:
    """``job.laps`` laps, their stretches together."""
    laps: list[Stretches] = []
    scrapes: list[float] = []
    left = 0
    for number in range(job.laps):
        lap = replace(job, group=f"{job.group}-{number}", is_metered=True)
        laps.append(await _lap(lap, number % 2, scrapes))
        left += await asyncio.to_thread(uncommitted, lap)
    return figures_of(laps, scrapes) | {
        "processed": max((lap.finished for lap in laps), key=lambda count: abs(count - job.messages)),
        "uncommitted": left,
    }


async def _lap(job: Job, first: int, scrapes: list[float]) -> Stretches:
    is_done = asyncio.Event()
    stretches = Stretches(first)
    worker = stretches.worker(job.messages, job.worker_ms / 1000, job.max_in_flight, is_done.set)
    consumer = build(job, worker)
    stretches.watch(consumer)
    async with consumer, asyncio.timeout(GIVE_UP_SECONDS):
        await is_done.wait()
        scrapes += await scrape_seconds(consumer)
    return stretches
