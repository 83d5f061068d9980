"""Common parts of tests of a whole consumer: quick settings, a journal of the runs, and waiting for conditions."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer import (
    ExecutionConfig,
    ExecutionMode,
    KafkaConfig,
    ParallelConsumerConfig,
    TopicPartition,
    WorkItem,
)

PATIENCE_SECONDS = 90.0
MODES_OF_THIS_MACHINE = [mode for mode in ExecutionMode if mode is not ExecutionMode.RAY]
"""The modes that need no cluster; tests/ray covers the other one."""
GROUPS = (f"consumer-group-{number}" for number in itertools.count())


def new_group() -> str:
    """A group with a unique name."""
    return next(GROUPS)


def own_key(i: int) -> bytes:
    """A key that no other message has."""
    return b"key-%d" % i


def kafka(
    bootstrap_servers: str, group: str, *, librdkafka: Mapping[str, Any] | None = None, **more: Any
) -> KafkaConfig:
    """Settings under which groups on the embedded broker are quick."""
    parallel = {"commit_interval_ms": 50, **more.pop("parallel", {})}
    return KafkaConfig(
        bootstrap_servers=bootstrap_servers,
        consumer_group=group,
        librdkafka={"session.timeout.ms": 3000, "heartbeat.interval.ms": 150, **(librdkafka or {})},
        parallel_consumer=ParallelConsumerConfig(**parallel),
        **more,
    )


def execution(**more: Any) -> ExecutionConfig:
    """Settings with short waits between attempts."""
    return ExecutionConfig(**{"retry_backoff_ms": 20, "retry_jitter_ms": 0, **more})


async def until(holds: Callable[[], object], what: Callable[[], object] = lambda: "nothing more is known") -> None:
    """Wait for a condition, with other tasks served meanwhile."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain: {what()}"
        await asyncio.sleep(0.005)


async def ignore(item: WorkItem) -> None:
    """A worker that is done at once."""


class Book:
    """Every run of the worker: (id, attempt) as it ``started`` and ``ended``, and ``by_key`` offsets as they began."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int]] = []
        self.ended: list[tuple[str, int]] = []
        self.by_key: dict[tuple[TopicPartition, bytes | None], list[int]] = defaultdict(list)
        self.running = 0
        self.most_running = 0

    def begin(self, item: WorkItem) -> None:
        self.started.append((item.id, item.attempt))
        self.by_key[item.tp, item.key].append(item.offset)
        self.running += 1
        self.most_running = max(self.most_running, self.running)

    def end(self, item: WorkItem) -> None:
        self.running -= 1
        self.ended.append((item.id, item.attempt))

    @property
    def messages(self) -> set[str]:
        return {name for name, _ in self.ended}

    def assert_each_ran_once_in_order(self, messages: int) -> None:
        assert len(self.ended) == len(self.messages) == messages
        for offsets in self.by_key.values():
            assert offsets == sorted(offsets)


def committed(bootstrap_servers: str, group: str, topic: str, partitions: int = 1) -> list[int]:
    """The group's committed offsets as the broker has them, 0 where there is none."""
    client = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group})
    try:
        places = [ClientPartition(topic, partition) for partition in range(partitions)]
        return [max(0, place.offset) for place in client.committed(places, timeout=PATIENCE_SECONDS)]
    finally:
        client.close()
