"""One scenario for every engine, ordering mode, group protocol and kind of membership: each keeps every guarantee.

Members join, leave and come back under load, while some messages fail once and some for ever. The three ordering modes
run beside each other, each with a topic and a group of its own: most of the time is waiting for groups.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from pyrallel_consumer import ExecutionConfig, KafkaConfig, PyrallelConsumer
from tests.kafka.deadline import until, until_asked
from tests.kafka.guarantees import LANES, broken
from tests.kafka.journal import finished_places, read_journals
from tests.kafka.ledger import CommitSightings, read_ledger
from tests.kafka.load import Load
from tests.kafka.told_worker import ALWAYS, told, told_worker
from tests.kafka_cluster import KafkaCluster, Record

PARTITIONS = 4
KEYS = 30
PER_SECOND = 120
WORK_MS = 3
GOES_ON = 40
"""This many more messages show that a member is at work."""

ENGINES: dict[str, dict[str, Any]] = {
    "async": {"mode": "async"},
    "thread": {"mode": "thread", "worker_pool_size": 8},
    "process": {"mode": "process", "worker_pool_size": 2},
    "process-async": {"mode": "process", "worker_pool_size": 2},
}
CLASSIC = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 200}
PROTOCOLS: dict[str, dict[str, Any]] = {
    "eager": CLASSIC | {"partition.assignment.strategy": "range"},
    "cooperative": CLASSIC | {"partition.assignment.strategy": "cooperative-sticky"},
    "KIP-848": {"group.protocol": "consumer"},
}


def record(number: int) -> Record:
    """Every tenth message has no key, some fail their first attempt, and a few all of them."""
    key = None if number % 10 == 3 else b"key-%d" % (number % KEYS)
    if number % 90 == 11:
        return key, told(number, "fail", ALWAYS)
    return key, told(number, "fail", 1) if number % 40 == 7 else told(number)


class Fleet:
    """Members of one group in this process, each in one of two places; their journals lie in ``folder``."""

    def __init__(
        self,
        kafka: KafkaCluster,
        folder: Path,
        engine: str,
        librdkafka: dict[str, Any],
        ordering: str,
        *,
        is_static: bool,
    ) -> None:
        self.topic, self.group = kafka.new_topic(partitions=PARTITIONS), kafka.new_group()
        self.dlq_topic = kafka.new_topic(name=f"{self.topic}.dlq")
        self.folder = folder / ordering
        self.folder.mkdir()
        self._kafka = kafka
        self._ordering = ordering
        self._is_async = engine.endswith("async")
        self._librdkafka = librdkafka
        self._is_static = is_static
        # A letter that the broker takes late counts as running work: what outlasts the grace may run twice.
        self._execution = ExecutionConfig(
            max_retries=2, retry_backoff_ms=20, retry_jitter_ms=0, max_revoke_grace_ms=5000, **ENGINES[engine]
        )

    async def join(self, name: str) -> PyrallelConsumer:
        """A new member; the first letter of its name is its place, which outlives it where membership is static."""
        static = {"group.instance.id": name[0]} if self._is_static else {}
        config = KafkaConfig(
            bootstrap_servers=self._kafka.bootstrap_servers,
            consumer_group=self.group,
            librdkafka=self._librdkafka | static,
            parallel_consumer={"ordering_mode": self._ordering},  # type: ignore[arg-type]
        )
        worker = told_worker(self._execution.mode, self.folder, name, WORK_MS, is_async=self._is_async)
        member = PyrallelConsumer(config, worker, self.topic, execution_config=self._execution)
        await member.start()
        return member

    async def goes_on(self, name: str) -> None:
        before = self._finished(name)
        await until(lambda: self._finished(name) >= before + GOES_ON, f"{name} of {self._ordering} goes on")

    def _finished(self, name: str) -> int:
        return len(finished_places(self.folder, name))

    async def run(self) -> dict[str, list[str]]:
        """Runs the scenario; returns the violations."""
        partitions = [(self.topic, at) for at in range(PARTITIONS)]
        with CommitSightings(self._kafka.bootstrap_servers, self.group, partitions) as sightings:
            async with AsyncExitStack() as members:
                with Load(self._kafka, self.topic, per_second=PER_SECOND, record=record):
                    last = await self._come_and_go(members)
                await until_asked(self._is_committed, f"the commits of {self._ordering} reach the end")
                for member in last:
                    await member.stop()
        ledger = await asyncio.to_thread(
            read_ledger,
            self._kafka,
            self.topic,
            self.group,
            read_journals(self.folder),
            sightings.seen,
            dlq_topic=self.dlq_topic,
            ordering=self._ordering,
            max_attempts=2,
        )
        assert ledger.letters, "nothing was dead-lettered: the scenario is too short"
        assert ledger.sightings
        return broken(ledger)

    async def _come_and_go(self, members: AsyncExitStack) -> list[PyrallelConsumer]:
        """Two members, of which the first leaves; a static one comes back at once and takes its place again."""
        first = await self.join("a1")
        members.push_async_callback(first.abort)
        await self.goes_on("a1")
        second = await self.join("b1")
        members.push_async_callback(second.abort)
        await self.goes_on("b1")
        await first.stop()
        if not self._is_static:
            await self.goes_on("b1")
            return [second]
        again = await self.join("a2")
        members.push_async_callback(again.abort)
        await self.goes_on("a2")
        return [second, again]

    def _is_committed(self) -> bool:
        return self._kafka.committed_offsets(self.group, self.topic) == self._kafka.end_offsets(self.topic)


@pytest.mark.parametrize("is_static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize("librdkafka", PROTOCOLS.values(), ids=PROTOCOLS.keys())
@pytest.mark.parametrize("engine", ENGINES)
async def test_each_guarantee_is_kept_in_every_ordering_mode_while_members_come_and_go(
    kafka: KafkaCluster, tmp_path: Path, engine: str, librdkafka: dict[str, Any], is_static: bool
) -> None:
    fleets = [Fleet(kafka, tmp_path, engine, librdkafka, ordering, is_static=is_static) for ordering in LANES]

    results = await asyncio.gather(*(fleet.run() for fleet in fleets))

    assert dict(zip(LANES, results, strict=True)) == {ordering: {} for ordering in LANES}
