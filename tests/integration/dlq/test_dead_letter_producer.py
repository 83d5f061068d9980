"""The thread that produces dead letters: one answer for each letter, and an end that blocks nobody."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Producer

from pyrallel_consumer import ConfigurationError, EmbeddedBroker, KafkaConfig, StateError, WorkItem
from pyrallel_consumer.control_plane.events import LetterAnswer, LetterProducerFailed, LettersAnswered
from pyrallel_consumer.control_plane.failures.letter import Letter, LetterForm
from pyrallel_consumer.ingress.client.client_settings import producer_configuration
from pyrallel_consumer.ingress.producing.dead_letter import DeadLetterProducer
from pyrallel_consumer.testing import PlainMessage
from tests.letter_box import read_letters
from tests.metadata_proxy import MetadataProxy

PATIENCE_SECONDS = 90.0


class Epoch:
    epoch = 1
    is_ordered = False


class Unreadable(PlainMessage):
    """A message that cannot be read."""

    def value(self) -> bytes | None:
        raise RuntimeError("the client says no")


class LoopSide:
    """Takes facts; ``deliver`` raises where the loop is closed."""

    def __init__(self) -> None:
        self.answers: list[LetterAnswer] = []
        self.failures: list[LetterProducerFailed] = []
        self.error: Exception | None = None

    def deliver(self, fact: object) -> None:
        if self.error is not None:
            raise self.error
        match fact:
            case LettersAnswered(answers):
                self.answers += answers
            case LetterProducerFailed():
                self.failures.append(fact)

    def codes(self) -> list[str | None]:
        return [answer.code for answer in self.answers]


def letters(count: int, topic: str, value: bytes = b"value") -> list[Letter]:
    return [letter(PlainMessage("orders", 0, offset, b"key", value), topic) for offset in range(count)]


def letter(message: PlainMessage, topic: str) -> Letter:
    item = WorkItem(message, message.offset(), Epoch())
    return Letter(item, topic, "ValueError: invalid data", 3, LetterForm.FULL)


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        pause.wait(0.005)


@pytest.fixture
def side() -> LoopSide:
    return LoopSide()


@pytest.fixture
def start(embedded_broker: EmbeddedBroker, side: LoopSide) -> Iterator[Callable[..., DeadLetterProducer]]:
    """Starts a producer; its thread has ended after the test, whatever happens."""
    started: list[DeadLetterProducer] = []

    def start(bootstrap_servers: str = embedded_broker.bootstrap_servers, **librdkafka: Any) -> DeadLetterProducer:
        config = KafkaConfig(bootstrap_servers=bootstrap_servers, librdkafka=librdkafka)
        producer = DeadLetterProducer(producer_configuration(config), side.deliver)
        producer.start().result(PATIENCE_SECONDS)
        started.append(producer)
        return producer

    yield start
    for producer in started:
        producer.abandon()
        producer.ended.result(PATIENCE_SECONDS)


Start = Callable[..., DeadLetterProducer]


def test_every_letter_is_answered_once(start: Start, side: LoopSide, new_topic: Callable[[int], str]) -> None:
    topic = new_topic(2)
    given = letters(500, topic)
    producer = start()
    for at in range(0, 500, 50):
        producer.produce(given[at : at + 50])

    until(lambda: len(side.answers) >= 500)
    assert sorted(answer.letter.item.offset for answer in side.answers) == list(range(500))
    assert set(side.codes()) == {None}


def test_more_letters_than_the_clients_queue_takes_go_out_one_after_the_other(
    start: Start, side: LoopSide, embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str]
) -> None:
    topic = new_topic(1)
    start(**{"queue.buffering.max.messages": 10}).produce(letters(200, topic))

    until(lambda: len(side.answers) == 200)
    assert len(read_letters(embedded_broker.bootstrap_servers, topic)) == 200


def test_a_message_that_cannot_be_read_keeps_the_others_from_nothing(
    start: Start, side: LoopSide, new_topic: Callable[[int], str]
) -> None:
    topic = new_topic(1)
    start().produce([letter(Unreadable("orders", 0, 99), topic), *letters(3, topic)])

    until(lambda: len(side.answers) == 4)
    assert sorted(side.codes(), key=str) == [None, None, None, "UNREADABLE"]


def test_a_letter_larger_than_the_client_takes_is_answered_as_too_large(
    start: Start, side: LoopSide, new_topic: Callable[[int], str]
) -> None:
    start(**{"message.max.bytes": 1000}).produce(letters(1, new_topic(1), b"x" * 2000))

    until(lambda: side.answers)
    assert side.codes() == ["MSG_SIZE_TOO_LARGE"]


def test_a_client_that_had_a_fatal_error_is_made_anew_and_its_letters_are_answered() -> None:
    side = LoopSide()
    with EmbeddedBroker({"orders.dlq": 1}) as broker:
        producer = DeadLetterProducer(
            producer_configuration(KafkaConfig(bootstrap_servers=broker.bootstrap_servers)), side.deliver
        )
        producer.start().result(PATIENCE_SECONDS)
        producer.produce(letters(1, "orders.dlq"))
        until(lambda: side.codes() == [None])
        broker.fail_requests("produce", ["OUT_OF_ORDER_SEQUENCE_NUMBER"])
        producer.produce(letters(5, "orders.dlq"))
        until(lambda: len(side.answers) == 6)
        producer.produce(letters(5, "orders.dlq"))
        until(lambda: len(side.answers) == 11)
        metrics = producer.get_metrics()
        producer.abandon()
        producer.ended.result(PATIENCE_SECONDS)

    assert None not in side.codes()[1:6]
    assert side.codes()[6:] == [None] * 5
    assert metrics["clients_made"] == 2


def test_a_broker_that_cannot_be_reached_is_counted_and_keeps_nobody_from_ending(side: LoopSide) -> None:
    config = KafkaConfig(bootstrap_servers="127.0.0.1:1", librdkafka={"message.timeout.ms": 500})
    producer = DeadLetterProducer(producer_configuration(config), side.deliver)
    producer.start().result(PATIENCE_SECONDS)
    producer.produce(letters(3, "orders.dlq"))
    until(lambda: len(side.answers) == 3)
    producer.produce(letters(3, "orders.dlq"))
    producer.abandon()
    producer.ended.result(PATIENCE_SECONDS)

    assert side.codes() == ["_MSG_TIMED_OUT"] * 3
    assert producer.get_metrics()["client_errors"]["_TRANSPORT"] >= 1
    until(lambda: not producer.is_alive)


def test_a_setting_that_the_client_refuses_is_named_by_start(side: LoopSide) -> None:
    configuration = producer_configuration(KafkaConfig()) | {"no.such.setting": 1}
    producer = DeadLetterProducer(configuration, side.deliver)

    with pytest.raises(ConfigurationError, match=r"no\.such\.setting"):
        producer.start().result(PATIENCE_SECONDS)
    producer.ended.result(PATIENCE_SECONDS)


def test_it_is_started_once(start: Start) -> None:
    producer = start()

    with pytest.raises(StateError):
        producer.start()


def test_it_ends_by_itself_where_its_loop_is_closed(
    start: Start, side: LoopSide, new_topic: Callable[[int], str]
) -> None:
    producer = start()
    side.error = RuntimeError("Event loop is closed")
    producer.produce(letters(1, new_topic(1)))

    producer.ended.result(PATIENCE_SECONDS)
    assert side.failures == []


def test_a_thread_that_cannot_go_on_says_so(start: Start, side: LoopSide) -> None:
    producer = start()
    no_letters: Any = 5
    producer.produce(no_letters)

    producer.ended.result(PATIENCE_SECONDS)
    assert [type(failure.error) for failure in side.failures] == [TypeError]


@pytest.fixture
def no_garbage_is_collected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def clients() -> int:
    return sum(isinstance(thing, Producer) for thing in gc.get_objects())


@pytest.mark.usefixtures("no_garbage_is_collected")
@pytest.mark.parametrize("end", ["abandoned", "broken"])
def test_its_client_with_all_its_threads_and_connections_has_gone_when_it_has_ended(
    start: Start, side: LoopSide, new_topic: Callable[[int], str], end: str
) -> None:
    before = clients()
    producer = start()
    producer.produce(letters(3, new_topic(1)))
    until(lambda: len(side.answers) == 3)
    assert clients() == before + 1

    if end == "abandoned":
        producer.abandon()
    else:
        no_letters: Any = 5
        producer.produce(no_letters)
    producer.ended.result(PATIENCE_SECONDS)
    assert clients() == before


def test_a_client_that_has_lost_its_brokers_is_made_anew(
    embedded_broker: EmbeddedBroker, start: Start, side: LoopSide, new_topic: Callable[[int], str]
) -> None:
    topic = new_topic(2)
    with MetadataProxy(embedded_broker.bootstrap_servers) as proxy:
        producer = start(
            proxy.bootstrap_servers, **{"topic.metadata.refresh.interval.ms": 300, "message.timeout.ms": 0}
        )
        producer.produce(letters(3, topic))
        until(lambda: side.codes() == [None] * 3)
        proxy.hide_brokers()
        until(lambda: producer.get_metrics()["clients_made"] == 2)
        proxy.show_brokers()
        producer.produce(letters(3, topic))

        until(lambda: side.codes() == [None] * 6)
