"""Tuning by measuring: the same messages under several settings, and what each setting changes.

    python examples/tuning.py

It runs on the Kafka of KAFKA_BOOTSTRAP_SERVERS, or on a broker of its own where that is not set. The worker waits for
5 ms, as for a database. Put your own worker here, and your own share of messages by key.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from pyrallel_consumer import ExecutionConfig, NullKeyOrdering, OrderingMode, PyrallelConsumer, WorkItem
from pyrallel_consumer.testing import TrialKafka

MESSAGES, KEYS, PARTITIONS, WORKER_SECONDS = 400, 200, 4, 0.005


class Setting(NamedTuple):
    """One trial, and its lesson."""

    max_in_flight: int
    ordering: OrderingMode
    lesson: str


SETTINGS = [
    Setting(1, OrderingMode.KEY_HASH, "one at a time: what a plain loop does"),
    Setting(1000, OrderingMode.PARTITION, f"in order by partition: never more than {PARTITIONS} at once"),
    Setting(20, OrderingMode.KEY_HASH, "20 at once: limits the load on the service that the worker calls"),
    Setting(1000, OrderingMode.KEY_HASH, f"in order by key: as many at once as there are keys, {KEYS}"),
    Setting(1000, OrderingMode.UNORDERED, "in no order: only max_in_flight limits"),
]


class Waiter:
    """The worker; knows when it has seen everything, and how many messages it had under way at once."""

    def __init__(self) -> None:
        self._seen = self._under_way = self.most_at_once = 0
        self.begun = self.ended = 0.0
        self.all_seen = asyncio.Event()

    async def handle(self, _: WorkItem) -> None:
        self.begun = self.begun or time.monotonic()
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        await asyncio.sleep(WORKER_SECONDS)
        self._under_way -= 1
        self._seen += 1
        if self._seen == MESSAGES:
            self.ended = time.monotonic()
            self.all_seen.set()


async def measured(kafka: TrialKafka, topic: str, setting: Setting, number: int) -> tuple[float, int]:
    """Messages per second, from the first call on, and the most at once."""
    config = kafka.config.model_copy(deep=True)
    config.consumer_group = f"{config.consumer_group}-{number}"  # a group of its own reads from the beginning
    config.parallel_consumer.ordering_mode = setting.ordering
    config.parallel_consumer.null_key_ordering = NullKeyOrdering.UNORDERED
    waiter = Waiter()
    execution = ExecutionConfig(max_in_flight=setting.max_in_flight)
    async with PyrallelConsumer(config, waiter.handle, topic=topic, execution_config=execution):
        await asyncio.wait_for(waiter.all_seen.wait(), timeout=60)
    return MESSAGES / (waiter.ended - waiter.begun), waiter.most_at_once


async def main() -> int:
    table = Table("max_in_flight", "ordering", "messages/s", "at once", "what it shows", title="5 ms a message")
    rates, most = [], []
    with TrialKafka() as kafka:
        messages = [(f"key-{number % KEYS}".encode(), b"x" * 100) for number in range(MESSAGES)]
        topic = kafka.topic("measured", messages, partitions=PARTITIONS)
        for number, setting in enumerate(SETTINGS):
            rate, at_once = await measured(kafka, topic, setting, number)
            table.add_row(f"{setting.max_in_flight}", setting.ordering, f"{rate:,.0f}", f"{at_once}", setting.lesson)
            rates.append(rate)
            most.append(at_once)
    Console(width=120).print(table)
    holds = most[0] == 1 and most[1] <= PARTITIONS and most[2] <= 20 and most[3] <= KEYS and rates[3] > 3 * rates[0]
    print("OK: each limit held, and parallelism paid" if holds else f"FAILED: {most=} {rates=}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
