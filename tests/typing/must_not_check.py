"""None of this is right: both type checkers must refuse every line that ends with ``# refused``, and no other."""

from __future__ import annotations

from confluent_kafka.serialization import SerializationContext
from pydantic import BaseModel

from pyrallel_consumer import (
    ExecutionConfig,
    KafkaConfig,
    MetricsConfig,
    ParallelConsumerConfig,
    PyrallelConsumer,
    WorkItem,
)


class Order(BaseModel):
    number: int


config = KafkaConfig()
execution = ExecutionConfig()

# Settings

KafkaConfig(consumer_grp="shop")  # refused
KafkaConfig(consumer_group=7)  # refused
KafkaConfig(AUTO_OFFSET_RESET="newest")  # refused
KafkaConfig(metrics=ExecutionConfig())  # refused
ExecutionConfig(mode=17)  # refused
ExecutionConfig(mode="threads")  # refused
ExecutionConfig(max_in_flight="many")  # refused
ExecutionConfig(on_exhausted="drop")  # refused
ParallelConsumerConfig(ordering_mode="none")  # refused
MetricsConfig(prot=9091)  # refused
execution.mode = "threads"  # refused
execution.max_inflight = 7  # refused
config.parallel_consumer.ordering_mode = "none"  # refused
config.DLQ_TOPIC_SUFFIX = 7  # refused
print(config.consumer_grp)  # refused

# Workers


async def raw(item: WorkItem) -> None: ...
async def of_int(item: int) -> None: ...
async def of_two(item: WorkItem, more: int) -> None: ...
async def order(item: WorkItem[Order]) -> None: ...
async def orders(items: list[WorkItem[Order]]) -> None: ...


PyrallelConsumer(config, of_int, "orders")  # refused
PyrallelConsumer(config, of_two, "orders")  # refused
PyrallelConsumer(config, "raw", "orders")  # refused
PyrallelConsumer(config, order, "orders")  # refused
PyrallelConsumer(config, order, "orders", value_type=int)  # refused
PyrallelConsumer(config, orders, "orders", value_type=int)  # refused
PyrallelConsumer(config, raw, "orders", value_type=Order)  # refused
PyrallelConsumer(config, raw, 7)  # refused
PyrallelConsumer({}, raw, "orders")  # refused
PyrallelConsumer(config, raw, "orders", execution=execution)  # refused


def to_int(data: bytes | None, context: SerializationContext) -> int:
    return int(data or b"0")


def of_text(data: str) -> Order:
    return Order.model_validate_json(data)


PyrallelConsumer(config, order, "orders", value_deserializer=to_int)  # refused
PyrallelConsumer(config, order, "orders", value_deserializer=of_text)  # refused
PyrallelConsumer(config, order, "orders", value_type=Order, value_deserializer=to_int)  # refused
PyrallelConsumer(config, raw, "orders", lifespan=print)  # refused
PyrallelConsumer(config, raw, "orders", on_completion=7)  # refused


async def wrong(item: WorkItem[Order]) -> None:
    print(item.value.nummer)  # refused
    item.key.decode()  # refused
    item.offset = 7  # refused
