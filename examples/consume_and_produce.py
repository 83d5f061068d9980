"""From one topic to another: a message counts as done when the broker has its invoice, and not before.

    python examples/consume_and_produce.py

It runs on the Kafka of KAFKA_BOOTSTRAP_SERVERS, or on a broker of its own where that is not set. Orders come in,
invoices go out, with the order's key and so in order by customer. The worker returns a record; the order's offset
completes when the broker has acknowledged it. That is at least once from end to end: a reader of the invoices
recognizes a repeated one by its `source` header. `exactly_once.py` has transactions.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict

from confluent_kafka import Consumer

from pyrallel_consumer import PyrallelConsumer, Record, WorkItem
from pyrallel_consumer.testing import TrialKafka

ORDERS, CUSTOMERS = 2000, 100


class Invoicing:
    """The worker: an order becomes an invoice, which the library writes before the order counts as done."""

    def __init__(self, invoices: str) -> None:
        self._invoices = invoices

    async def handle(self, item: WorkItem) -> Record:
        order = json.loads(item.payload or b"{}")
        invoice = {"order": order["number"], "cents": order["pieces"] * 250}
        return Record(self._invoices, json.dumps(invoice), item.key, [("source", item.id.encode())])


def orders() -> list[tuple[bytes, bytes]]:
    return [
        (b"customer-%d" % (number % CUSTOMERS), json.dumps({"number": number, "pieces": 1 + number % 9}).encode())
        for number in range(ORDERS)
    ]


def read_all(kafka: TrialKafka, topic: str) -> dict[bytes, list[dict[str, int]]]:
    """The invoices by customer, in the order of the topic."""
    by_customer: dict[bytes, list[dict[str, int]]] = defaultdict(list)
    reader = Consumer(
        {
            "bootstrap.servers": ",".join(kafka.config.bootstrap_servers),
            "group.id": f"{kafka.config.consumer_group}-reader",
            "auto.offset.reset": "earliest",
        }
    )
    reader.subscribe([topic])
    for _ in range(kafka.size(topic)):
        message = reader.poll(30)
        if message is None or message.error() is not None:
            raise SystemExit(f"FAILED: the invoices cannot be read: {message and message.error()}")
        by_customer[message.key() or b""].append(json.loads(message.value() or b"{}"))
    reader.close()
    return by_customer


async def main() -> int:
    with TrialKafka() as kafka:
        topic, invoices = kafka.topic("orders", orders()), kafka.topic("invoices")
        async with PyrallelConsumer(kafka.config, Invoicing(invoices).handle, topic=topic):
            await kafka.until_done(topic)
        by_customer = await asyncio.to_thread(read_all, kafka, invoices)

    numbers = [[invoice["order"] for invoice in each] for each in by_customer.values()]
    invoiced = {number for each in numbers for number in each}
    in_order = all(each == sorted(each) for each in numbers)
    print(f"{ORDERS} orders of {len(by_customer)} customers became {sum(map(len, numbers))} invoices")
    holds = invoiced == set(range(ORDERS)) and in_order
    print("OK: an invoice for every order, in order by customer" if holds else f"FAILED: {len(invoiced)=} {in_order=}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
