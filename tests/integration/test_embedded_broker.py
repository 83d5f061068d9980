"""The embedded broker, through real clients: what other tests and the demo build on."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from pyrallel_consumer.errors import BrokerError, ConfigurationError, StateError
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.conftest import Produce, producing_to

DEADLINE_SECONDS = 30.0


@contextmanager
def consumer_of(broker: EmbeddedBroker, group: str, **settings: Any) -> Iterator[Consumer]:
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **settings,
        }
    )
    try:
        yield consumer
    finally:
        consumer.close()


def until(condition: Callable[[], bool], *consumers: Consumer) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        for consumer in consumers:
            consumer.poll(0.01)


def read(consumer: Consumer, n: int) -> list[Message]:
    deadline = time.monotonic() + DEADLINE_SECONDS
    messages: list[Message] = []
    while len(messages) < n and time.monotonic() < deadline:
        messages += consumer.consume(n - len(messages), 0.05)
    assert [message.error() for message in messages] == [None] * n
    return messages


def is_listening(bootstrap_servers: str) -> bool:
    host, port = bootstrap_servers.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True


def test_what_is_produced_to_chosen_partitions_is_read_from_them_in_order(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce
) -> None:
    topic = new_topic(7)
    produce(topic, 700, lambda i: None if i == 0 else f"k{i}".encode(), lambda i: str(i).encode(), partitions=7)
    with consumer_of(embedded_broker, "order", **embedded_broker.client_settings) as consumer:
        consumer.subscribe([topic])
        messages = read(consumer, 700)
        positions = consumer.position([TopicPartition(topic, partition) for partition in range(7)])
    for partition in range(7):
        values = [int(m.value() or b"") for m in messages if m.partition() == partition]
        assert values == list(range(partition, 700, 7))
    assert {m.key() for m in messages} == {None} | {f"k{i}".encode() for i in range(1, 700)}
    assert [position.offset for position in positions] == [100] * 7


def test_two_hundred_thousand_small_messages_are_all_kept(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce
) -> None:
    topic = new_topic(8)
    produce(topic, 200_000, value_of=lambda i: b"%0100d" % i, partitions=8)
    with consumer_of(embedded_broker, "watermarks") as consumer:
        marks = [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=DEADLINE_SECONDS) for p in range(8)]
    assert marks == [(0, 25_000)] * 8


def test_commit_metadata_comes_back_as_it_was(embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str]) -> None:
    topic = new_topic(2)
    metadata = "x" * 4000
    with consumer_of(embedded_broker, "metadata") as consumer:
        consumer.commit(offsets=[TopicPartition(topic, 1, 5, metadata)], asynchronous=False)
    with consumer_of(embedded_broker, "metadata") as consumer:
        answers = consumer.committed([TopicPartition(topic, 0), TopicPartition(topic, 1)], timeout=DEADLINE_SECONDS)
    assert [(tp.offset, tp.metadata) for tp in answers] == [(-1001, None), (5, metadata)]


@pytest.mark.parametrize("protocol", ["range", "cooperative-sticky", "consumer"])
def test_members_of_a_group_share_the_partitions_and_hand_them_back(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], protocol: str
) -> None:
    topic = new_topic(6)
    settings = dict(embedded_broker.client_settings) | {"partition.assignment.strategy": protocol}
    if protocol == "consumer":
        settings = {"group.protocol": "consumer"}
    with consumer_of(embedded_broker, f"group-{protocol}", **settings) as first:
        first.subscribe([topic])
        until(lambda: len(first.assignment()) == 6, first)
        with consumer_of(embedded_broker, f"group-{protocol}", **settings) as second:
            second.subscribe([topic])
            until(lambda: len(first.assignment()) == 3 and len(second.assignment()) == 3, first, second)
            second.unsubscribe()
            until(lambda: len(first.assignment()) == 6, first, second)


def test_an_injected_commit_error_is_seen_by_the_client_once_and_can_be_cleared() -> None:
    with EmbeddedBroker({"orders": 2}) as broker, consumer_of(broker, "errors") as consumer:
        offsets = [TopicPartition("orders", 0, 3)]
        broker.fail_requests("offset_commit", ["ILLEGAL_GENERATION"])
        with pytest.raises(KafkaException) as refused:
            consumer.commit(offsets=offsets, asynchronous=False)
        assert refused.value.args[0].name() == "ILLEGAL_GENERATION"
        consumer.commit(offsets=offsets, asynchronous=False)
        broker.fail_requests(8, [22, 22])
        broker.clear_faults("offset_commit")
        consumer.commit(offsets=offsets, asynchronous=False)


def test_a_broker_that_was_down_serves_its_records_again() -> None:
    with EmbeddedBroker({"orders": 2}) as broker:
        producing_to(broker.bootstrap_servers)("orders", 10, partitions=2)
        broker.set_down()
        assert not is_listening(broker.bootstrap_servers)
        with consumer_of(broker, "down", **broker.client_settings) as consumer:
            consumer.subscribe(["orders"])
            assert consumer.poll(0.3) is None
            broker.set_up()
            assert len(read(consumer, 10)) == 10


def test_a_round_trip_time_delays_every_answer() -> None:
    with EmbeddedBroker({"orders": 1}) as broker, consumer_of(broker, "slow") as consumer:
        consumer.list_topics(timeout=DEADLINE_SECONDS)
        broker.set_round_trip_ms(300)
        asked = time.monotonic()
        consumer.list_topics(timeout=DEADLINE_SECONDS)
        assert time.monotonic() - asked >= 0.3


def test_deleting_records_moves_the_beginning_of_the_log() -> None:
    with EmbeddedBroker({"orders": 2}) as broker, consumer_of(broker, "retention") as consumer:
        for _ in range(10):  # one batch each
            producing_to(broker.bootstrap_servers)("orders", 10, partitions=1)
        broker.delete_records("orders", 0, 45)
        assert consumer.get_watermark_offsets(TopicPartition("orders", 0), timeout=DEADLINE_SECONDS) == (45, 100)
        consumer.assign([TopicPartition("orders", 0, 45)])
        assert [m.offset() for m in read(consumer, 55)] == list(range(45, 100))


def test_the_plain_form_carries_messages_and_says_what_it_cannot_do() -> None:
    with EmbeddedBroker({"orders": 4}, plain=True) as broker:
        assert broker.is_plain
        producing_to(broker.bootstrap_servers)("orders", 8, partitions=4)
        with consumer_of(broker, "plain") as consumer:
            consumer.assign([TopicPartition("orders", partition, 0) for partition in range(4)])
            assert len(read(consumer, 8)) == 8
        with pytest.raises(ConfigurationError, match=r"partitions must be 4, not 6: .* plain form"):
            broker.create_topic("others", 6)
        with pytest.raises(StateError, match=r"set_down is not possible: .* plain form"):
            broker.set_down()


def test_several_brokers_at_once_know_nothing_of_each_other() -> None:
    with EmbeddedBroker({"orders": 1}) as first, EmbeddedBroker({"orders": 3}) as second:
        assert not first.is_plain
        for broker, partitions in ((first, 1), (second, 3)):
            with consumer_of(broker, "several") as consumer:
                assert len(consumer.list_topics(timeout=DEADLINE_SECONDS).topics["orders"].partitions) == partitions


async def test_entering_and_leaving_asynchronously_does_not_block_the_loop() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    async with EmbeddedBroker() as broker:
        turns_while_starting = turns
        address = broker.bootstrap_servers
        assert is_listening(address)
    counting.cancel()
    assert turns_while_starting > 10
    assert not is_listening(address)


async def test_a_start_that_is_cancelled_leaves_no_process_behind() -> None:
    before = {child.pid for child in psutil.Process().children()}
    broker = EmbeddedBroker()
    entering = asyncio.create_task(broker.__aenter__())
    await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert {child.pid for child in psutil.Process().children()} == before
    with pytest.raises(StateError):
        broker.start()


def test_twenty_starts_and_stops_leave_no_process_and_no_file_descriptor() -> None:
    with EmbeddedBroker():
        pass  # files that are opened once, and stay open
    process = psutil.Process()
    descriptors, children = process.num_fds(), len(process.children())
    for _ in range(20):
        with EmbeddedBroker({"orders": 2}):
            pass
    assert process.num_fds() <= descriptors
    assert len(process.children()) == children


OWNER = """
import multiprocessing, sys, time
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker

