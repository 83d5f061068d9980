"""Fills topics for benchmarks: keyed messages dealt out in turn, acknowledged before anything is measured.

Values look like a small order, so they compress as real ones do: the embedded broker keeps 5 MB as sent per partition.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

ORDER: Final = b'{"amount": "12.50", "currency": "EUR", "state": "paid", "note": "'
ORDER_END: Final = b'"}'
NUMBER_DIGITS: Final = 20
BATCH_BYTES: Final = 16_384
"""As the Java client batches by default; a broker sends out whole batches."""
FLUSH_SECONDS: Final = 120.0
MESSAGES_BETWEEN_POLLS: Final = 10_000


def fill(
    bootstrap_servers: str,
    topic: str,
    *,
    messages: int,
    keys: int,
    value_bytes: int = 100,
    is_compressible: bool = True,
    batch_bytes: int = BATCH_BYTES,
    key_numbers: Sequence[int] | None = None,
    head_of: Callable[[int], bytes] = lambda number: b"%0*d" % (NUMBER_DIGITS, number),
) -> None:
    """Produce ``messages`` over ``keys`` keys in turn, or as ``key_numbers`` says; a key decides on the partition.

    Large batches come to the consumer as long runs of one partition, small ones mixed. A value begins with ``head_of``
    its number: 20 digits, or at least a head that is as long for every message.
    """
    refused: list[KafkaError] = []

    def note(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            refused.append(error)

    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "compression.type": "lz4" if is_compressible else "none",
            "linger.ms": 20,
            "batch.size": batch_bytes,
            "queue.buffering.max.messages": 10_000_000,
            "queue.buffering.max.kbytes": 1024 * 1024,
            "delivery.report.only.error": True,
            "on_delivery": note,
        }
    )
    rest = _rest_of_value(value_bytes - len(head_of(0)), is_compressible=is_compressible)
    for number in range(messages):
        key = number % keys if key_numbers is None else key_numbers[number]
        producer.produce(topic, head_of(number) + rest, b"key-%d" % key)
        if number % MESSAGES_BETWEEN_POLLS == 0:
            producer.poll(0)
    unanswered = producer.flush(FLUSH_SECONDS)
    if unanswered or refused:
        raise RuntimeError(f"{unanswered} messages for {topic} unanswered, {len(refused)} refused: {refused[:1]}")


def _rest_of_value(size: int, *, is_compressible: bool) -> bytes:
    if not is_compressible:
        return random.Random(7).randbytes(max(0, size))
    return (ORDER + b" " * max(0, size - len(ORDER) - len(ORDER_END)) + ORDER_END)[: max(0, size)]
