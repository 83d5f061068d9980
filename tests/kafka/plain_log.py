"""The content of a log for a plain consumer without a group: histories must match it."""

from __future__ import annotations

from confluent_kafka import Consumer, TopicPartition

from tests.kafka.deadline import wait_until
from tests.kafka.history import Place
from tests.kafka_cluster import KafkaCluster, Record

BATCH = 10_000


def read_log(kafka: KafkaCluster, topic: str) -> dict[Place, Record]:
    """Every record a reader of committed data is given, by place, up to the end of the log as it is now."""
    ends = kafka.end_offsets(topic)
    records: dict[Place, Record] = {}
    with Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": kafka.new_group(),
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 10,
        }
    ) as consumer:
        low = {at: consumer.get_watermark_offsets(TopicPartition(topic, at), timeout=30)[0] for at in ends}
        consumer.assign([TopicPartition(topic, at, offset) for at, offset in low.items()])

        def is_read() -> bool:
            for message in consumer.consume(BATCH, 0.05):
                assert message.error() is None, message.error()
                where, offset = message.partition(), message.offset()
                assert where is not None
                assert offset is not None
                records[topic, where, offset] = (message.key(), message.value())
            # A position passes aborted transactions and their markers, too.
            positions = {
                at.partition: at.offset for at in consumer.position([TopicPartition(topic, at) for at in ends])
            }
            return all(end == low[at] or positions[at] >= end for at, end in ends.items())

        wait_until(is_read, f"a plain consumer has read {topic} to its end")
    return records