broker = EmbeddedBroker()
broker.start()
if sys.argv[1] == "forks":
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(20,)).start()
print(broker.bootstrap_servers, broker.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="where Linux's pidfd is missing, a fork keeps the broker up")
@pytest.mark.parametrize("owner_kind", ["plain", "forks"])
def test_the_broker_ends_when_its_owner_is_killed(owner_kind: str) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, owner_kind], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        address, pid = owner.stdout.readline().decode().split()
        assert is_listening(address)
        forked = [child for child in psutil.Process(owner.pid).children() if child.pid != int(pid)]
        owner.kill()
        owner.wait()
        try:
            until(lambda: not is_listening(address))
            assert [child.is_running() for child in forked] == [True] * (owner_kind == "forks")
        finally:
            for child in forked:
                child.kill()


def test_a_broker_that_died_is_an_error_that_tells_so() -> None:
    broker = EmbeddedBroker()
    broker.start()
    os.kill(broker.pid, signal.SIGABRT)
    with pytest.raises(BrokerError, match=r"the embedded broker died .*exit status -6.*it wrote: "):
        broker.create_topic("orders", 2)
    with pytest.raises(BrokerError, match="died"):
        broker.create_topic("orders", 2)
    broker.stop()


def test_a_process_that_does_not_come_up_is_an_error_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setenv("PYTHONHOME", os.devnull)
    with pytest.raises(BrokerError, match=r"died during start .*it wrote: .*[Pp]ython"):
        EmbeddedBroker().start()


