"""The yardstick: a loop that consumes, produces the same records, and commits them in one transaction now and then.

It keeps no books, runs no worker, and keeps order by partition only. Arguments: as ``transform``. It runs until it is
killed.
"""

from __future__ import annotations

import sys
import time
from typing import Final

from confluent_kafka import Consumer, Producer, TopicPartition

BATCH: Final = 1000
POLL_SECONDS: Final = 0.02


def main() -> None:
    servers, source, target, group, commit_ms = sys.argv[1:6]
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 10,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "transactional.id": group,
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
            "delivery.report.only.error": True,
        }
    )
    producer.init_transactions(30)
    consumer.subscribe([source])
    while True:
        first = consumer.poll(1.0)
        if first is None or first.error():
            continue
        producer.begin_transaction()
        ends: dict[int, int] = {}
        until = time.monotonic() + int(commit_ms) / 1000
        messages = [first]
        while True:
            for message in messages:
                while True:
                    try:
                        producer.produce(target, message.value(), message.key())
                        break
                    except BufferError:
                        producer.poll(0.01)
                ends[message.partition() or 0] = (message.offset() or 0) + 1
            if time.monotonic() >= until:
                break
            messages = consumer.consume(BATCH, POLL_SECONDS)
            producer.poll(0)
        offsets = [TopicPartition(source, partition, offset) for partition, offset in ends.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30)


if __name__ == "__main__":
    main()
