"""Dead letters end to end: their content, and that an offset is done only after the broker's acknowledgement."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Producer

from pyrallel_consumer import (
    DoNotRetry,
    EmbeddedBroker,
    ExecutionConfig,
    PyrallelConsumer,
    RuntimeSnapshot,
    WorkItem,
)
from tests.integration.conftest import producing_to
from tests.integration.consuming import committed, execution, kafka, new_group, until
from tests.letter_box import FoundLetter, read_letters

QUICK = execution(max_retries=2, retry_backoff_ms=5)
# The client itself tries for 30 s before it reports: here an outage is to be noticed sooner.
IMPATIENT = {"message.timeout.ms": 1000, "reconnect.backoff.max.ms": 100}
TEN_PERCENT = 10


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A broker of the test's own, to inject faults into."""
    with EmbeddedBroker({"orders": 2, "orders.dlq": 2}) as broker:
        yield broker


async def failing_tenth(item: WorkItem) -> None:
    """Every tenth message of a partition fails in each attempt."""
    if item.offset % TEN_PERCENT == 0:
        raise ValueError("invalid data")


def consumer_of(
    broker: EmbeddedBroker,
    worker: Callable[[WorkItem], Any],
    group: str,
    *,
    execution_config: ExecutionConfig = QUICK,
    **more: Any,
) -> PyrallelConsumer:
    config = kafka(broker.bootstrap_servers, group, **{"librdkafka": IMPATIENT, **more})
    return PyrallelConsumer(config, worker, "orders", execution_config=execution_config)


def fill(broker: EmbeddedBroker, messages: int = 200) -> None:
    """Produce messages, in two partitions, each with its own key."""
    producing_to(broker.bootstrap_servers)("orders", messages, key_of=lambda i: b"key-%d" % i, partitions=2)


def letters_in(broker: EmbeddedBroker) -> list[FoundLetter]:
    return read_letters(broker.bootstrap_servers, "orders.dlq")


def sources(letters: list[FoundLetter]) -> list[tuple[str, int, int]]:
    return sorted(letter.source for letter in letters)


