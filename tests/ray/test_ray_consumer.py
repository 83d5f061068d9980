"""A whole consumer on Ray: records out, lifespan, logs, batches, order by key; on an embedded broker."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyrallel_consumer import (
    ExecutionConfig,
    ExecutionMode,
    PyrallelConsumer,
    RayConfig,
    Record,
    WorkItem,
)
from pyrallel_consumer.testing import TrialKafka
from tests.ray.conftest import PATIENCE_SECONDS
from tests.ray.ray_workers import computing, in_batches, model, waiting, with_model

pytestmark = pytest.mark.usefixtures("cluster")
RAY = RayConfig(min_actors=2, max_actors=2, start_timeout_ms=PATIENCE_SECONDS * 1000)


async def run(
    kafka: TrialKafka, worker: Callable[..., Any], topic: str, *, batch_size: int = 1, **settings: Any
) -> None:
    execution = ExecutionConfig(mode=ExecutionMode.RAY, batch_size=batch_size, max_in_flight=200)
    async with PyrallelConsumer(kafka.config, worker, topic=topic, execution_config=execution, ray=RAY, **settings):
        await kafka.until_done(topic, timeout_seconds=PATIENCE_SECONDS)


def journal(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "journal").read_text("ascii").splitlines()]


def filled(kafka: TrialKafka, folder: Path, count: int, keys: int) -> str:
    topic = kafka.topic("orders", partitions=2)
    headers: list[tuple[str, bytes | None]] = [("folder", str(folder).encode())]
    kafka.append(topic, ((b"k%d" % (number % keys), b"%d" % number, headers) for number in range(count)))
    return topic


@pytest.mark.parametrize("worker", [waiting, computing])
async def test_all_are_processed_once_and_in_order_by_key(worker: Callable[..., Any], tmp_path: Path) -> None:
    with TrialKafka() as kafka:
        await run(kafka, worker, filled(kafka, tmp_path, 600, 40))
    running: set[str] = set()
    begun: dict[str, list[int]] = defaultdict(list)
    for sign, key, offset, _, _ in journal(tmp_path):
        if sign == "+":
            assert key not in running
            running.add(key)
            begun[key].append(int(offset))
        else:
            running.remove(key)
    assert sum(map(len, begun.values())) == 600
    assert all(offsets == sorted(offsets) for offsets in begun.values())


async def test_batches_go_to_actors_as_one_call(tmp_path: Path) -> None:
    with TrialKafka() as kafka:
        await run(kafka, in_batches, filled(kafka, tmp_path, 640, 640), batch_size=32)
    sizes = [int(line[0].removeprefix("batch")) for line in journal(tmp_path)]
    assert len(sizes) == 640
    assert max(sizes) == 32


async def test_lifespan_records_and_logs_are_those_of_the_actors(caplog: pytest.LogCaptureFixture) -> None:
    with TrialKafka() as kafka:
        topic = kafka.topic("orders", ((b"k", b"%d" % number) for number in range(20)), partitions=1)
        invoices = kafka.topic("invoices", partitions=1)
        with caplog.at_level(logging.WARNING, "shop"):
            await run(kafka, _to(invoices), topic, lifespan=model)
        written = [record.value for record in kafka.records(invoices)]
    assert written == [b"yes"] * 20
    assert {record.getMessage() for record in caplog.records if record.name == "shop"} == {
        f"order {number}" for number in range(20)
    }


def _to(topic: str) -> Callable[..., Any]:
    async def worker(item: WorkItem) -> Record:
        return (await with_model(item))._replace(topic=topic)

    return worker
