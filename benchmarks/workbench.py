"""What all cases of one run share: the broker, the sizes, and topics that are filled once and read by many."""

from __future__ import annotations

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
    lane_messages: int = 20_000
    many_lanes: int = 5000
    many_lane_messages: int = 100_000
    prelude_messages: int = 2000
    prelude_wait_ms: float = 1000.0
    idle_seconds: float = 10.0
    waiting_workers: int = 1000
    keys: tuple[int, ...] = (1000, 10_000, 100_000, 1_000_000)
    keys_messages: int = 1_000_000
    backlogs: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    memory_messages: int = 1_000_000
    memory_seconds: float = 10.0
    large_messages: int = 6400


QUICK = Sizes(
    noop_messages=2000,
    metered_messages=2000,
    lane_messages=400,
    many_lanes=200,
    many_lane_messages=1000,
    prelude_messages=20,
    prelude_wait_ms=20.0,
    idle_seconds=0.3,
    waiting_workers=50,
    keys=(10, 100),
    keys_messages=500,
    backlogs=(200, 400),
    memory_messages=10_000,
    memory_seconds=0.5,
    large_messages=200,
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
    ) -> str:
        """A topic with these messages; the same one whenever the same is asked for."""
        wanted = (messages, keys, partitions, value_bytes, is_compressible)
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
                )
        return self._topics[wanted]

    def close(self) -> None:
        """Forget the topics, where the broker goes on."""
        for topic in self._topics.values():
            self.broker.forget(topic)
