"""Whole consumers whose workers run in processes and threads, and what threads and one core do without a consumer."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Final

import psutil
from confluent_kafka import Consumer
from consumer_setup import GIVE_UP_SECONDS, kafka_config, uncommitted
from engine_workers import add_often, do_nothing, hash_often, hashed
from job import Figures, Job

from pyrallel_consumer.config import ExecutionConfig
from pyrallel_consumer.consumer import PyrallelConsumer
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.execution_plane.engine import ExecutionEngine
from pyrallel_consumer.execution_plane.processes.parent.process_engine import ProcessEngine
from pyrallel_consumer.execution_plane.thread_engine import SLOTS_PER_THREAD, ThreadEngine
from pyrallel_consumer.ingress.client.client_settings import consumer_configuration

PROCESSES: Final = 2
SLOTS_PER_PROCESS: Final = 512
LOOK_SECONDS: Final = 0.005
RSS_EVERY: Final = 10
"""Looks for each look at the memory, which takes the loop a little time."""
MIB: Final = 1024 * 1024


class Clock:
    """Time from the first submission until the engine has ended all submitted items."""

    def __init__(self, job: Job) -> None:
        self.submitted = 0
        self.rss = [0, 0]
        self._messages = job.messages
        self._process = psutil.Process()
        self._started_at = self._cpu_at = 0.0

    def submit(self, messages: int = 1) -> None:
        if not self.submitted:
            self._started_at, self._cpu_at = time.perf_counter(), time.process_time()
        self.submitted += messages

    async def figures(self, engine: ExecutionEngine) -> Figures:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            looks = itertools.count()
            while self.submitted < self._messages or engine.running() or engine.waiting():
                if next(looks) % RSS_EVERY == 0:
                    half = self.submitted * 2 >= self._messages
                    self.rss[half] = max(self.rss[half], self._process.memory_info().rss)
                await asyncio.sleep(LOOK_SECONDS)
        seconds, cpu = time.perf_counter() - self._started_at, time.process_time() - self._cpu_at
        return {
            "messages_per_second": self._messages / seconds,
            "cpu_us_per_message": cpu / self._messages * 1e6,
            "seconds": seconds,
            "processed": self.submitted,
            "rss_growth_mib": max(0, self.rss[1] - self.rss[0]) / MIB,
        }


class ClockedEngine(ExecutionEngine):
    """The measured engine, which notes its submissions on its clock."""

    clock: Clock


class _ClockedProcesses(ProcessEngine, ClockedEngine):
    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self.clock.submit(len(items))
        super().submit_all(items)


class _ClockedThreads(ThreadEngine, ClockedEngine):
    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self.clock.submit(len(items))
        super().submit_all(items)


async def process_noop(job: Job) -> Figures:
    """Messages per second through reading, two processes that do nothing, and committing."""
    return await _through_processes(job, do_nothing)


async def process_hashing(job: Job) -> Figures:
    """The same with half a thousand rounds of sha256 for each message."""
    return await _through_processes(job, hash_often)


async def _through_processes(job: Job, worker: Callable[[Any], object]) -> Figures:
    slots = PROCESSES * SLOTS_PER_PROCESS
    engine = _ClockedProcesses(worker, ExecutionConfig().retry_policy(), slots, PROCESSES)
    return await consume(job, engine)


async def thread_waiting(job: Job) -> Figures:
    """A worker that blocks its thread for ``worker_ms``, in as many threads as the job has keys."""
    seconds_each = job.worker_ms / 1000

    def worker(_: WorkItem) -> None:
        time.sleep(seconds_each)

    slots = job.keys * SLOTS_PER_THREAD
    engine = _ClockedThreads(worker, ExecutionConfig().retry_policy(), slots, threads=job.keys)
    return await consume(job, engine)


async def thread_hashing(job: Job) -> Figures:
    """500 rounds of sha256 for each message, in as many threads as ``hashing process`` has processes."""
    return await _through_two_threads(job, hash_often)


async def thread_adding(job: Job) -> Figures:
    """The same with as much work in bytecode."""
    return await _through_two_threads(job, add_often)


async def _through_two_threads(job: Job, worker: Callable[[Any], object]) -> Figures:
    slots = PROCESSES * SLOTS_PER_THREAD
    engine = _ClockedThreads(worker, ExecutionConfig().retry_policy(), slots, threads=PROCESSES)
    return await consume(job, engine) | {"is_gil_on": getattr(sys, "_is_gil_enabled", lambda: True)()}


async def consume(job: Job, engine: ClockedEngine) -> Figures:
    """Consume the job's messages with this engine, which notes its submissions on its clock."""
    clock = engine.clock = Clock(job)
    consumer = PyrallelConsumer(config=kafka_config(job), worker=None, topic=job.topic, engine=engine)
    async with consumer:
        figures = await clock.figures(engine)
    return figures | {"uncommitted": await asyncio.to_thread(uncommitted, job)}


# Yardsticks


def bare_threads(job: Job) -> Figures:
    """The yardstick: one thread per key takes items from a queue and blocks; no Kafka, order, books or loop."""
    seconds_each = job.worker_ms / 1000
    calls: SimpleQueue[int | None] = SimpleQueue()

    def serve() -> None:
        while calls.get() is not None:
            time.sleep(seconds_each)

    for number in range(job.messages):
        calls.put(number)
    threads = [threading.Thread(target=serve) for _ in range(job.keys)]
    for _ in threads:
        calls.put(None)
    started_at, cpu_at = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _figures(job.messages, started_at, cpu_at)


def sequential_hashing(job: Job) -> Figures:
    """The plain loop over ``consume`` that hashes each message before the next, on one core."""
    consumer = Consumer(consumer_configuration(kafka_config(job)))
    consumer.subscribe([job.topic])
    deadline = time.perf_counter() + GIVE_UP_SECONDS
    while (first := consumer.poll(0.05)) is None:
        if time.perf_counter() > deadline:
            raise TimeoutError("no message came")
    started_at, cpu_at = time.perf_counter(), time.process_time()
    messages = [first]
    count = 0
    while True:
        for message in messages:
            hashed(message.value() or b"")
        count += len(messages)
        if count >= job.messages or time.perf_counter() > deadline:
            break
        messages = consumer.consume(1000, 0.01)
    figures = _figures(count, started_at, cpu_at)
    consumer.close()
    return figures


def _figures(count: int, started_at: float, cpu_at: float) -> Figures:
    seconds, cpu = time.perf_counter() - started_at, time.process_time() - cpu_at
    return {
        "messages_per_second": count / seconds,
        "cpu_us_per_message": cpu / count * 1e6,
        "seconds": seconds,
        "processed": count,
    }
