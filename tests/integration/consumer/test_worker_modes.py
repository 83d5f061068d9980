"""Whole consumers with workers in threads and processes: the same control plane with other engines."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyrallel_consumer import EmbeddedBroker, ExecutionMode, PyrallelConsumer, WorkItem
from tests.integration.conftest import Produce
from tests.integration.consuming import committed, execution, kafka, new_group, until

if TYPE_CHECKING:
    from collections.abc import Callable

    NewTopic = Callable[[int], str]

MESSAGES = 400


async def test_threads_run_each_message_once_in_the_order_of_its_key_and_commit_all(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group = new_topic(2), new_group()
    produce(topic, MESSAGES, key_of=lambda i: f"key-{i % 20}".encode(), partitions=2)
    lock, seen = threading.Lock(), []
    threads: set[threading.Thread] = set()
    failed_once: set[str] = set()

    def worker(item: WorkItem) -> None:
        with lock:
            threads.add(threading.current_thread())
            if item.offset % 50 == 7 and item.id not in failed_once:
                failed_once.add(item.id)
                raise ValueError("once")
            seen.append((item.key, item.offset))

    settings = execution(mode=ExecutionMode.THREAD, worker_pool_size=8)
    config = kafka(embedded_broker.bootstrap_servers, group)
    async with PyrallelConsumer(config, worker, topic, execution_config=settings) as consumer:
        await until(lambda: len(seen) >= MESSAGES, consumer.get_runtime_snapshot)
    assert len(seen) == len(set(seen)) == MESSAGES
    for key in {key for key, _ in seen}:
        offsets = [offset for its_key, offset in seen if its_key == key]
        assert offsets == sorted(offsets)
    assert len(threads) <= 8
    assert threading.current_thread() not in threads
    assert sum(committed(embedded_broker.bootstrap_servers, group, topic, 2)) == MESSAGES


async def test_a_call_that_hangs_is_in_the_snapshot_and_stops_nobody_else(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group = new_topic(1), new_group()
    produce(topic, 20, key_of=lambda i: str(i).encode(), value_of=lambda i: b"hang" if i == 3 else b"")
    gate, done = threading.Event(), []

    def worker(item: WorkItem) -> None:
        if item.payload == b"hang" and item.attempt == 1:
            gate.wait(30)
        done.append(item.offset)

    settings = execution(mode=ExecutionMode.THREAD, worker_pool_size=2, task_timeout_ms=30)
    config = kafka(embedded_broker.bootstrap_servers, group)
    async with PyrallelConsumer(config, worker, topic, execution_config=settings) as consumer:
        await until(lambda: len(done) == 19 and consumer.get_runtime_snapshot().stuck == 1)
        assert consumer.get_runtime_snapshot().in_flight == 1
        gate.set()
        await until(lambda: len(done) == 20, consumer.get_runtime_snapshot)
    assert sorted({*done}) == list(range(20))
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [20]


@pytest.mark.parametrize("is_async", [False, True])
async def test_processes_run_each_message_in_the_order_of_its_key_commit_all_and_survive_deaths(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, tmp_path: Path, *, is_async: bool
) -> None:
    topic, group = new_topic(2), new_group()
    log = tmp_path / "log"
    produce(topic, MESSAGES, key_of=lambda i: f"key-{i % 20}".encode(), partitions=2)
    settings = execution(mode=ExecutionMode.PROCESS, worker_pool_size=2, task_timeout_ms=5000)
    config = kafka(embedded_broker.bootstrap_servers, group)
    worker = partial(async_noting_worker if is_async else noting_worker, str(log))
    async with PyrallelConsumer(config, worker, topic, execution_config=settings) as consumer:
        await until(lambda: log.exists() and log.read_text().count("done") >= MESSAGES, consumer.get_runtime_snapshot)
    lines = [line.split() for line in log.read_text().splitlines()]
    done = [(key, int(offset)) for word, key, offset, _ in lines if word == "done"]
    assert len(done) == len(set(done)) == MESSAGES
    for key in {key for key, _ in done}:
        offsets = [offset for its_key, offset in done if its_key == key]
        assert offsets == sorted(offsets)
    assert str(os.getpid()) not in {pid for *_, pid in lines}
    deaths = sum(word == "dies" for word, *_ in lines)
    assert 1 <= deaths <= 4 if is_async else deaths == 4  # Who was there pays an attempt, and then does not die.
    assert sum(committed(embedded_broker.bootstrap_servers, group, topic, 2)) == MESSAGES


def noting_worker(log: str, item: WorkItem) -> None:
    """Notes what it does; kills its process on some first attempts."""
    dies = item.offset % 100 == 7 and item.attempt == 1
    with Path(log).open("a") as file:
        file.write(f"{'dies' if dies else 'done'} {(item.key or b'').decode()} {item.offset} {os.getpid()}\n")
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)


async def async_noting_worker(log: str, item: WorkItem) -> None:
    await asyncio.sleep(0.001)
    noting_worker(log, item)


def note_and_wait(folder: Path, item: WorkItem) -> None:
    """Quick until ``slowly`` exists; then each message waits until ``go-on`` does."""
    with (folder / "begun").open("a") as begun:
        begun.write(f"{item.offset}\n")
    while (folder / "slowly").exists() and not (folder / "go-on").exists():
        threading.Event().wait(0.005)


async def test_a_stop_begins_no_message_that_was_sent_ahead_to_a_process(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, tmp_path: Path
) -> None:
    topic, group = new_topic(1), new_group()
    produce(topic, 20_000, key_of=lambda i: b"key-%d" % (i % 500))
    settings = execution(mode=ExecutionMode.PROCESS, worker_pool_size=2, shutdown_drain_timeout_ms=60_000)
    config = kafka(embedded_broker.bootstrap_servers, group)
    consumer = PyrallelConsumer(config, partial(note_and_wait, tmp_path), topic, execution_config=settings)
    log = tmp_path / "begun"

    def begun() -> int:
        return len(log.read_text().split()) if log.exists() else 0

    await consumer.start()
    await until(lambda: begun() > 500, consumer.get_runtime_snapshot)
    (tmp_path / "slowly").touch()
    await until(lambda: consumer.get_runtime_snapshot().in_flight > 10, consumer.get_runtime_snapshot)
    stopping = asyncio.create_task(consumer.stop())
    await until(lambda: consumer.get_runtime_snapshot().in_flight <= 2, consumer.get_runtime_snapshot)
    running = begun()
    (tmp_path / "go-on").touch()
    await stopping
    assert begun() == running
    assert committed(embedded_broker.bootstrap_servers, group, topic)[0] <= running
    assert consumer.cut_off == 0