def test_use_outside_of_start_and_stop_is_refused() -> None:
    broker = EmbeddedBroker()
    with pytest.raises(StateError, match="never started"):
        broker.stop()
    with pytest.raises(StateError, match="not started yet"):
        broker.create_topic("orders", 2)
    with broker:
        with pytest.raises(StateError, match="started before"):
            broker.start()
        broker.stop()
    with pytest.raises(StateError, match="was stopped"):
        _ = broker.bootstrap_servers
    with pytest.raises(StateError, match="make a new one"):
        broker.start()


def test_arguments_that_do_not_fit_are_refused_by_name(embedded_broker: EmbeddedBroker) -> None:
    with pytest.raises(ConfigurationError, match="'no topic' is no name"):
        EmbeddedBroker({"no topic": 1})
    with pytest.raises(ConfigurationError, match="partitions must be 1 or more, not 0"):
        embedded_broker.create_topic("none", 0)
    with pytest.raises(ConfigurationError, match=r"'commit' is none of the requests .* offset_commit"):
        embedded_broker.fail_requests("commit", [])
    with pytest.raises(ConfigurationError, match="'BAD' is no error"):
        embedded_broker.fail_requests("offset_commit", ["BAD"])
    with pytest.raises(ConfigurationError, match="round_trip_ms must be 0 or more"):
        embedded_broker.set_round_trip_ms(-1)


def test_a_topic_that_exists_cannot_be_created_again(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str]
) -> None:
    with pytest.raises(BrokerError, match="already exists") as refused:
        embedded_broker.create_topic(new_topic(1), 2)
    assert refused.value.code == "TOPIC_ALREADY_EXISTS"


def test_a_topic_appears_with_four_partitions_when_somebody_produces_to_it(embedded_broker: EmbeddedBroker) -> None:
    producer = Producer({"bootstrap.servers": embedded_broker.bootstrap_servers})
    producer.produce("appearing.dlq", b"letter")
    assert producer.flush(DEADLINE_SECONDS) == 0
    assert len(producer.list_topics("appearing.dlq", timeout=DEADLINE_SECONDS).topics["appearing.dlq"].partitions) == 4
