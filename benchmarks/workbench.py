"""The common parts of all cases of a run: the broker, the sizes, and topics that are filled once and read by many."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmark_broker import BenchmarkBroker
from job import Job
from produce import fill

PARTITIONS = 8


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much each case does; the defaults are the full run."""

    noop_messages: int = 200_000
    metered_messages: int = 400_000
    metered_laps: int = 5
    lane_messages: int = 20_000
    many_lanes: int = 5000
    many_lane_messages: int = 100_000
    prelude_messages: int = 2000
    prelude_wait_ms: float = 1000.0
    idle_seconds: float = 10.0
    waiting_workers: int = 1000
    keys: tuple[int, ...] = (1000, 10_000, 100_000, 1_000_000)
    keys_messages: int = 1_000_000
    many_partitions: int = 2000
    partitions_messages: int = 200_000
    backlogs: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    memory_messages: int = 1_000_000
    memory_seconds: float = 10.0
    large_messages: int = 6400
    process_messages: int = 400_000
    hashed_messages: int = 20_000
    thread_messages: int = 100_000
    threads: int = 200
    payloads: tuple[tuple[int, int], ...] = ((4096, 100_000), (990_000, 1000))


QUICK = Sizes(
    noop_messages=2000,
    metered_messages=20_000,
    metered_laps=1,
    lane_messages=5000,
    many_lanes=200,
    many_lane_messages=5000,
    prelude_messages=20,
    prelude_wait_ms=20.0,
    idle_seconds=0.3,
    waiting_workers=50,
    keys=(10, 100),
    keys_messages=500,
    many_partitions=50,
    partitions_messages=2000,
    backlogs=(200, 400),
    memory_messages=10_000,
    memory_seconds=0.5,
    large_messages=200,
    process_messages=2000,
    hashed_messages=200,
    thread_messages=2000,
    threads=20,
    payloads=((4096, 500), (990_000, 20)),
)
"""Enough to see that every case runs; its figures mean nothing."""


@dataclass(slots=True)
class Workbench:
    """Makes the jobs of the cases."""

    broker: BenchmarkBroker
    sizes: Sizes
    is_uvloop: bool
    batch_bytes: int
    report: Callable[[str], None]
    _topics: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def job(self, subject: str, **settings: Any) -> Job:
        """A job with the broker's address and settings."""
        return Job(
            subject,
            bootstrap_servers=self.broker.bootstrap_servers,
            client_settings=self.broker.client_settings,
            is_uvloop=self.is_uvloop,
            **settings,
        )

    def topic(
        self,
        messages: int,
        keys: int,
        *,
        partitions: int = PARTITIONS,
        value_bytes: int = 100,
        is_compressible: bool = True,
        hot_share: float = 0.0,
    ) -> str:
        """A topic with these messages; the same topic for equal requests.

        With ``hot_share`` keys are not dealt out in turn but by Zipf's law, the first with that share of the messages.
        """
        wanted = (messages, keys, partitions, value_bytes, is_compressible, hot_share)
        if wanted not in self._topics:
            topic = self._topics[wanted] = self.broker.new_topic(partitions)
            if messages:
                self.report(f"producing {messages:,} messages of {value_bytes:,} bytes, {keys:,} keys ...")
                fill(
                    self.broker.bootstrap_servers,
                    topic,
                    messages=messages,
                    keys=keys,
                    value_bytes=value_bytes,
                    is_compressible=is_compressible,
                    batch_bytes=self.batch_bytes,
                    key_numbers=_zipf(messages, keys, hot_share) if hot_share else None,
                )
        return self._topics[wanted]

    def close(self) -> None:
        """Forget the topics, where the broker goes on."""
        for topic in self._topics.values():
            self.broker.forget(topic)


def _zipf(messages: int, keys: int, hot_share: float) -> list[int]:
    """Key numbers: key 0 has ``hot_share`` of the messages, the others share the rest as 1, 1/2, 1/3 ..."""
    rest = [1 / rank for rank in range(1, keys)]
    weights = [hot_share / (1 - hot_share) * sum(rest), *rest]
    return random.Random(7).choices(range(keys), weights, k=messages)
