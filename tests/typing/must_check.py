"""All of this is right, and both type checkers must say so. It is checked, and never run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypedDict, assert_type

from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import SerializationContext
from pydantic import BaseModel, TypeAdapter

from pyrallel_consumer import (
    CompletionEvent,
    ExecutionConfig,
    ExecutionMode,
    KafkaConfig,
    MetricsConfig,
    OrderingMode,
    ParallelConsumerConfig,
    PyrallelConsumer,
    WorkItem,
)


class Order(BaseModel):
    number: int


@dataclass
class Payment:
    amount: float


class Refund(TypedDict):
    amount: float


config = KafkaConfig()


# Settings, in both spellings, as arguments and as attributes

KafkaConfig(bootstrap_servers="localhost:9092", consumer_group="shop", auto_offset_reset="earliest")
KafkaConfig(BOOTSTRAP_SERVERS=["localhost:9092"], CONSUMER_GROUP="shop", AUTO_OFFSET_RESET="earliest")
KafkaConfig(metrics=MetricsConfig(ENABLED=True, port=9091), librdkafka={"isolation.level": "read_committed"})
KafkaConfig(parallel_consumer=ParallelConsumerConfig(ordering_mode="partition"), dlq_payload_mode="metadata_only")
KafkaConfig(parallel_consumer={"ordering_mode": "partition"}, sasl_password="a secret")
ExecutionConfig(mode="thread", max_retries=5, on_exhausted="skip", batch_by="key", initializer=print)
execution = ExecutionConfig(mode=ExecutionMode.ASYNC)
execution.mode = "process"
execution.MODE = ExecutionMode.THREAD
execution.max_retries = 3
execution.on_exhausted = None
assert_type(execution.mode, ExecutionMode)
assert_type(execution.max_in_flight, int)
config.DLQ_TOPIC_SUFFIX = ".failed"
config.metrics.enabled = True
config.parallel_consumer.ordering_mode = "partition"
config.parallel_consumer.ORDERING_MODE = OrderingMode.UNORDERED
assert_type(config.parallel_consumer.ordering_mode, OrderingMode)


# Workers


async def raw(item: WorkItem) -> None:
    assert_type(item.value, bytes | None)
    assert_type(item.payload, bytes | None)


def plain(item: WorkItem) -> int:
    return item.offset


async def of_anything(item: WorkItem[Any]) -> None: ...


async def of_two(database: object, item: WorkItem) -> None: ...


async def batch(items: list[WorkItem]) -> None: ...


class Worker:
    async def __call__(self, item: WorkItem) -> None: ...
    async def method(self, item: WorkItem) -> None: ...


PyrallelConsumer(config, raw, "orders")
PyrallelConsumer(config, worker=raw, topic="orders", execution_config=execution)
PyrallelConsumer(config=config, execution_config=execution, worker=plain, topic=["orders", "payments"])
PyrallelConsumer(config, of_anything, "orders")
PyrallelConsumer(config, partial(of_two, None), "orders")
PyrallelConsumer(config, batch, "orders", execution_config=ExecutionConfig(batch_size=500))
PyrallelConsumer(config, Worker(), "orders")
PyrallelConsumer(config, Worker().method, "orders")


# Typed payloads


async def order(item: WorkItem[Order]) -> None:
    assert_type(item.value, Order)
    assert_type(item.payload, bytes | None)
    assert_type(item.key, bytes | None)


async def order_or_tombstone(item: WorkItem[Order | None]) -> None:
    if item.value is not None:
        assert_type(item.value, Order)


def payment(item: WorkItem[Payment]) -> None: ...


async def refund(item: WorkItem[Refund]) -> None: ...


async def either(item: WorkItem[Order | Payment]) -> None: ...


async def orders(items: list[WorkItem[Order]]) -> None: ...


async def numbers(item: WorkItem[list[int]]) -> None: ...


PyrallelConsumer(config, order, "orders", value_type=Order)
PyrallelConsumer(config, order_or_tombstone, "orders", value_type=Order)
PyrallelConsumer(config, payment, "orders", value_type=Payment, key_type=int)
PyrallelConsumer(config, refund, "orders", value_type=Refund)
PyrallelConsumer(config, either, "orders", value_type=Order | Payment)
PyrallelConsumer(config, either, "orders", value_type=Order)
PyrallelConsumer(config, orders, "orders", value_type=Order)
PyrallelConsumer(config, numbers, "orders", value_type=list[int])
PyrallelConsumer(config, order, "orders", value_type=TypeAdapter(Order))
PyrallelConsumer(config, of_anything, "orders", value_type=Order)


def to_order(data: bytes | None, context: SerializationContext) -> Order:
    return Order.model_validate_json(data or b"")


async def to_order_soon(data: bytes | None, context: SerializationContext) -> Order:
    return to_order(data, context)


def made() -> AvroDeserializer:
    raise NotImplementedError  # Its constructor is refused by pyright, whatever it is given.


async def of_dict(item: WorkItem[dict[str, Any]]) -> None: ...


PyrallelConsumer(config, order, "orders", value_deserializer=to_order, key_deserializer=to_order)
PyrallelConsumer(config, order, "orders", value_deserializer=to_order_soon)
PyrallelConsumer(config, of_dict, "orders", value_deserializer=made())
PyrallelConsumer(config, of_anything, "orders", value_deserializer=made)


# All else


@asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    yield


def note(event: CompletionEvent) -> None:
    assert_type(event.error, BaseException | None)


PyrallelConsumer(config, order, "orders", value_type=Order, lifespan=lifespan, on_completion=note)
