"""How fast the library consumes: no-op workers, waiting workers, and a backlog that stands before the clock starts."""

from __future__ import annotations

import asyncio
import time

from consumer_setup import GIVE_UP_SECONDS, Worker, build, uncommitted, until_pictured
from instant_engine import InstantEngine
from job import Figures, Job
from race.scraper import scrape

from pyrallel_consumer.execution_plane.engine import ExecutionEngine


class _Clock:
    """Runs until ``expected`` messages are finished; more than that are duplicates, and are counted too."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.finished = 0
        self.is_done = asyncio.Event()
        self._started_at = self._cpu_at = self._seconds = self._cpu_seconds = 0.0

    def note(self, messages: int) -> None:
        """The clock runs from the first of them to the last."""
        if not self.finished:
            self.begin()
        self.finished += messages
        if self.finished == self.expected:
            self.end()

    def begin(self) -> None:
        self._started_at, self._cpu_at = time.perf_counter(), time.process_time()

    def end(self) -> None:
        self._seconds = time.perf_counter() - self._started_at
        self._cpu_seconds = time.process_time() - self._cpu_at
        self.is_done.set()

    def figures(self) -> Figures:
        return {
            "messages_per_second": self.expected / self._seconds,
            "cpu_us_per_message": self._cpu_seconds / self.expected * 1e6,
            "seconds": self._seconds,
            "processed": self.finished,
        }


async def noop(job: Job) -> Figures:
    """From the first call to the last of a worker that does nothing, but for the counting that tells the end."""
    clock = _Clock(job.messages)

    async def worker(_: object) -> None:
        clock.note(1)

    return await _consume(job, worker, clock)


async def no_call(job: Job) -> Figures:
    """The same with an engine that calls nothing: no engine can be faster."""
    clock = _Clock(job.messages)
    return await _consume(job, None, clock, InstantEngine(job.max_in_flight, clock.note))


async def noop_batches(job: Job) -> Figures:
    """The same for a worker that takes batches."""
    clock = _Clock(job.messages)

    async def worker(items: list[object]) -> None:
        clock.note(len(items))

    return await _consume(job, worker, clock)


async def waiting(job: Job) -> Figures:
    """From the first start to the last end of a worker that sleeps ``worker_ms``, as one that calls a service does."""
    clock = _Clock(job.messages)
    seconds_each = job.worker_ms / 1000
    is_begun = False

    async def worker(_: object) -> None:
        nonlocal is_begun
        if not is_begun:
            is_begun = True
            clock.begin()
        await asyncio.sleep(seconds_each)
        clock.finished += 1
        if clock.finished == clock.expected:
            clock.end()

    return await _consume(job, worker, clock)


async def backlog(job: Job) -> Figures:
    """All messages are read and blocked by waiting workers; the clock runs from the moment at which these go on."""
    clock = _Clock(job.messages)
    gate = asyncio.Event()

    async def worker(_: object) -> None:
        if not gate.is_set():
            await gate.wait()
        clock.finished += 1
        if clock.finished == clock.expected:
            clock.end()

    consumer = build(job, worker)
    async with consumer:
        await until_pictured(consumer, lambda picture: picture.load_messages == job.messages)
        clock.begin()
        gate.set()
        async with asyncio.timeout(GIVE_UP_SECONDS):
            await clock.is_done.wait()
    return clock.figures() | {"uncommitted": await asyncio.to_thread(uncommitted, job)}


async def _consume(job: Job, worker: Worker | None, clock: _Clock, engine: ExecutionEngine | None = None) -> Figures:
    async with build(job, worker, engine=engine) as consumer, asyncio.timeout(GIVE_UP_SECONDS):
        if consumer.metrics_address is not None:
            scrape(consumer.metrics_address)
        await clock.is_done.wait()
    return clock.figures() | {"uncommitted": await asyncio.to_thread(uncommitted, job)}
