"""Worker processes killed at random under load: nothing is lost, and only what was running runs again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from pyrallel_consumer import ExecutionConfig, ExecutionMode, KafkaConfig, PyrallelConsumer
from tests.kafka.deadline import until_asked
from tests.kafka.history import History, Place, shown
from tests.kafka.journal import read_journals
from tests.kafka.load import Load
from tests.kafka.plain_log import read_log
from tests.kafka.process_worker import async_process_worker, pids, process_worker
from tests.kafka_cluster import KafkaCluster

pytestmark = pytest.mark.long

KILLING_SECONDS = 30
WORK_MS = 1
"""Milliseconds of work: so little that runs of a key are sent ahead."""
WAIT_MS = 20
"""Milliseconds of work: so much that a process runs several messages at once."""


async def test_killing_worker_processes_at_random_loses_nothing_and_repeats_only_what_was_running(
    kafka: KafkaCluster, tmp_path: Path
) -> None:
    topic, group = kafka.new_topic(partitions=4), kafka.new_group()
    config = KafkaConfig(bootstrap_servers=kafka.bootstrap_servers, consumer_group=group)
    settings = ExecutionConfig(
        mode=ExecutionMode.PROCESS, worker_pool_size=3, max_retries=20, retry_backoff_ms=10, retry_jitter_ms=0
    )
    worker = partial(process_worker, tmp_path, WORK_MS)
    async with PyrallelConsumer(config, worker, topic, execution_config=settings) as consumer:
        with Load(kafka, topic, keys=20, per_second=200) as load:
            killed = await kill_at_random(tmp_path)
        await until_asked(
            lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic), "the commits reach the end"
        )
        retries = consumer.get_runtime_snapshot().retries

    history = read_journals(tmp_path)
    assert history.finished == set(read_log(kafka, topic))
    assert load.count == len(history.finished)
    running = {last_place(history, pid) for pid in killed}
    assert history.run_twice <= running, shown(history.run_twice - running)
    assert history.order_violations() == []
    assert 0 < retries <= len(killed)


async def test_killing_async_worker_processes_loses_nothing_and_repeats_only_what_was_running(
    kafka: KafkaCluster, tmp_path: Path
) -> None:
    topic, group = kafka.new_topic(partitions=4), kafka.new_group()
    config = KafkaConfig(bootstrap_servers=kafka.bootstrap_servers, consumer_group=group)
    settings = ExecutionConfig(
        mode=ExecutionMode.PROCESS, worker_pool_size=3, max_retries=20, retry_backoff_ms=10, retry_jitter_ms=0
    )
    worker = partial(async_process_worker, tmp_path, WAIT_MS)
    async with PyrallelConsumer(config, worker, topic, execution_config=settings) as consumer:
        with Load(kafka, topic, keys=20, per_second=200) as load:
            killed = await kill_at_random(tmp_path)
        await until_asked(
            lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic), "the commits reach the end"
        )
        snapshot = consumer.get_runtime_snapshot()

    history = read_journals(tmp_path)
    assert history.finished == set(read_log(kafka, topic))
    assert load.count == len(history.finished)
    cut_short = {place for pid in killed for place in running_places(history, pid)}
    assert history.run_twice <= cut_short, shown(history.run_twice - cut_short)
    assert history.order_violations() == []
    assert snapshot.dead_letters.sent == 0, "nobody is given up, for nobody kills its process alone"
    assert snapshot.retries >= len(history.run_twice)


async def kill_at_random(folder: Path) -> set[int]:
    """Kill -9 of one worker process after another; returns the killed ones."""
    chance = random.Random(5)
    killed: set[int] = set()
    end_at = time.monotonic() + KILLING_SECONDS
    while time.monotonic() < end_at:
        await asyncio.sleep(chance.uniform(0.05, 0.8))
        if alive := sorted(pids(folder) - killed):
            victim = chance.choice(alive)
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            killed.add(victim)
    return killed


def running_places(history: History, pid: int) -> set[Place]:
    """The messages that ran when the process was killed; one whose end was just noted may have been about to return."""
    runs = history.of(str(pid)).runs
    last = max(runs, key=lambda run: run.ended_ns or 0)
    return {run.place for run in runs if not run.is_finished or run is last}


def last_place(history: History, pid: int) -> Place:
    """The message that ran when the process was killed, if any."""
    return history.of(str(pid)).runs[-1].place
