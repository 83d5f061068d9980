"""The broker of these tests does what they rely on: topics, metadata, restarts, and an end with its owner."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from tests.kafka_cluster import TIMEOUT_SECONDS, KafkaCluster
from tests.kafka_jars import ROOT
from tests.kafka_node import KafkaNode


def read_all(kafka: KafkaCluster, topic: str, count: int) -> list[tuple[bytes | None, bytes | None]]:
    with Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": kafka.new_group()}) as consumer:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in kafka.partitions(topic)])
        records: list[tuple[bytes | None, bytes | None]] = []
        while len(records) < count:
            message = consumer.poll(TIMEOUT_SECONDS)
            assert message is not None, f"only {len(records)} of {count} messages came"
            assert message.error() is None
            records.append((message.key(), message.value()))
        return records


def test_a_new_topic_has_the_partitions_that_were_asked_for(kafka: KafkaCluster) -> None:
    topic = kafka.new_topic(partitions=5)

    assert kafka.partitions(topic) == [0, 1, 2, 3, 4]
    assert kafka.end_offsets(topic) == dict.fromkeys(range(5), 0)


def test_a_deleted_topic_is_gone(kafka: KafkaCluster) -> None:
    topic = kafka.new_topic()

    kafka.delete_topic(topic)

    assert kafka.partitions(topic) == []


def test_a_topic_that_nobody_created_does_not_appear_by_itself(kafka: KafkaCluster) -> None:
    topic = kafka.new_name("nobody-created-it")

    Producer({"bootstrap.servers": kafka.bootstrap_servers}).list_topics(topic, timeout=TIMEOUT_SECONDS)

    assert kafka.partitions(topic) == []


def test_numbered_messages_arrive_in_order_within_their_key(kafka: KafkaCluster) -> None:
    topic = kafka.new_topic(partitions=3)

    kafka.produce_numbered(topic, messages=2_000, keys=20)

    numbers: dict[bytes | None, list[int]] = {}
    for key, value in read_all(kafka, topic, 2_000):
        numbers.setdefault(key, []).append(int(value or b""))
    assert numbers == {b"key-%d" % key: list(range(100)) for key in range(20)}


def test_commit_metadata_comes_back_as_it_was_committed(kafka: KafkaCluster) -> None:
    topic, group = kafka.new_topic(partitions=2), kafka.new_group()
    kafka.produce_numbered(topic, messages=10, keys=1, partition=1)

    kafka.commit(group, [TopicPartition(topic, 1, 7, "what is done above 7")])

    assert kafka.committed_offsets(group, topic) == {1: 7}
    assert kafka.committed(group, topic)[1].metadata == "what is done above 7"


@pytest.mark.parametrize(("size", "is_taken"), [(4_095, True), (4_096, False)])
def test_the_broker_takes_commit_metadata_of_one_less_than_its_limit(
    kafka: KafkaCluster, *, size: int, is_taken: bool
) -> None:
    topic, group = kafka.new_topic(), kafka.new_group()
    offsets = [TopicPartition(topic, 0, 0, "m" * size)]

    if is_taken:
        kafka.commit(group, offsets)
        assert kafka.committed(group, topic)[0].metadata == "m" * size
    else:
        with pytest.raises(KafkaException, match="OFFSET_METADATA_TOO_LARGE"):
            kafka.commit(group, offsets)


def test_deleted_records_leave_a_log_that_begins_above_zero(kafka: KafkaCluster) -> None:
    topic = kafka.new_topic()
    kafka.produce_numbered(topic, messages=10, keys=1)

    kafka.delete_records(topic, {0: 4})

    with Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": kafka.new_group()}) as consumer:
        assert consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=TIMEOUT_SECONDS) == (4, 10)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_node_comes_back_with_its_data_on_the_same_port(kafka: KafkaCluster, kafka_node: KafkaNode, end: str) -> None:
    topic, group = kafka.new_topic(partitions=2), kafka.new_group()
    kafka.produce_numbered(topic, messages=100, keys=10)
    kafka.commit(group, [TopicPartition(topic, 0, 3, "kept")])

    if end == "stop":
        kafka_node.stop()
    else:
        kafka_node.kill()
    assert not kafka_node.is_running
    kafka_node.start()

    assert kafka_node.bootstrap_servers == kafka.bootstrap_servers
    assert len(read_all(kafka, topic, 100)) == 100
    assert kafka.committed(group, topic)[0].metadata == "kept"


def test_a_frozen_node_answers_nobody_and_goes_on_when_thawed(kafka: KafkaCluster, kafka_node: KafkaNode) -> None:
    topic = kafka.new_topic()

    kafka_node.freeze()
    with (
        Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": kafka.new_group()}) as consumer,
        pytest.raises(KafkaException),
    ):
        consumer.list_topics(topic, timeout=1)
    kafka_node.thaw()
    kafka_node.wait_ready()

    assert kafka.produce_numbered(topic, messages=10, keys=1) == 10


def test_the_node_dies_with_an_owner_that_is_killed(kafka_node: KafkaNode) -> None:
    owner_of_a_node = (
        "import sys\n"
        "from tests.kafka_node import KafkaNode\n"
        "node = KafkaNode()\n"
        "node.start()\n"
        "print(node.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", owner_of_a_node], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        jvm = os.pidfd_open(int(owner.stdout.readline()))
        try:
            owner.send_signal(signal.SIGKILL)
            readable, _, _ = select.select([jvm], [], [], TIMEOUT_SECONDS)
            assert readable, "the JVM outlived its owner"
        finally:
            os.close(jvm)
