"""Orders in Avro, described in a schema registry: the schema evolves on the way, and one message is no order at all.

    pip install 'pyrallel-consumer[avro]'
    python examples/typed_orders.py

Without KAFKA_BOOTSTRAP_SERVERS it starts a broker on this machine. Without SCHEMA_REGISTRY_URL it takes the registry in
memory that confluent-kafka has for tests. The worker gets ``Order`` objects, whatever schema they were written with.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from pyrallel_consumer import CompletionEvent, DecodeError, ExecutionConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.testing import TrialKafka

OLD_ORDERS, NEW_ORDERS, CUSTOMERS = 60, 40, 7
NO_ORDER = b"hello"
FIELDS = [{"name": "customer", "type": "string"}, {"name": "amount", "type": "double"}]
CURRENCY = {"name": "currency", "type": "string", "default": "EUR"}


@dataclass
class Order:
    """The order as the worker gets it, whatever schema it was written with."""

    customer: str
    amount: float
    currency: str


def schema(*fields: dict[str, str]) -> str:
    return json.dumps({"type": "record", "name": "Order", "fields": [*fields]})


def to_order(fields: dict[str, Any], _: SerializationContext) -> Order:
    return Order(**fields)


def records(registry: SchemaRegistryClient, topic: str) -> list[tuple[bytes, bytes]]:
    """Orders as an old and a new program write them, and something else between the two."""
    context = SerializationContext(topic, MessageField.VALUE)
    old, new = AvroSerializer(registry, schema(*FIELDS)), AvroSerializer(registry, schema(*FIELDS, CURRENCY))
    orders = [{"customer": f"customer-{number % CUSTOMERS}", "amount": float(number)} for number in range(OLD_ORDERS)]
    newer = [order | {"currency": "CHF"} for order in orders[:NEW_ORDERS]]
    written = [(old, order) for order in orders] + [(new, order) for order in newer]
    values = [(str(order["customer"]).encode(), serializer(order, context)) for serializer, order in written]
    return [*values[:OLD_ORDERS], (b"customer-0", NO_ORDER), *values[OLD_ORDERS:]]


async def main() -> int:
    # With max.retries 0 the client says at once that a registry is down: the consumer tries the message again later.
    address = os.environ.get("SCHEMA_REGISTRY_URL", "mock://orders")
    registry = SchemaRegistryClient.new_client({"url": address, "max.retries": 0})
    totals: Counter[str] = Counter()
    refused: list[str] = []

    def worker(item: WorkItem[Order]) -> None:
        totals[item.value.currency] += 1

    def note(event: CompletionEvent) -> None:
        if isinstance(event.error, DecodeError):
            refused.append(f"{event.error.field} of offset {event.error.offset}, after {event.attempt} attempt")

    with TrialKafka() as kafka:
        topic = kafka.topic("orders", partitions=1, dead_letters=True)
        kafka.append(topic, records(registry, topic))
        deserializer: Any = AvroDeserializer(registry, schema(*FIELDS, CURRENCY), to_order)
        consumer = PyrallelConsumer(
            kafka.config,
            worker,
            topic=topic,
            execution_config=ExecutionConfig(mode="thread", worker_pool_size=1),
            value_deserializer=deserializer,
            on_completion=note,
        )
        async with consumer:
            await kafka.until_done(topic)

    print(f"{totals['EUR']} orders of the old schema, {totals['CHF']} of the new one; no order: {refused}")
    holds = (totals["EUR"], totals["CHF"]) == (OLD_ORDERS, NEW_ORDERS) and len(refused) == 1
    print("OK: each order was read by its schema, and what is none was given up at once" if holds else "FAILED")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