def failing(messages: int = 200) -> list[tuple[str, int, int]]:
    """The messages that ``failing_tenth`` fails."""
    return [("orders", partition, offset) for partition in (0, 1) for offset in range(0, messages // 2, TEN_PERCENT)]


def committed_all(consumer: PyrallelConsumer, messages: int) -> bool:
    return sum(each.committed_offset for each in consumer.get_runtime_snapshot().partitions) == messages


async def until_committed(consumer: PyrallelConsumer, messages: int = 200) -> None:
    await until(lambda: committed_all(consumer, messages), consumer.get_runtime_snapshot)


def told(caplog: pytest.LogCaptureFixture, level: int = logging.ERROR) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "pyrallel_consumer.dead_letters" and record.levelno == level
    ]


async def test_a_letter_is_the_message_and_says_why_and_completes_its_offset(
    broker: EmbeddedBroker,
) -> None:
    began_ms = int(time.time() * 1000)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    producer.produce(
        "orders", b"value", b"key", 1, timestamp=1_600_000_000_123, headers=[("trace", b"7"), ("none", None)]
    )
    producer.produce("orders", None, b"deleted", 1)
    producer.produce("orders", b"keyless", None, 1)
    assert producer.flush(10) == 0
    group = new_group()

    async def worker(item: WorkItem) -> None:
        raise ValueError("invalid data")

    async with consumer_of(broker, worker, group) as consumer:
        await until_committed(consumer, 3)
        snapshot = consumer.get_runtime_snapshot()
        assert (snapshot.dead_letters.sent, snapshot.dead_letters.waiting, snapshot.held) == (3, 0, 0)
        epoch = next(each.epoch for each in snapshot.partitions if each.tp.partition == 1)

    first, deleted, keyless = sorted(letters_in(broker), key=lambda letter: letter.source)
    assert (first.key, first.value) == (b"key", b"value")
    assert first.timestamp >= began_ms
    assert first.headers[:-2] == [
        ("trace", b"7"),
        ("none", None),
        ("x-error-reason", b"ValueError: invalid data"),
        ("x-retry-attempt", b"2"),
        ("source-topic", b"orders"),
        ("partition", b"1"),
        ("offset", b"0"),
        ("epoch", b"%d" % epoch),
        ("x-original-timestamp", b"1600000000123"),
        ("x-consumer-group", group.encode()),
    ]
    assert began_ms <= int(first.ours["x-failed-at"]) <= first.timestamp
    assert first.ours["x-error-traceback"].startswith("ValueError\n")
    assert first.ours["x-error-traceback"].endswith(".worker")
    assert (deleted.key, deleted.value) == (b"deleted", None)
    assert (keyless.key, keyless.value) == (None, b"keyless")
    assert committed(broker.bootstrap_servers, group, "orders", 2) == [0, 3]


async def test_metadata_only_sends_neither_key_nor_value(broker: EmbeddedBroker) -> None:
    fill(broker, 2)

    async def worker(item: WorkItem) -> None:
        raise DoNotRetry("not ours")

    async with consumer_of(broker, worker, new_group(), dlq_payload_mode="metadata_only") as consumer:
        await until_committed(consumer, 2)

    letters = letters_in(broker)
    assert {(letter.key, letter.value) for letter in letters} == {(None, None)}
    assert {letter.ours["x-error-reason"] for letter in letters} == {"DoNotRetry: not ours"}
    assert {letter.ours["x-retry-attempt"] for letter in letters} == {"1"}
    assert "x-payload-omitted" not in letters[0].ours


async def test_every_exhausted_message_has_one_letter_and_every_other_has_none(broker: EmbeddedBroker) -> None:
    fill(broker, 2000)

    async with consumer_of(broker, failing_tenth, new_group(), execution_config=execution(max_retries=1)) as consumer:
        await until_committed(consumer, 2000)

    assert sources(letters_in(broker)) == failing(2000)


@pytest.mark.parametrize(
    "code", ["TOPIC_AUTHORIZATION_FAILED", "POLICY_VIOLATION", "OUT_OF_ORDER_SEQUENCE_NUMBER", "INVALID_PRODUCER_EPOCH"]
)
async def test_what_is_refused_keeps_its_offset_and_is_sent_again_until_it_arrives(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    fill(broker)
    broker.fail_requests("produce", [code] * 3)
    group = new_group()

    async with consumer_of(broker, failing_tenth, group) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().dead_letters.failures)
        await until_committed(consumer)
        snapshot = consumer.get_runtime_snapshot()

    assert set(failing()) == set(sources(letters_in(broker)))
    assert committed(broker.bootstrap_servers, group, "orders", 2) == [100, 100]
    assert (snapshot.dead_letters.sent, snapshot.dead_letters.is_failing) == (20, False)
    assert told(caplog)
    assert len(told(caplog)) <= 2


async def test_while_nothing_can_be_produced_all_else_goes_on_and_afterwards_every_letter_arrives(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pyrallel_consumer.dead_letters")
    fill(broker)
    broker.fail_requests("produce", ["TOPIC_AUTHORIZATION_FAILED"] * 1000)
    group = new_group()

    def is_stuck(snapshot: RuntimeSnapshot) -> bool:
        return snapshot.processed == 180 and snapshot.held == 20

    async with consumer_of(broker, failing_tenth, group) as consumer:
        await until(lambda: is_stuck(consumer.get_runtime_snapshot()), consumer.get_runtime_snapshot)
        await until(lambda: consumer.get_runtime_snapshot().dead_letters.is_failing)
        failures = consumer.get_runtime_snapshot().dead_letters.failures
        assert failures["TOPIC_AUTHORIZATION_FAILED"] >= 1
        assert committed(broker.bootstrap_servers, group, "orders", 2) == [0, 0]
        broker.clear_faults("produce")
        await until_committed(consumer)

    assert set(sources(letters_in(broker))) == set(failing())
    [error] = told(caplog)
    assert "orders.dlq" in error
    assert "grant this user" in error
    assert [line for line in told(caplog, logging.INFO) if "again" in line]


async def test_a_broker_that_was_away_gets_every_letter_when_it_is_back(broker: EmbeddedBroker) -> None:
    fill(broker)
    is_down = asyncio.Event()
    group = new_group()

    async def worker(item: WorkItem) -> None:
        await is_down.wait()
        await failing_tenth(item)

    async with consumer_of(broker, worker, group) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().in_flight >= 100)
        broker.set_down()
        is_down.set()
        await until(lambda: "_MSG_TIMED_OUT" in consumer.get_runtime_snapshot().dead_letters.failures)
        assert consumer.get_runtime_snapshot().dead_letters.sent == 0
        broker.set_up()
        await until_committed(consumer)

    assert set(sources(letters_in(broker))) == set(failing())


async def test_letters_in_a_batch_that_is_too_large_go_one_by_one_and_whole(broker: EmbeddedBroker) -> None:
    fill(broker)
    broker.fail_requests("produce", ["MSG_SIZE_TOO_LARGE"])

    async with consumer_of(broker, failing_tenth, new_group()) as consumer:
        await until_committed(consumer)

    letters = letters_in(broker)
    assert sources(letters) == failing()
    assert not [letter for letter in letters if letter.value is None]


async def test_a_letter_that_is_too_large_for_the_broker_says_so_and_carries_no_payload(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    producing_to(broker.bootstrap_servers)("orders", 1, value_of=lambda i: b"x" * 5000, key_of=lambda i: b"key")
    broker.fail_requests("produce", ["MSG_SIZE_TOO_LARGE", "MSG_SIZE_TOO_LARGE"])

    async with consumer_of(broker, failing_tenth, new_group()) as consumer:
        await until_committed(consumer, 1)

    [letter] = letters_in(broker)
    assert (letter.key, letter.value) == (None, None)
    assert letter.ours["x-payload-omitted"] == "message too large: 5003 bytes"
    assert letter.ours["x-error-reason"] == "ValueError: invalid data"
    assert len(told(caplog, logging.WARNING)) == 1


async def test_a_letter_that_is_too_large_for_the_client_says_so_too(broker: EmbeddedBroker) -> None:
    producing_to(broker.bootstrap_servers)("orders", 1, value_of=lambda i: b"x" * 5000)

    async with consumer_of(
        broker, failing_tenth, new_group(), librdkafka={**IMPATIENT, "message.max.bytes": 4000}
    ) as consumer:
        await until_committed(consumer, 1)

    [letter] = letters_in(broker)
    assert letter.value is None
    assert letter.ours["x-payload-omitted"].startswith("message too large: 50")


async def test_a_stop_waits_for_the_letters_under_way(broker: EmbeddedBroker) -> None:
    fill(broker)
    group = new_group()
    is_slow = asyncio.Event()

    async def worker(item: WorkItem) -> None:
        await is_slow.wait()
        await failing_tenth(item)

    async with consumer_of(broker, worker, group, execution_config=execution(max_retries=1)) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().in_flight == 200)
        broker.set_round_trip_ms(400)
        is_slow.set()
        await until(lambda: consumer.get_runtime_snapshot().dead_letters.waiting)
        await consumer.stop()
        broker.set_round_trip_ms(0)

    assert consumer.get_runtime_snapshot().dead_letters.sent == 20
    assert sources(letters_in(broker)) == failing()
    assert committed(broker.bootstrap_servers, group, "orders", 2) == [100, 100]


async def test_a_stop_gives_unsent_letters_up_in_time_and_the_next_consumer_sends_them(broker: EmbeddedBroker) -> None:
    fill(broker)
    broker.fail_requests("produce", ["TOPIC_AUTHORIZATION_FAILED"] * 1000)
    group = new_group()
    soon = execution(max_retries=1, shutdown_drain_timeout_ms=300)
    async with consumer_of(broker, failing_tenth, group, execution_config=soon) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().held == 20)
        await consumer.stop()
    assert committed(broker.bootstrap_servers, group, "orders", 2) == [0, 0]
    assert letters_in(broker) == []

    broker.clear_faults("produce")
    ran: list[tuple[str, int, int]] = []

    async def worker(item: WorkItem) -> None:
        ran.append((item.topic, item.partition, item.offset))
        await failing_tenth(item)

    async with consumer_of(broker, worker, group, execution_config=soon) as consumer:
        await until_committed(consumer)
    assert sorted(ran) == failing()
    assert sources(letters_in(broker)) == failing()


async def test_a_setting_that_the_producer_refuses_is_named_before_anything_is_consumed(broker: EmbeddedBroker) -> None:
    consumer = consumer_of(broker, failing_tenth, new_group(), librdkafka={"compression.type": "zipped"})

    with pytest.raises(ValueError, match="zipped"):
        await consumer.start()
