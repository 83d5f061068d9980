"""A topic for one run: filled in order, observed from outside."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, TopicPartition

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.errors import BrokerUnreachableError
from pyrallel_consumer.ingress.admin.scratch_topic import LogBounds, ScratchTopic
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker


@pytest.fixture
def scratch(embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str]) -> ScratchTopic:
    name = new_topic(3)
    return ScratchTopic(
        KafkaConfig(bootstrap_servers=embedded_broker.bootstrap_servers, consumer_group=f"group-of-{name}"), name, 3
    )


def commit(scratch: ScratchTopic, broker: EmbeddedBroker, partition: int, offset: int) -> None:
    group = f"group-of-{scratch.name}"
    client = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": group, "enable.auto.commit": False})
    client.commit(offsets=[TopicPartition(scratch.name, partition, offset)], asynchronous=False)
    client.close()


def test_records_of_a_key_stand_in_one_partition_in_the_sequence_they_were_given(
    scratch: ScratchTopic, embedded_broker: EmbeddedBroker
) -> None:
    records = [(b"key-%d" % (number % 10), b"%d" % number) for number in range(3000)]
    assert scratch.append(records) == 3000

    client = Consumer({"bootstrap.servers": embedded_broker.bootstrap_servers, "group.id": "reader"})
    client.assign([TopicPartition(scratch.name, partition, 0) for partition in range(3)])
    read: dict[bytes | str | None, list[tuple[int | None, int]]] = {}
    for _ in records:
        message = client.poll(10.0)
        assert message is not None
        read.setdefault(message.key(), []).append((message.partition(), int(message.value() or b"")))
    client.close()

    assert len(read) == 10
    for found in read.values():
        assert len({partition for partition, _ in found}) == 1
        assert [number for _, number in found] == sorted(number for _, number in found)


def test_producing_ends_early_when_it_is_not_wanted_any_more(scratch: ScratchTopic) -> None:
    produced = scratch.append(((b"key", b"value") for _ in range(100_000)), is_wanted=lambda: False)

    assert 0 < produced < 100_000
    assert sum(at.end_offset for at in scratch.bounds().values()) == produced


def test_bounds_tell_the_log_and_what_the_group_has_committed(
    scratch: ScratchTopic, embedded_broker: EmbeddedBroker
) -> None:
    assert scratch.bounds() == {partition: LogBounds(0, 0, None) for partition in range(3)}
    scratch.append((b"%d" % number, b"value") for number in range(500))
    commit(scratch, embedded_broker, partition=1, offset=7)

    bounds = scratch.bounds()
    assert sum(at.end_offset for at in bounds.values()) == 500
    assert [bounds[partition].committed_offset for partition in range(3)] == [None, 7, None]
    assert [bounds[partition].lag for partition in range(3)] == [
        bounds[0].end_offset,
        bounds[1].end_offset - 7,
        bounds[2].end_offset,
    ]


def test_without_a_commit_the_lag_counts_from_where_the_log_begins() -> None:
    assert LogBounds(begin_offset=40, end_offset=100, committed_offset=None).lag == 60


def test_creating_a_topic_where_no_broker_is_names_the_address_and_the_reason() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        scratch = ScratchTopic(KafkaConfig(bootstrap_servers=address, consumer_group="group"), "topic", 1)
        with pytest.raises(BrokerUnreachableError, match="refused") as raised:
            scratch.create()

    assert address in str(raised.value)
