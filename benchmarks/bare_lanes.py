"""The yardstick for waiting workers: one asyncio task per key that sleeps for each of its messages and goes on.

No Kafka, no queue, no books: what the event loop itself can do with so many timers on this machine at this moment.
"""

from __future__ import annotations

import asyncio
import time

from job import Figures, Job


async def lanes(job: Job) -> Figures:
    """Messages per second of ``keys`` lanes that share ``messages`` evenly."""
    seconds_each = job.worker_ms / 1000

    async def lane(messages: int) -> None:
        for _ in range(messages):
            await asyncio.sleep(seconds_each)

    whole, rest = divmod(job.messages, job.keys)
    started_at, cpu_at = time.perf_counter(), time.process_time()
    await asyncio.gather(*(lane(whole + (number < rest)) for number in range(job.keys)))
    seconds = time.perf_counter() - started_at
    return {
        "messages_per_second": job.messages / seconds,
        "cpu_us_per_message": (time.process_time() - cpu_at) / job.messages * 1e6,
        "seconds": seconds,
        "processed": job.messages,
    }
