"""``group_protocol=auto``, and protocols by name, on brokers that have the consumer protocol, lack it, or refuse it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from pyrallel_consumer import BrokerError, KafkaConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.ingress.admin.scratch_topic import ScratchTopic
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.consuming import Book, committed, new_group, until

MESSAGES = 40
HEARTBEAT = "consumer_group_heartbeat"


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A broker to inject faults into, with messages in ``orders``."""
    with EmbeddedBroker({"orders": 4}) as broker:
        ScratchTopic(KafkaConfig(bootstrap_servers=broker.bootstrap_servers), "orders", 4).append(
            (b"key-%d" % (number % 8), b"") for number in range(MESSAGES)
        )
        yield broker


def consumer_of(
    broker: EmbeddedBroker, topic: str = "orders", book: Book | None = None, **values: Any
) -> PyrallelConsumer:
    async def worker(item: WorkItem) -> None:
        if book is not None:
            book.begin(item)
            book.end(item)

    config = KafkaConfig(bootstrap_servers=broker.bootstrap_servers, consumer_group=new_group(), **values)
    return PyrallelConsumer(config, worker, topic)


def protocol_of(consumer: PyrallelConsumer) -> object:
    return consumer.get_runtime_snapshot().settings["group_protocol"]


async def finishes_all(consumer: PyrallelConsumer, book: Book, protocol: str) -> None:
    """The consumer finishes every message once and in order, and then speaks that protocol."""
    async with consumer:
        await until(lambda: len(book.messages) == MESSAGES, lambda: len(book.messages))
    assert protocol_of(consumer) == protocol
    book.assert_each_ran_once_in_order(MESSAGES)


