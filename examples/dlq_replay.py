"""Dead letters: orders that cannot be handled are set aside, the bug is fixed, and the orders are sent back.

    python examples/dlq_replay.py

It runs on the Kafka of KAFKA_BOOTSTRAP_SERVERS, or on a broker of its own where that is not set. The first release of
the worker does not know one currency. Its orders go to the dead-letter topic, which holds nobody up; the second release
gets them back by `pyrallel-consumer dlq replay`, the command that you would type.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from pyrallel_consumer import DoNotRetry, ExecutionConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.testing import TrialKafka

ORDERS, EVERY = 200, 20
COMMAND = Path(sys.executable).with_name("pyrallel-consumer")

booked: dict[int, str] = {}
replayed: set[int] = set()


def book(item: WorkItem, rates: dict[str, float]) -> None:
    order = json.loads(item.payload or b"{}")
    if order["currency"] not in rates:
        # Another attempt cannot help, so none is made. Any other exception would be tried `max_attempts` times.
        raise DoNotRetry(f"unknown currency {order['currency']}")
    booked[order["number"]] = f"{order['amount'] * rates[order['currency']]:.2f} EUR"
    if any(name == "x-replay-count" for name, _ in item.headers):
        replayed.add(order["number"])


async def first_release(item: WorkItem) -> None:
    book(item, {"EUR": 1.0, "USD": 0.9})


async def second_release(item: WorkItem) -> None:
    book(item, {"EUR": 1.0, "USD": 0.9, "KRW": 0.0006})


def orders() -> list[tuple[bytes, bytes]]:
    made = []
    for number in range(ORDERS):
        currency = "KRW" if number % EVERY == 0 else ("EUR", "USD")[number % 2]
        order = {"number": number, "currency": currency, "amount": 10 + number}
        made.append((f"customer-{number % 30}".encode(), json.dumps(order).encode()))
    return made


async def consumed(kafka: TrialKafka, topic: str, worker: Callable[[WorkItem], Awaitable[None]]) -> None:
    """Consume until all there is has been committed; a dead letter commits when the broker has it."""
    async with PyrallelConsumer(kafka.config, worker, topic=topic, execution_config=ExecutionConfig()):
        await kafka.until_done(topic)


async def dlq(kafka: TrialKafka, *arguments: str) -> None:
    print(f"$ pyrallel-consumer dlq {' '.join(arguments)}", flush=True)
    servers = {"KAFKA_BOOTSTRAP_SERVERS": ",".join(kafka.config.bootstrap_servers)}
    command = await asyncio.create_subprocess_exec(COMMAND, "dlq", *arguments, env=os.environ | servers)
    if await command.wait() != 0:
        raise SystemExit(f"dlq {arguments[0]} ended with exit code {command.returncode}")


async def main() -> int:
    with TrialKafka() as kafka:
        topic = kafka.topic("orders", orders(), dead_letters=True)
        letters = topic + kafka.config.dlq_topic_suffix
        await consumed(kafka, topic, first_release)
        first, lettered = len(booked), kafka.size(letters)
        print(f"first release: {first} orders booked, {lettered} dead letters\n")
        await dlq(kafka, "list", "--topic", topic)
        await dlq(kafka, "replay", "--topic", topic, "--filter", "error=KRW")
        await consumed(kafka, topic, second_release)

    print(f"\nsecond release: {len(replayed)} replayed orders booked, {len(booked)} of {ORDERS} in all")
    expected = ORDERS // EVERY
    holds = (first, lettered, len(replayed), len(booked)) == (ORDERS - expected, expected, expected, ORDERS)
    print("OK: every order is booked" if holds else "FAILED: these are not the numbers expected")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
