"""Workers that write the rows of ``TABLE``: with asyncpg or psycopg, one message a call or a list of them."""

from __future__ import annotations

from typing import Any, Self

import asyncpg
import psycopg
from psycopg_pool import ConnectionPool

from pyrallel_consumer import WorkItem

TABLE = """
    CREATE TABLE {table} (
        partition INT, "offset" BIGINT, key TEXT NOT NULL, cents INT NOT NULL CHECK (cents > 0),
        last_offset BIGINT NOT NULL, writes INT NOT NULL DEFAULT 1, PRIMARY KEY (partition, "offset"))
"""
COLUMNS = '(partition, "offset", key, cents, last_offset)'
# A row that is there already is left as it is, so ``writes`` counts how often it took effect: once.
KEEP = 'ON CONFLICT (partition, "offset") DO NOTHING'

Row = tuple[int, int, str, int, int]


def row_of(item: WorkItem) -> Row:
    """The row of a message; the offset is stored beside the data."""
    return item.partition, item.offset, (item.key or b"").decode(), int(item.payload or 0), item.offset


class AsyncWriter:
    """Writes with asyncpg; ``calls`` counts calls that wrote."""

    def __init__(self, url: str, table: str) -> None:
        self._url = url
        arrays = "unnest($1::int[], $2::bigint[], $3::text[], $4::int[], $5::bigint[])"
        self._insert = f"INSERT INTO {table} {COLUMNS} SELECT * FROM {arrays} {KEEP}"  # noqa: S608 -- a name of our own
        self.calls = 0

    async def __aenter__(self) -> Self:
        self._pool = await asyncpg.create_pool(self._url, min_size=1, max_size=4)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def write(self, items: list[WorkItem]) -> None:
        await self._pool.execute(self._insert, *map(list, zip(*map(row_of, items), strict=True)))
        self.calls += 1


class OneByOne(AsyncWriter):
    async def __call__(self, item: WorkItem) -> None:
        await self.write([item])


class InBatches(AsyncWriter):
    async def __call__(self, items: list[WorkItem]) -> None:
        await self.write(items)


class ThreadWriter:
    """Writes with psycopg, a connection of the pool for each call."""

    def __init__(self, url: str, table: str) -> None:
        self._url = url
        self._insert: Any = f"INSERT INTO {table} {COLUMNS} VALUES (%s, %s, %s, %s, %s) {KEEP}"  # noqa: S608 -- as above
        self.calls = 0

    def __enter__(self) -> Self:
        self._pool: ConnectionPool[psycopg.Connection] = ConnectionPool(self._url, min_size=1, max_size=4, open=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def write(self, items: list[WorkItem]) -> None:
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.executemany(self._insert, list(map(row_of, items)))
        self.calls += 1


class OneByOneInThreads(ThreadWriter):
    def __call__(self, item: WorkItem) -> None:
        self.write([item])


class InBatchesInThreads(ThreadWriter):
    def __call__(self, items: list[WorkItem]) -> None:
        self.write(items)