@pytest.mark.parametrize("topic", ["orders", "^ord.*"], ids=["name", "pattern"])
async def test_auto_is_consumer_where_the_broker_has_it(
    broker: EmbeddedBroker, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    book = Book()
    with caplog.at_level(logging.DEBUG):
        await finishes_all(consumer_of(broker, topic, book), book, "consumer")

    assert "the group protocol is consumer" in caplog.text
    assert "APIVERSION" not in caplog.text, "what the library listens to is not what the user asked to see"


@pytest.mark.parametrize("topic", ["orders", "^ord.*"], ids=["name", "pattern"])
@pytest.mark.parametrize("newest_version", [None, 0], ids=["Kafka 3.6", "Kafka 3.9, which has a preview"])
async def test_auto_is_classic_on_a_broker_that_is_too_old_and_one_line_says_why(
    broker: EmbeddedBroker, topic: str, newest_version: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    broker.withdraw(HEARTBEAT, newest_version=newest_version)
    book = Book()
    with caplog.at_level(logging.INFO):
        await finishes_all(consumer_of(broker, topic, book), book, "classic")

    [said] = [record.getMessage() for record in caplog.records if "the group protocol" in record.getMessage()]
    assert "classic: a broker does not have consumer" in said


@pytest.mark.parametrize(
    "code",
    [
        "UNSUPPORTED_VERSION",
        "GROUP_ID_NOT_FOUND",
        "UNSUPPORTED_ASSIGNOR",
        "UNRELEASED_INSTANCE_ID",
        "INVALID_REQUEST",
    ],
)
async def test_auto_is_classic_where_the_group_refuses_consumer_and_nobody_is_alarmed(
    broker: EmbeddedBroker, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker.fail_requests(HEARTBEAT, [code] * 20)
    book = Book()
    with caplog.at_level(logging.INFO):
        await finishes_all(consumer_of(broker, book=book), book, "classic")

    assert "the group protocol is classic: " in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("code", ["_TRANSPORT", "COORDINATOR_LOAD_IN_PROGRESS", "NOT_COORDINATOR"])
async def test_auto_stays_consumer_while_the_broker_only_cannot_answer_yet(broker: EmbeddedBroker, code: str) -> None:
    broker.fail_requests(HEARTBEAT, [code] * 3)
    book = Book()

    await finishes_all(consumer_of(broker, book=book), book, "consumer")


async def test_a_refusal_after_the_first_assignment_ends_the_consumer_with_its_code(broker: EmbeddedBroker) -> None:
    book = Book()
    consumer = consumer_of(broker, book=book)
    await consumer.start()
    await until(lambda: len(book.messages) == MESSAGES)

    broker.fail_requests(HEARTBEAT, ["GROUP_ID_NOT_FOUND"] * 20)

    with pytest.raises(BrokerError, match="start the consumer again") as raised:
        await consumer.wait_closed()
    assert raised.value.code == "GROUP_ID_NOT_FOUND"
    assert protocol_of(consumer) == "consumer"


@pytest.mark.parametrize(
    "values",
    [
        {"session_timeout_ms": 6000},
        {"librdkafka": {"session.timeout.ms": 6000}},
        {"librdkafka": {"heartbeat.interval.ms": 500}},
        {"librdkafka": {"partition.assignment.strategy": "range"}},
        {"librdkafka": {"group.protocol": "classic"}},
        {"group_protocol": "classic"},
    ],
    ids=lambda values: str(next(iter(values.items()))),
)
async def test_a_setting_of_the_classic_protocol_makes_it_classic(
    broker: EmbeddedBroker, values: dict[str, Any]
) -> None:
    book = Book()

    await finishes_all(consumer_of(broker, book=book, **values), book, "classic")


@pytest.mark.parametrize(
    "values", [{"group_protocol": "consumer"}, {"librdkafka": {"group.protocol": "consumer"}}], ids=["ours", "mapping"]
)
@pytest.mark.parametrize("newest_version", [None, 0], ids=["Kafka 3.6", "Kafka 3.9, which has a preview"])
async def test_consumer_by_name_does_not_start_on_a_broker_that_lacks_it(
    broker: EmbeddedBroker, values: dict[str, Any], newest_version: int | None
) -> None:
    broker.withdraw(HEARTBEAT, newest_version=newest_version)
    consumer = consumer_of(broker, **values)

    with pytest.raises(BrokerError, match="does not have the group protocol consumer") as raised:
        await consumer.start()
    assert raised.value.code == "UNSUPPORTED_VERSION"


async def test_consumer_by_name_that_the_group_refuses_ends_with_the_name_of_the_refusal(
    broker: EmbeddedBroker,
) -> None:
    broker.fail_requests(HEARTBEAT, ["UNSUPPORTED_VERSION"] * 20)
    consumer = consumer_of(broker, group_protocol="consumer")
    await consumer.start()

    with pytest.raises(BrokerError, match="group_protocol=consumer") as raised:
        await consumer.wait_closed()
    assert raised.value.code == "UNSUPPORTED_VERSION"


async def test_a_consumer_that_stops_while_the_group_refuses_it_stops_in_order(broker: EmbeddedBroker) -> None:
    broker.fail_requests(HEARTBEAT, ["UNSUPPORTED_VERSION"] * 20)
    consumer = consumer_of(broker)
    await consumer.start()
    await consumer.stop()

    assert consumer.get_runtime_snapshot().state == "closed"


# Commits of a member that the broker decides about


@pytest.mark.parametrize("code", ["STALE_MEMBER_EPOCH", "UNKNOWN_MEMBER_ID", "FENCED_MEMBER_EPOCH"])
async def test_a_commit_that_is_refused_for_its_members_epoch_ends_no_assignment_and_is_tried_again(
    broker: EmbeddedBroker, code: str
) -> None:
    broker.fail_requests("offset_commit", [0, code, code])  # the first tells where the group begins
    book, group = Book(), new_group()

    async def worker(item: WorkItem) -> None:
        book.begin(item)
        book.end(item)

    config = KafkaConfig(bootstrap_servers=broker.bootstrap_servers, consumer_group=group)
    async with PyrallelConsumer(config, worker, "orders") as consumer:
        await until(lambda: sum(committed(broker.bootstrap_servers, group, "orders", 4)) == MESSAGES)
        assert consumer.get_runtime_snapshot().commit_failures > 0
        assert consumer.get_runtime_snapshot().rebalances == 1
    book.assert_each_ran_once_in_order(MESSAGES)


@pytest.mark.parametrize("code", ["FENCED_MEMBER_EPOCH", "UNKNOWN_MEMBER_ID"])
async def test_a_member_that_the_group_has_put_out_loses_its_partitions_and_joins_again(
    broker: EmbeddedBroker, code: str
) -> None:
    book = Book()
    consumer = consumer_of(broker, book=book)
    async with consumer:
        await until(lambda: len(book.messages) == MESSAGES)
        broker.fail_requests(HEARTBEAT, [code])
        await until(lambda: consumer.get_runtime_snapshot().rebalances == 3)  # assigned, lost, assigned
        assert protocol_of(consumer) == "consumer"
