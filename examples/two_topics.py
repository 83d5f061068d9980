"""Two topics, two workers, one program: what ``pyrallel-consumer run`` makes of a list of consumers.

    python examples/two_topics.py

It fills two topics and runs the command on this very file: ``pyrallel-consumer run two_topics:consumers --burst``. In
production leave ``--burst`` out: one SIGTERM drains both, and ``--metrics-port 9091`` shows both.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextvars import ContextVar
from pathlib import Path

from pydantic import BaseModel

from pyrallel_consumer import ExecutionConfig, KafkaConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.testing import TrialKafka

ORDERS, PAYMENTS = 120, 80


class Order(BaseModel):
    """An order, read from its JSON."""

    amount: int


class Ledger:
    """Stands for the pool of a database."""

    def __init__(self) -> None:
        self.amount = 0


ledger: ContextVar[Ledger] = ContextVar("ledger")


@contextlib.asynccontextmanager
async def books() -> AsyncIterator[None]:
    """Opened before the first order, closed after the last one: every attempt finds it."""
    ledger.set(Ledger())
    yield
    print(f"orders: {ledger.get().amount}", flush=True)


async def order(item: WorkItem[Order]) -> None:
    ledger.get().amount += item.value.amount


class Payments:
    """A worker for threads that is a context manager itself."""

    def __enter__(self) -> None:
        self.count = 0

    def __exit__(self, *_: object) -> None:
        print(f"payments: {self.count}", flush=True)

    def __call__(self, _: WorkItem) -> None:
        self.count += 1  # a thread alone: worker_pool_size is 1


def consumers() -> list[PyrallelConsumer]:
    """The command calls this: each consumer has its topic, its worker and its settings."""
    orders, payments = os.environ["ORDERS_TOPIC"], os.environ["PAYMENTS_TOPIC"]
    group = os.environ["SHOP_GROUP"]
    threads = ExecutionConfig(mode="thread", worker_pool_size=1)
    return [
        PyrallelConsumer(KafkaConfig(consumer_group=group), order, orders, value_type=Order, lifespan=books),
        PyrallelConsumer(KafkaConfig(consumer_group=group), Payments(), payments, execution_config=threads),
    ]


def main() -> int:
    with TrialKafka() as kafka:
        orders = kafka.topic("orders", [(str(number % 9).encode(), b'{"amount": 2}') for number in range(ORDERS)])
        payments = kafka.topic("payments", [(str(number % 9).encode(), b"paid") for number in range(PAYMENTS)])
        place = {
            "KAFKA_BOOTSTRAP_SERVERS": ",".join(kafka.config.bootstrap_servers),
            "ORDERS_TOPIC": orders,
            "PAYMENTS_TOPIC": payments,
            "SHOP_GROUP": kafka.config.consumer_group,
        }
        command = [sys.executable, "-m", "pyrallel_consumer", "run", "two_topics:consumers", "--burst"]
        ran = subprocess.run(
            [*command, "--app-dir", str(Path(__file__).parent)],
            env=os.environ | place,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    print(ran.stdout, end="")
    holds = ran.returncode == 0 and f"orders: {2 * ORDERS}" in ran.stdout and f"payments: {PAYMENTS}" in ran.stdout
    print("OK: both topics are done, in one program" if holds else f"FAILED with exit code {ran.returncode}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
