"""Exactly once from one topic to another: the consumer is killed in the middle, started again, and nothing is doubled.

    KAFKA_BOOTSTRAP_SERVERS=localhost:9092 python examples/exactly_once.py

It needs a real Apache Kafka, for the embedded broker's transactions are wrong: without KAFKA_BOOTSTRAP_SERVERS it says
so and tries nothing. Orders come in, and one invoice for each goes out. The consumer is a process of its own that is
killed with SIGKILL three times while messages of all customers are at work, out of order. At the end a reader of
committed records counts: one invoice for each order, in order by customer.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import defaultdict

from pyrallel_consumer import KafkaConfig, OutputConfig, ParallelConsumerConfig, PyrallelConsumer, Record, WorkItem
from pyrallel_consumer.testing import TrialKafka

ORDERS, CUSTOMERS, KILLS = 3000, 60, 3


def consume(group: str, orders: str, invoices: str) -> None:
    """The process that is killed."""

    async def worker(item: WorkItem) -> Record:
        await asyncio.sleep(random.random() * 0.03)
        order = json.loads(item.payload or b"{}")
        return Record(invoices, json.dumps({"order": order["number"]}), item.key)

    config = KafkaConfig(consumer_group=group, parallel_consumer=ParallelConsumerConfig(commit_interval_ms=100))
    # Killed without a word, a member's open transaction ends after this time at the latest.
    output = OutputConfig(delivery="exactly_once", transaction_timeout_ms=3000)
    PyrallelConsumer(config, worker, topic=orders, output=output).run_forever()


def started(kafka: TrialKafka, orders: str, invoices: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, __file__, kafka.config.consumer_group, orders, invoices])


async def until_left(kafka: TrialKafka, orders: str, most: int) -> None:
    while await asyncio.to_thread(kafka.lag, orders) > most:
        await asyncio.sleep(0.02)


async def main() -> int:
    if not os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        print("OK: nothing was tried, for exactly once needs a real Apache Kafka: set KAFKA_BOOTSTRAP_SERVERS")
        return 0
    records = [
        (b"customer-%d" % (number % CUSTOMERS), json.dumps({"number": number}).encode()) for number in range(ORDERS)
    ]
    with TrialKafka() as kafka:
        orders = kafka.topic("orders", records, dead_letters=True)
        invoices = kafka.topic("invoices")
        for kill in range(KILLS):
            process = started(kafka, orders, invoices)
            await until_left(kafka, orders, ORDERS - (kill + 1) * ORDERS // (KILLS + 2))
            process.kill()
            process.wait()
        process = started(kafka, orders, invoices)
        await kafka.until_done(orders, timeout_seconds=120)
        process.terminate()
        process.wait()
        found = await asyncio.to_thread(kafka.records, invoices)

    by_customer: dict[object, list[int]] = defaultdict(list)
    for record in found:
        by_customer[record.key].append(json.loads(record.value or b"{}")["order"])
    numbers = [number for each in by_customer.values() for number in each]
    in_order = all(each == sorted(each) for each in by_customer.values())
    print(f"{ORDERS} orders, {KILLS} kills, {len(numbers)} invoices of {len(by_customer)} customers")
    holds = sorted(numbers) == list(range(ORDERS)) and in_order
    print("OK: one invoice for every order, in order by customer" if holds else f"FAILED: {len(numbers)=} {in_order=}")
    return 0 if holds else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        consume(*sys.argv[1:])
    else:
        sys.exit(asyncio.run(main()))
