"""Actors killed at random for a minute, on real Kafka: nothing is lost or given up, and the order by key holds."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pyrallel_consumer import ExecutionConfig, ExecutionMode, KafkaConfig, PyrallelConsumer, RayConfig
from tests.kafka.deadline import until_asked
from tests.kafka.history import shown
from tests.kafka.journal import read_journals
from tests.kafka.load import Load
from tests.kafka.plain_log import read_log
from tests.kafka.process_worker import async_process_worker, pids, process_worker
from tests.kafka_cluster import KafkaCluster
from tests.ray.conftest import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("cluster")

KILLING_SECONDS = 30
"""For each kind of worker."""


@pytest.mark.parametrize(("worker", "work_ms"), [(process_worker, 1), (async_process_worker, 20)])
async def test_killing_actors_at_random_loses_nothing_and_gives_nobody_up(
    kafka: KafkaCluster, tmp_path: Path, worker: Callable[..., Any], work_ms: int
) -> None:
    topic, group = kafka.new_topic(partitions=4), kafka.new_group()
    config = KafkaConfig(bootstrap_servers=kafka.bootstrap_servers, consumer_group=group)
    execution = ExecutionConfig(mode=ExecutionMode.RAY, max_retries=20, retry_backoff_ms=10, retry_jitter_ms=0)
    ray = RayConfig(min_actors=2, max_actors=2, num_cpus=0.5, start_timeout_ms=PATIENCE_SECONDS * 1000)
    work = partial(worker, tmp_path, work_ms)
    async with PyrallelConsumer(config, work, topic, execution_config=execution, ray=ray) as consumer:
        with Load(kafka, topic, keys=20, per_second=100) as load:
            killed = await kill_at_random(tmp_path)
        await until_asked(
            lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic),
            "the commits reach the end",
            PATIENCE_SECONDS,
        )
        snapshot = consumer.get_runtime_snapshot()

    history = read_journals(tmp_path)
    assert history.finished == set(read_log(kafka, topic))
    assert load.count == len(history.finished)
    ran_there = {run.place for pid in killed for run in history.of(str(pid)).runs}
    assert history.run_twice <= ran_there, shown(history.run_twice - ran_there)
    assert history.order_violations() == []
    assert snapshot.dead_letters.sent == 0
    assert len(killed) >= 3


async def kill_at_random(folder: Path) -> set[int]:
    """Kill -9 of one actor after another; returns the killed ones. An actor is known once it has run a message."""
    chance = random.Random(5)
    killed: set[int] = set()
    end_at = time.monotonic() + KILLING_SECONDS
    while time.monotonic() < end_at or len(killed) < 3:
        await asyncio.sleep(chance.uniform(0.5, 2.5))
        if alive := sorted(pids(folder) - killed):
            victim = chance.choice(alive)
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            killed.add(victim)
    return killed
