"""Rows in a real PostgreSQL: once in effect, though messages fail, come again, or share a statement with a bad one."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from pyrallel_consumer import ExecutionConfig, ExecutionMode, PyrallelConsumer
from pyrallel_consumer.testing import TrialKafka
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.documents.snippets import ROOT
from tests.integration.consuming import until
from tests.postgres.postgres_node import PostgresNode
from tests.postgres.workers import TABLE, InBatches, InBatchesInThreads, OneByOne, OneByOneInThreads

MESSAGES, KEYS, BATCH, REFUSED = 1200, 40, 500, 600
WORKERS = {
    "asyncpg": (ExecutionMode.ASYNC, 1, OneByOne),
    "asyncpg, batches": (ExecutionMode.ASYNC, BATCH, InBatches),
    "psycopg": (ExecutionMode.THREAD, 1, OneByOneInThreads),
    "psycopg, batches": (ExecutionMode.THREAD, BATCH, InBatchesInThreads),
}
MOST_SECONDS = 240  # a bound for hangs: the example takes a few seconds on an idle machine
TABLES = (f"rows_{number}" for number in itertools.count())


@pytest.fixture
def table(postgres: PostgresNode) -> Iterator[tuple[str, Callable[[str], Any]]]:
    """The name of a new table, and a function that returns the first value that a query finds."""
    name = next(TABLES)
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(TABLE.format(table=name).encode())

        def first_value(query: str) -> Any:
            found = connection.execute(query.format(table=name).encode()).fetchone()
            return None if found is None else found[0]

        yield name, first_value
        connection.execute(f"DROP TABLE {name}".encode())


@pytest.fixture
def kafka(embedded_broker: EmbeddedBroker) -> Iterator[TrialKafka]:
    with TrialKafka(broker=embedded_broker) as trial:
        yield trial


def messages() -> list[tuple[bytes, bytes]]:
    return [
        (f"key-{number % KEYS}".encode(), str(0 if number == REFUSED else 1).encode()) for number in range(MESSAGES)
    ]


@pytest.mark.parametrize("workers", WORKERS.values(), ids=WORKERS.keys())
async def test_every_row_is_written_once_and_a_row_that_the_table_refuses_is_a_dead_letter(
    kafka: TrialKafka,
    postgres: PostgresNode,
    table: tuple[str, Callable[[str], Any]],
    workers: tuple[ExecutionMode, int, Any],
) -> None:
    (name, first_value), (mode, batch_size, worker_type) = table, workers
    topic = kafka.topic("payments", messages(), partitions=2, dead_letters=True)
    worker = worker_type(postgres.url, name)
    execution = ExecutionConfig(
        mode=mode, worker_pool_size=8, batch_size=batch_size, batch_linger_ms=20, max_attempts=2, retry_backoff_ms=20
    )

    async with PyrallelConsumer(kafka.config, worker, topic=topic, execution_config=execution):
        await until(lambda: first_value("SELECT count(*) FROM {table}") >= MESSAGES // 3)
    # What the stop left uncommitted, and the rest, come to the next consumer of the group.
    async with PyrallelConsumer(kafka.config, worker, topic=topic, execution_config=execution):
        await kafka.until_done(topic)

    assert first_value("SELECT count(*) FROM {table}") == MESSAGES - 1
    assert first_value("SELECT max(writes) FROM {table}") == 1
    assert first_value('SELECT count(*) FROM {table} WHERE last_offset <> "offset"') == 0
    [letter] = kafka.records(f"{topic}{kafka.config.dlq_topic_suffix}")
    assert letter.value == b"0"
    if batch_size > 1:
        assert worker.calls < MESSAGES / 10


def test_a_program_that_is_killed_on_the_way_leaves_every_row_once(postgres: PostgresNode) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KAFKA_")}
    ran = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples" / "postgres_batches.py"],
        env=environment | {"DATABASE_URL": postgres.url},
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
    )

    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    assert ran.stdout.splitlines()[-1].startswith("OK: "), ran.stdout
