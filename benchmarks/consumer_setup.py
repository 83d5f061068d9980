"""The common parts of measured consumers: settings made from the job, and the check that the work was done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from confluent_kafka import Consumer, TopicPartition
from job import Job

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, MetricsConfig, ParallelConsumerConfig
from pyrallel_consumer.consumer import PyrallelConsumer
from pyrallel_consumer.dto import RuntimeSnapshot
from pyrallel_consumer.execution_plane.engine import ExecutionEngine

GIVE_UP_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 0.05
BROKER_SECONDS: Final = 10.0

Worker: TypeAlias = Callable[[Any], Awaitable[None]]


def kafka_config(job: Job) -> KafkaConfig:
    """The library's settings for a job; the plain loop reads with these, too."""
    return KafkaConfig(
        bootstrap_servers=[job.bootstrap_servers],
        consumer_group=job.group,
        auto_offset_reset="earliest",
        dlq_enabled=False,
        librdkafka=dict(job.client_settings),
        metrics=MetricsConfig(enabled=job.is_metered, port=0),
        parallel_consumer=ParallelConsumerConfig(
            queue_max_messages=job.queue_max_messages, queue_max_bytes=job.queue_max_bytes
        ),
    )


def build(
    job: Job, worker: Worker | None, *, drain_ms: int = 5000, engine: ExecutionEngine | None = None
) -> PyrallelConsumer:
    """A consumer of the job's topic; everything that the job does not say is the library's default."""
    execution = ExecutionConfig(
        max_in_flight=job.max_in_flight, batch_size=job.batch_size, shutdown_drain_timeout_ms=drain_ms
    )
    return PyrallelConsumer(
        config=kafka_config(job), execution_config=execution, worker=worker, topic=job.topic, engine=engine
    )


async def until_pictured(consumer: PyrallelConsumer, holds: Callable[[RuntimeSnapshot], object]) -> None:
    """Wait until the consumer's picture of itself shows what ``holds`` looks for."""
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while not holds(consumer.get_runtime_snapshot()):  # noqa: ASYNC110 -- the picture is there to be looked at
            await asyncio.sleep(LOOK_SECONDS)


def uncommitted(job: Job) -> int:
    """Messages that the group left below the log's end; 0 where every commit arrived."""
    client = Consumer({"bootstrap.servers": job.bootstrap_servers, "group.id": job.group, "enable.auto.commit": False})
    try:
        found = client.list_topics(job.topic, timeout=BROKER_SECONDS).topics[job.topic].partitions
        places = [TopicPartition(job.topic, number) for number in found]
        left = 0
        for place in client.committed(places, timeout=BROKER_SECONDS):
            low, high = client.get_watermark_offsets(place, timeout=BROKER_SECONDS)
            left += high - max(place.offset, low)
        return left
    finally:
        client.close()
