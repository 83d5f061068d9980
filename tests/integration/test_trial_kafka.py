"""TrialKafka: a topic with records in two lines, a unique group, and waiting until all is committed."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from pyrallel_consumer import ConfigurationError, DoNotRetry, ExecutionConfig, PyrallelConsumer, StateError, WorkItem
from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.errors import BrokerError, MessageExhaustedError
from pyrallel_consumer.ingress.admin.scratch_topic import ScratchTopic
from pyrallel_consumer.testing import TrialKafka

RECORDS = [(b"key-%d" % (number % 5), b"%d" % number) for number in range(40)]


async def test_what_a_consumer_has_done_is_no_lag_and_dead_letters_have_a_topic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    seen: list[bytes | None] = []

    async def worker(item: WorkItem) -> None:
        seen.append(item.payload)
        if item.payload == b"7":
            raise DoNotRetry

    with TrialKafka() as kafka:
        topic = kafka.topic("orders", RECORDS[:30], partitions=3, dead_letters=True)
        assert kafka.append(topic, RECORDS[30:]) == 10
        assert (kafka.size(topic), kafka.lag(topic)) == (40, 40)
        async with PyrallelConsumer(kafka.config, worker, topic=topic):
            await kafka.until_done(topic, timeout_seconds=120)
        assert kafka.size(topic + kafka.config.dlq_topic_suffix) == 1

    assert sorted(seen, key=lambda value: int(value or 0)) == [value for _, value in RECORDS]


async def test_waiting_for_what_nobody_does_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)

    with TrialKafka() as kafka:
        topic = kafka.topic("orders", RECORDS)
        with pytest.raises(TimeoutError, match="40 records"):
            await kafka.until_done(topic, timeout_seconds=0.1)


async def test_a_consumer_that_failed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)

    async def worker(item: WorkItem) -> None:
        raise DoNotRetry

    with TrialKafka() as kafka:
        topic = kafka.topic("orders", RECORDS)
        stop_at_once = ExecutionConfig(on_exhausted="stop")
        consumer = PyrallelConsumer(kafka.config, worker, topic=topic, execution_config=stop_at_once)
        await consumer.start()

        with pytest.raises(MessageExhaustedError):
            await kafka.until_done(topic, timeout_seconds=3600)
        with pytest.raises(MessageExhaustedError):
            await consumer.wait_closed()


def test_each_has_topics_and_groups_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)

    with TrialKafka() as one, TrialKafka() as other:
        assert one.config.consumer_group != other.config.consumer_group
        assert one.topic("orders") != other.topic("orders")


def test_the_kafka_of_the_environment_is_used_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")

    with TrialKafka() as kafka:
        assert kafka.config.bootstrap_servers == ["127.0.0.1:1"]
        assert kafka.config.consumer_group.startswith("trial-")


def test_the_broker_of_a_first_try_has_orders_and_ends_by_ctrl_c() -> None:
    command = [sys.executable, "-m", "pyrallel_consumer.testing", "orders", "--records", "25", "--partitions", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        said = [program.stdout.readline() for _ in range(3)]
        servers = said[1].strip().removeprefix("export KAFKA_BOOTSTRAP_SERVERS=")
        config = KafkaConfig(bootstrap_servers=servers)
        assert "25 orders" in said[0]
        for topic, size in (("orders", 25), ("orders.dlq", 0)):
            assert sum(each.end_offset for each in ScratchTopic(config, topic, 2).bounds().values()) == size
        program.send_signal(signal.SIGINT)
        assert program.wait(60) == 0


def test_one_that_is_not_open_says_how_to_open_it() -> None:
    with pytest.raises(StateError, match="with TrialKafka"):
        TrialKafka().topic("orders")


def test_records_have_headers_and_parts_that_are_none_and_are_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)

    with TrialKafka() as kafka:
        topic = kafka.topic(
            "orders", [(b"k", b"v"), (b"k", None), (None, b"w", [("a", b"1"), ("b", None)])], partitions=1
        )

        found = kafka.records(topic)
        assert [(each.key, each.value, each.headers) for each in found] == [
            (b"k", b"v", []),
            (b"k", None, []),
            (None, b"w", [("a", b"1"), ("b", None)]),
        ]
        assert {(each.topic, each.partition) for each in found} == {(topic, 0)}
        assert all(each.timestamp for each in found)
        assert kafka.records(kafka.topic("empty")) == []


@pytest.mark.parametrize("ask", [TrialKafka.records, TrialKafka.lag, TrialKafka.size])
def test_a_topic_that_it_did_not_make_is_named_beside_those_that_it_did(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[TrialKafka, str], object]
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    with TrialKafka() as kafka:
        topic = kafka.topic("orders")
        with pytest.raises(ConfigurationError, match=rf"'orders' was not made.*dead_letters=True.*{topic}"):
            ask(kafka, "orders")


async def test_the_port_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} cannot be listened on"):
            TrialKafka(port=port).__enter__()

    seen: list[bytes | None] = []

    async def worker(item: WorkItem) -> None:
        seen.append(item.value)

    with TrialKafka(port=port) as kafka:
        assert kafka.config.bootstrap_servers == [f"127.0.0.1:{port}"]
        topic = kafka.topic("orders", RECORDS)
        async with PyrallelConsumer(kafka.config, worker, topic=topic):
            await kafka.until_done(topic)
        assert len(seen) == len(RECORDS)
