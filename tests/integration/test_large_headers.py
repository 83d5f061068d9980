"""Headers of the client's own messages count towards the memory bounds."""

from __future__ import annotations

import asyncio

from confluent_kafka import Producer

from pyrallel_consumer import EmbeddedBroker, PyrallelConsumer, WorkItem
from tests.integration.consuming import execution, kafka, new_group, until

MESSAGES = 100
HEADER_BYTES = 20_000
MOST_BYTES = 200_000


async def test_headers_fill_the_buffer_as_values_do(embedded_broker: EmbeddedBroker) -> None:
    topic = "large-headers"
    embedded_broker.create_topic(topic, 1)
    producer = Producer({"bootstrap.servers": embedded_broker.bootstrap_servers})
    for _ in range(MESSAGES):
        producer.produce(topic, b"v", b"k", 0, headers=[("large", b"x" * HEADER_BYTES)])
    assert producer.flush(30) == 0
    go_on = asyncio.Event()

    async def worker(item: WorkItem) -> None:
        await go_on.wait()

    config = kafka(embedded_broker.bootstrap_servers, new_group(), parallel={"queue_max_bytes": MOST_BYTES})
    async with PyrallelConsumer(config, worker, topic, execution_config=execution()) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().is_paused)
        snapshot = consumer.get_runtime_snapshot()
        assert snapshot.load_bytes >= snapshot.load_messages * HEADER_BYTES
        assert snapshot.load_messages <= 2 * MOST_BYTES // HEADER_BYTES
        go_on.set()
        await until(lambda: consumer.get_runtime_snapshot().processed == MESSAGES)
