"""From one topic to another: a message counts as done when the broker has what it became, and not before.

    python examples/consume_and_produce.py

It runs on the Kafka of KAFKA_BOOTSTRAP_SERVERS, or on a broker of its own where that is not set. Orders come in,
invoices go out, with the order's key and so in order by customer. The worker awaits the broker's acknowledgement; if
that fails, so does the attempt, and it is tried again. That is at least once from end to end: whoever reads the
invoices knows one that came twice by its `source` header. No transactions are run; for exactly-once, use Kafka
Streams or Flink.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections import defaultdict

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from pyrallel_consumer import ExecutionConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.testing import TrialKafka

ORDERS, CUSTOMERS = 2000, 100


class Sender:
    """An idempotent producer whose acknowledgements can be awaited. One thread serves its callbacks."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._producer = Producer({"bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "linger.ms": 2})
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="sender")
        self._thread.start()

    async def send(
        self, topic: str, key: bytes | None, value: bytes, headers: list[tuple[str, str | bytes | None]]
    ) -> None:
        """Return when the broker has the record; raises KafkaException when it refuses."""
        done = self._loop.create_future()

        def settle(error: KafkaError | None) -> None:
            if not done.done():  # the attempt may have timed out meanwhile
                done.set_exception(KafkaException(error)) if error else done.set_result(None)

        def on_delivery(error: KafkaError | None, _: Message) -> None:
            self._loop.call_soon_threadsafe(settle, error)

        # A full queue raises BufferError: a failed attempt like any other, tried again after its wait.
        self._producer.produce(topic, value, key, headers=headers, on_delivery=on_delivery)
        await done

    async def close(self) -> None:
        self._is_over.set()
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._producer.flush, 10)
        del self._producer  # ends its connections, too

    def _serve(self) -> None:
        while not self._is_over.is_set():
            self._producer.poll(0.05)


class Invoicing:
    """The worker: an order becomes an invoice."""

    def __init__(self, sender: Sender, invoices: str) -> None:
        self._sender = sender
        self._invoices = invoices

    async def handle(self, item: WorkItem) -> None:
        order = json.loads(item.payload or b"{}")
        invoice = {"order": order["number"], "cents": order["pieces"] * 250}
        await self._sender.send(self._invoices, item.key, json.dumps(invoice).encode(), [("source", item.id.encode())])


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
        sender = Sender(",".join(kafka.config.bootstrap_servers))
        worker = Invoicing(sender, invoices).handle
        async with PyrallelConsumer(kafka.config, worker, topic=topic, execution_config=ExecutionConfig()):
            await kafka.until_done(topic)
        await sender.close()
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
