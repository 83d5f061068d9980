"""Payments into PostgreSQL, 500 rows a statement: killed on the way, and every row is there once.

    DATABASE_URL=postgresql://user@localhost/test python examples/postgres_batches.py

It makes two tables in that database and drops them at the end. It runs on the Kafka of KAFKA_BOOTSTRAP_SERVERS, or on
a broker of its own where that is not set.

A worker that takes a list gets up to ``batch_size`` messages. Here it writes them in one transaction: the payments,
each with its place in Kafka as the primary key, and the balances, from the payments that were new. So messages that
come again after a crash change nothing. One payment is refused by the database, and with it the whole statement: the
consumer searches the batch by halves, that payment alone becomes a dead letter, and the others are written.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from typing import Any, Self

import asyncpg

from pyrallel_consumer import ExecutionConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.testing import TrialKafka

PAYMENTS, ACCOUNTS, BATCH = 4_000, 50, 500
REFUSED = PAYMENTS // 2
"""The number of the payment of no cents, which the table's CHECK refuses."""

TABLES = """
    CREATE TABLE payments (
        topic TEXT, partition INT, "offset" BIGINT, account TEXT NOT NULL, cents INT NOT NULL CHECK (cents > 0),
        PRIMARY KEY (topic, partition, "offset"));
    CREATE TABLE balances (account TEXT PRIMARY KEY, cents BIGINT NOT NULL)
"""
WRITE = """
    WITH new AS (
        INSERT INTO payments SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::int[])
        ON CONFLICT DO NOTHING RETURNING account, cents)
    INSERT INTO balances SELECT account, sum(cents) FROM new GROUP BY account ORDER BY account
    ON CONFLICT (account) DO UPDATE SET cents = balances.cents + excluded.cents
"""


class Bank:
    """The worker. As a context manager it opens its pool before the first batch, and closes it after the last."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.calls = 0

    async def __aenter__(self) -> Self:
        self._pool = await asyncpg.create_pool(self._url, min_size=1, max_size=4)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def __call__(self, items: list[WorkItem]) -> None:
        self.calls += 1
        rows = [
            (item.topic, item.partition, item.offset, (item.key or b"").decode(), int(item.payload or 0))
            for item in items
        ]
        await self._pool.execute(WRITE, *map(list, zip(*rows, strict=True)))


def consumer_of(config: Any, topic: str, bank: Bank) -> PyrallelConsumer:
    execution = ExecutionConfig(batch_size=BATCH, batch_linger_ms=20, max_attempts=2, retry_backoff_ms=50)
    return PyrallelConsumer(config, bank, topic=topic, execution_config=execution)


async def consume_until_killed(topic: str, url: str) -> None:
    """The first consumer, in a process of its own; the settings come from the environment."""
    with TrialKafka() as kafka:
        async with consumer_of(kafka.config, topic, Bank(url)) as consumer:
            await consumer.wait_closed()


async def main(url: str) -> int:
    with TrialKafka() as kafka:
        topic = kafka.topic("payments", payments(), dead_letters=True)
        database = await asyncpg.connect(url)
        await database.execute(TABLES)
        try:
            return await pay(kafka, topic, url, database)
        finally:
            await database.execute("DROP TABLE payments, balances")
            await database.close()


def payments() -> list[tuple[bytes, bytes]]:
    return [
        (f"account-{number % ACCOUNTS}".encode(), b"0" if number == REFUSED else str(number + 1).encode())
        for number in range(PAYMENTS)
    ]


async def pay(kafka: TrialKafka, topic: str, url: str, database: Any) -> int:
    config = kafka.config
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": ",".join(config.bootstrap_servers),
        "KAFKA_CONSUMER_GROUP": config.consumer_group,
        "DATABASE_URL": url,
    }
    first = await asyncio.create_subprocess_exec(sys.executable, __file__, topic, env=os.environ | settings)
    while not await database.fetchval("SELECT count(*) FROM payments"):
        await asyncio.sleep(0.005)
    first.kill()
    await first.wait()
    written = await database.fetchval("SELECT count(*) FROM payments")
    print(f"killed after {written} rows; {kafka.lag(topic)} of {PAYMENTS} messages are not committed")

    bank = Bank(url)
    async with consumer_of(config, topic, bank):
        await kafka.until_done(topic)
    expected: Counter[str] = Counter()
    for account, cents in payments():
        expected[account.decode()] += int(cents)
    rows = await database.fetchval("SELECT count(*) FROM payments")
    balances = dict(await database.fetch("SELECT account, cents FROM balances"))
    [letter] = kafka.records(f"{topic}{config.dlq_topic_suffix}")
    print(f"{rows} rows in {bank.calls} calls of the second consumer; refused: {letter.key!r}, {letter.value!r} cents")
    holds = rows == PAYMENTS - 1 and balances == expected and letter.value == b"0"
    print("OK: every payment is there once, and every balance is right" if holds else f"FAILED: {balances}")
    return 0 if holds else 1


if __name__ == "__main__":
    database_url = os.environ.get("DATABASE_URL")
    if database_url is None:
        sys.exit("set DATABASE_URL to a PostgreSQL database: postgresql://user@localhost/test")
    if len(sys.argv) > 1:
        asyncio.run(consume_until_killed(sys.argv[1], database_url))
    else:
        sys.exit(asyncio.run(main(database_url)))
