"""What the library costs while nothing happens: without messages, and with workers that all wait."""

from __future__ import annotations

import asyncio
from typing import Final

from consumer_setup import build, until_pictured
from job import Figures, Job
from process_cpu import idle_figures

SETTLE_SECONDS: Final = 1.0


async def idle(job: Job) -> Figures:
    """Subscribed and assigned, and the topic is empty."""

    async def worker(_: object) -> None:
        pass

    consumer = build(job, worker)
    async with consumer:
        await until_pictured(consumer, lambda picture: picture.partitions)
        return await _measured(job.seconds)


async def all_waiting(job: Job) -> Figures:
    """``max_in_flight`` workers wait for ever, and the topic holds more messages than are read."""
    never = asyncio.Event()

    async def worker(_: object) -> None:
        await never.wait()

    consumer = build(job, worker, drain_ms=0)
    async with consumer:
        await until_pictured(consumer, lambda picture: picture.in_flight == job.max_in_flight)
        return await _measured(job.seconds)


async def _measured(seconds: float) -> Figures:
    await asyncio.sleep(SETTLE_SECONDS)
    with idle_figures() as figures:
        await asyncio.sleep(seconds)
    return figures
