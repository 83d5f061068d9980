"""Memory while nothing is ever finished and the topic holds far more than the consumer may read ahead.

What may grow is bounded by settings: the library's own load (``queue_max_messages``, ``queue_max_bytes``), what the
poll thread reads ahead of it, the client's buffer (``queued.max.messages.kbytes``), and one answer on its way into that
buffer (``fetch.max.bytes``). The client's threads and code that is loaded on first use come on top.
"""

from __future__ import annotations

import asyncio
from typing import Final

import psutil
from consumer_setup import build, kafka_config
from job import Figures, Job

from pyrallel_consumer.ingress.client.client_settings import consumer_configuration, read_ahead_limits

SAMPLE_SECONDS: Final = 0.02
MIB: Final = 1024 * 1024
IDLE_MIB: Final = 8
"""The growth of a consumer of 32 partitions that reads nothing, rounded up; measured: 7.2."""


async def blocked(job: Job) -> Figures:
    """The highest figures of ``seconds``, with workers that wait for ever."""
    never = asyncio.Event()

    async def worker(_: object) -> None:
        await never.wait()

    process = psutil.Process()
    client = consumer_configuration(kafka_config(job))
    consumer = build(job, worker, drain_ms=0)
    loop = asyncio.get_running_loop()
    rss_before = rss = process.memory_info().rss
    messages = size_bytes = 0
    async with consumer:
        until = loop.time() + job.seconds
        while loop.time() < until:
            await asyncio.sleep(SAMPLE_SECONDS)
            rss = max(rss, process.memory_info().rss)
            snapshot = consumer.get_runtime_snapshot()
            messages, size_bytes = max(messages, snapshot.load_messages), max(size_bytes, snapshot.load_bytes)
    fetched_bytes = int(client["queued.max.messages.kbytes"]) * 1024 + int(client["fetch.max.bytes"])
    buffer_bytes = read_ahead_limits(kafka_config(job)).max_bytes + fetched_bytes
    return {
        "load_messages": messages,
        "limit_messages": job.queue_max_messages,
        "load_mib": size_bytes / MIB,
        "limit_mib": job.queue_max_bytes / MIB,
        "rss_growth_mib": (rss - rss_before) / MIB,
        "rss_limit_mib": (job.queue_max_bytes + buffer_bytes) / MIB + IDLE_MIB,
        "seconds": job.seconds,
    }
