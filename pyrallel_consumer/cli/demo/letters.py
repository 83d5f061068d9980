"""Reads the demo's dead-letter topic, with a client that knows nothing about the consumers."""

from __future__ import annotations

from pyrallel_consumer.cli.demo.orders import Order
from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.admin.dead_letter_reader import DeadLetterReader

NO_ORDER = 0


def lettered_orders(config: KafkaConfig, dlq_topic: str) -> list[int]:
    """The number of every order that has a letter, once for each letter; 0 for a letter without an order. Blocks."""
    numbers: list[int] = []
    with DeadLetterReader(config, config.consumer_group) as reader:
        for partition in range(reader.topics().get(dlq_topic, 0)):
            tp = TopicPartition(dlq_topic, partition)
            for stored in reader.read(tp, *reader.ends(tp)):
                numbers += [_number(stored.record.value)] if stored else []
    return numbers


def _number(value: bytes | None) -> int:
    try:
        return Order.from_json(value).number
    except (TypeError, ValueError):
        return NO_ORDER
