"""Thread workers that write to a database, and why a redelivery does no harm: each write is idempotent.

    python examples/thread_sqlite.py

It runs on the Kafka of KAFKA_BOOTSTRAP_SERVERS, or on a broker of its own where that is not set. Payments add to the
balance of their account. The first consumer is aborted in the middle of its work, as a crash would: what it had not
committed comes again to the second one. The balance holds the offset of its last payment, in one transaction with the
amount, and payments of an account come in order; so a payment that comes again is known and changes nothing. With
PostgreSQL or MySQL the statement is the same, but for the placeholders.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from pyrallel_consumer import ExecutionConfig, ExecutionMode, PyrallelConsumer, WorkItem
from pyrallel_consumer.testing import TrialKafka

PAYMENTS, ACCOUNTS, THREADS = 600, 50, 16
ABORT_AFTER = PAYMENTS // 3

TABLE = "CREATE TABLE accounts (id TEXT PRIMARY KEY, cents INTEGER NOT NULL, last_offset INTEGER NOT NULL)"
# One account is one key and so one partition: its offsets only grow.
ADD = """
    INSERT INTO accounts (id, cents, last_offset) VALUES (?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET cents = cents + excluded.cents, last_offset = excluded.last_offset
    WHERE excluded.last_offset > last_offset
"""


class Ledger:
    """The worker: each call borrows a connection, as from the pool of a driver for PostgreSQL."""

    def __init__(self, path: Path, connections: int) -> None:
        self._pool: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        for _ in range(connections):
            self._pool.put(sqlite3.connect(path, timeout=30, check_same_thread=False))
        self._lock = threading.Lock()
        self.handled = 0
        self.known_already = 0

    def handle(self, item: WorkItem) -> None:
        account, cents = (item.key or b"").decode(), int(item.payload or 0)
        connection = self._pool.get()
        try:
            with connection:  # commits, or rolls back where anything is raised
                changed = connection.execute(ADD, (account, cents, item.offset)).rowcount
            time.sleep(0.002)  # what a database across the network takes
        finally:
            self._pool.put(connection)
        with self._lock:
            self.handled += 1
            self.known_already += changed == 0

    def close(self) -> None:
        while not self._pool.empty():
            self._pool.get().close()


def payments() -> list[tuple[bytes, bytes]]:
    return [(f"account-{number % ACCOUNTS}".encode(), str(number + 1).encode()) for number in range(PAYMENTS)]


async def main(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")  # readers do not wait for the writer
        database.execute(TABLE)
    expected: Counter[str] = Counter()
    for account, cents in payments():
        expected[account.decode()] += int(cents)
    ledger = Ledger(path, connections=THREADS)
    execution = ExecutionConfig(mode=ExecutionMode.THREAD, worker_pool_size=THREADS)

    with TrialKafka() as kafka:
        topic = kafka.topic("payments", payments())
        first = PyrallelConsumer(kafka.config, ledger.handle, topic=topic, execution_config=execution)
        await first.start()
        while ledger.handled < ABORT_AFTER:
            await asyncio.sleep(0.01)
        await first.abort()
        print(f"aborted after {ledger.handled} payments; {kafka.lag(topic)} of {PAYMENTS} are not committed")
        async with PyrallelConsumer(kafka.config, ledger.handle, topic=topic, execution_config=execution):
            await kafka.until_done(topic)

    ledger.close()

    with closing(sqlite3.connect(path)) as database:
        balances = dict(database.execute("SELECT id, cents FROM accounts"))
    print(f"{ledger.handled} calls for {PAYMENTS} payments: {ledger.known_already} came again and changed nothing")
    holds = balances == expected and ledger.handled - ledger.known_already == PAYMENTS
    print("OK: every balance is right to the cent" if holds else f"FAILED: {balances} is not {dict(expected)}")
    return 0 if holds else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(asyncio.run(main(Path(folder) / "accounts.db")))
