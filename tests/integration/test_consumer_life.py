"""A consumer's life on the embedded broker: starting, stopping, failing to, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from pyrallel_consumer import (
    AuthenticationError,
    BrokerError,
    BrokerUnreachableError,
    CompletionChannel,
    ConfigurationError,
    EmbeddedBroker,
    InvariantViolation,
    PyrallelConsumer,
    StateError,
    UnknownTopicError,
    WorkItem,
)
from tests.integration.conftest import Produce, producing_to
from tests.integration.consuming import PATIENCE_SECONDS, Book, committed, execution, kafka, new_group, until
from tests.third_party_engine import ThirdPartyEngine

NewTopic = Callable[[int], str]


async def ignore(item: WorkItem) -> None:
    """A worker that is done at once."""


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Whatever a test does to a consumer, its threads end by themselves."""
    yield
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while left := [thread.name for thread in threading.enumerate() if thread.name.startswith("pyrallel-")]:
        assert time.monotonic() < deadline, f"left: {left}"
        pause.wait(0.02)


@pytest.fixture
def nowhere() -> str:
    """The address of a broker that is gone."""
    with EmbeddedBroker() as broker:
        return broker.bootstrap_servers


@pytest.mark.parametrize("is_pattern", [False, True])
async def test_all_messages_of_all_topics_are_processed_in_order_and_committed(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, is_pattern: bool
) -> None:
    topics, group, book = [new_topic(3), new_topic(2)], new_group(), Book()
    for topic in topics:
        produce(topic, 300)

    async def worker(item: WorkItem) -> None:
        book.begin(item)
        await asyncio.sleep(0.001)
        book.end(item)

    asked: str | list[str] = f"^({'|'.join(topics)})" if is_pattern else topics
    config = kafka(embedded_broker.bootstrap_servers, group)
    async with PyrallelConsumer(config=config, worker=worker, topic=asked) as consumer:
        await until(lambda: len(book.messages) == 600, lambda: len(book.messages))
        assert consumer.get_runtime_snapshot().state == "running"

    book.assert_each_ran_once_in_order(600)
    assert consumer.get_runtime_snapshot().state == "closed"
    for topic, partitions in zip(topics, (3, 2), strict=True):
        assert sum(committed(embedded_broker.bootstrap_servers, group, topic, partitions)) == 300


async def test_a_consumer_starts_once(embedded_broker: EmbeddedBroker, new_topic: NewTopic) -> None:
    consumer = PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, new_group()), ignore, new_topic(1))
    await consumer.start()
    with pytest.raises(StateError, match="started already"):
        await consumer.start()
    await consumer.stop()
    with pytest.raises(StateError, match="build a new PyrallelConsumer"):
        await consumer.start()


async def test_stopping_again_and_from_several_tasks_waits_for_the_one_stop(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic
) -> None:
    consumer = PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, new_group()), ignore, new_topic(1))
    await consumer.start()
    waiter = asyncio.create_task(consumer.wait_closed())

    await asyncio.gather(consumer.stop(), consumer.stop())
    await waiter
    await consumer.stop()
    await consumer.abort()

    assert consumer.get_runtime_snapshot().state == "closed"


async def test_stopping_drains_what_runs_starts_nothing_more_and_commits_exactly_what_is_finished(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group, book, go_on = new_topic(1), new_group(), Book(), asyncio.Event()
    produce(topic, 50, key_of=lambda i: b"key-%d" % i)

    async def worker(item: WorkItem) -> None:
        book.begin(item)
        await go_on.wait()
        book.end(item)

    consumer = PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group), worker, topic, execution_config=execution(max_in_flight=7)
    )
    await consumer.start()
    await until(lambda: book.running == 7)
    stopping = asyncio.create_task(consumer.stop())
    await until(lambda: consumer.get_runtime_snapshot().state == "stopping")
    go_on.set()
    await stopping

    assert len(book.started) == len(book.ended) == 7
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [7]


async def test_what_does_not_end_within_the_drain_is_cancelled_and_runs_again_next_time(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group = new_topic(1), new_group()
    produce(topic, 3, key_of=lambda i: b"key-%d" % i)
    hangs, cancelled, seen = {0}, [], []

    async def worker(item: WorkItem) -> None:
        seen.append((item.offset, item.attempt))
        if item.offset in hangs:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(item.offset)
                raise

    config = kafka(embedded_broker.bootstrap_servers, group)
    async with PyrallelConsumer(
        config, worker, topic, execution_config=execution(shutdown_drain_timeout_ms=50)
    ) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed == 2)
    assert cancelled == [0]
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [0]

    hangs.clear()
    seen.clear()
    async with PyrallelConsumer(config, worker, topic) as consumer:
        await until(lambda: seen)
        await until(lambda: consumer.get_runtime_snapshot().processed == 1)
    assert seen == [(0, 1)]
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [3]


async def test_aborting_waits_for_nothing_and_charges_no_attempt(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group, book = new_topic(1), new_group(), Book()
    produce(topic, 5, key_of=lambda i: b"key-%d" % i)

    async def worker(item: WorkItem) -> None:
        book.begin(item)
        if item.offset:
            await asyncio.Event().wait()
        book.end(item)

    consumer = PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group),
        worker,
        topic,
        execution_config=execution(shutdown_drain_timeout_ms=3_600_000),
    )
    await consumer.start()
    await until(lambda: book.running == 4)
    await consumer.abort()

    assert consumer.get_runtime_snapshot().failed == 0
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [1]


async def test_a_stop_whose_caller_gives_up_goes_on_without_it(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group, go_on = new_topic(1), new_group(), asyncio.Event()
    produce(topic, 1)

    async def worker(item: WorkItem) -> None:
        await go_on.wait()

    consumer = PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, group), worker, topic)
    await consumer.start()
    await until(lambda: consumer.get_runtime_snapshot().in_flight == 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(consumer.stop(), 0.05)
    go_on.set()
    await consumer.wait_closed()

    assert committed(embedded_broker.bootstrap_servers, group, topic) == [1]


async def test_a_worker_that_will_not_end_is_left_behind_and_seen_as_stuck(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group, is_over = new_topic(1), new_group(), asyncio.Event()
    produce(topic, 2, key_of=lambda i: b"key-%d" % i)

    async def stubborn_worker(item: WorkItem) -> None:
        while item.offset == 1 and not is_over.is_set():
            with suppress(asyncio.CancelledError):
                await is_over.wait()

    consumer = PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group),
        stubborn_worker,
        topic,
        execution_config=execution(task_timeout_ms=50, shutdown_drain_timeout_ms=50),
    )
    await consumer.start()
    await until(lambda: consumer.get_runtime_snapshot().stuck == 1)
    assert consumer.get_runtime_snapshot().in_flight == 1
    await consumer.stop()
    is_over.set()

    assert committed(embedded_broker.bootstrap_servers, group, topic) == [1]


async def test_aborting_ends_in_its_bounds_without_a_broker() -> None:
    with EmbeddedBroker({"orders": 1}) as broker:
        producing_to(broker.bootstrap_servers)("orders", 5, partitions=1)
        config = kafka(broker.bootstrap_servers, new_group(), parallel={"commit_interval_ms": 600_000})
        consumer = PyrallelConsumer(config, ignore, "orders")
        await consumer.start()
        await until(lambda: consumer.get_runtime_snapshot().processed == 5)
        broker.set_down()
        await consumer.abort()

        assert consumer.get_runtime_snapshot().state == "closed"


async def test_a_worker_that_waits_for_the_stop_does_not_hold_it_up_for_ever(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic = new_topic(1)
    produce(topic, 1)

    async def worker(item: WorkItem) -> None:
        await consumer.stop()

    consumer = PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, new_group()),
        worker,
        topic,
        execution_config=execution(shutdown_drain_timeout_ms=50),
    )
    await consumer.start()
    await consumer.wait_closed()


async def test_the_loop_of_another_thread_is_told_that_the_consumer_is_not_its_own(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic
) -> None:
    consumer = PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, new_group()), ignore, new_topic(1))
    async with consumer:
        with pytest.raises(StateError, match="belongs to the event loop"):
            await asyncio.to_thread(lambda: asyncio.run(consumer.stop()))


# Starts that fail


async def test_an_unreachable_broker_fails_the_start_and_everything_after_it_with_the_same_error(nowhere: str) -> None:
    consumer = PyrallelConsumer(kafka(nowhere, new_group()), ignore, "orders")

    with pytest.raises(BrokerUnreachableError, match=nowhere) as raised:
        await consumer.start()

    for call in (consumer.stop, consumer.wait_closed):
        with pytest.raises(BrokerUnreachableError) as again:
            await call()
        assert again.value is raised.value
    assert consumer.get_runtime_snapshot().state == "closed"


async def test_an_unknown_topic_is_named(embedded_broker: EmbeddedBroker) -> None:
    with pytest.raises(UnknownTopicError, match="'no-such-orders' does not exist"):
        async with PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, new_group()), ignore, "no-such-orders"):
            pytest.fail("it did not start")


async def test_credentials_for_a_listener_that_knows_none_are_refused_without_a_word_of_the_password(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic
) -> None:
    config = kafka(
        embedded_broker.bootstrap_servers,
        new_group(),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanisms="SCRAM-SHA-256",
        sasl_username="somebody",
        sasl_password="guessed",
    )
    with pytest.raises(AuthenticationError) as raised:
        await PyrallelConsumer(config, ignore, new_topic(1)).start()

    assert "guessed" not in str(raised.value)


async def test_a_setting_that_the_client_does_not_know_is_named(embedded_broker: EmbeddedBroker) -> None:
    config = kafka(embedded_broker.bootstrap_servers, new_group(), librdkafka={"fetch.quickly": True})
    with pytest.raises(ConfigurationError, match=r"fetch\.quickly"):
        await PyrallelConsumer(config, ignore, "orders").start()


async def test_stopping_while_it_starts_ends_the_start_at_once(nowhere: str) -> None:
    consumer = PyrallelConsumer(kafka(nowhere, new_group()), ignore, "orders")
    starting = asyncio.create_task(consumer.start())
    await until(lambda: "pyrallel-poller" in {thread.name for thread in threading.enumerate()})

    await consumer.stop()

    with pytest.raises(StateError, match="stopped while it started"):
        await starting


async def test_a_start_that_is_cancelled_leaves_nothing_behind(nowhere: str) -> None:
    consumer = PyrallelConsumer(kafka(nowhere, new_group()), ignore, "orders")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(consumer.start(), 0.1)

    await consumer.wait_closed()
    assert consumer.get_runtime_snapshot().state == "closed"
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_engine_that_cannot_start_fails_the_start_before_anything_is_connected(nowhere: str) -> None:
    engine = ThirdPartyEngine()
    engine.start_error = ConfigurationError("no such accelerator")

    with pytest.raises(ConfigurationError, match="no such accelerator"):
        await PyrallelConsumer(kafka(nowhere, new_group()), None, "orders", engine=engine).start()


# Fatal errors while it runs


async def test_a_broken_engine_stops_the_consumer_without_a_commit_and_with_its_own_error(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group = new_topic(1), new_group()
    produce(topic, 5)
    error = RuntimeError("submit must not raise")

    def break_down(channel: object, item: WorkItem) -> None:
        if item.offset == 3:
            raise error

    consumer = PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group), None, topic, engine=ThirdPartyEngine(break_down)
    )
    await consumer.start()

    with pytest.raises(RuntimeError) as raised:
        await consumer.wait_closed()
    assert raised.value is error
    with pytest.raises(RuntimeError):
        await consumer.stop()
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [0]


async def test_an_invariant_violation_stops_the_consumer_without_a_commit(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group = new_topic(1), new_group()
    produce(topic, 5)

    def complete(channel: CompletionChannel, item: WorkItem) -> None:
        channel.succeeded(item)
        if item.offset == 4:
            channel.crashed(InvariantViolation("the books do not balance"))

    consumer = PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group), None, topic, engine=ThirdPartyEngine(complete)
    )
    await consumer.start()

    with pytest.raises(InvariantViolation, match="do not balance"):
        await consumer.wait_closed()
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [0]


def test_an_interrupt_in_the_midst_of_a_turn_is_raised_and_nothing_is_committed_after_it(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group = new_topic(1), new_group()
    produce(topic, 5)

    def interrupt(channel: CompletionChannel, item: WorkItem) -> None:
        channel.succeeded(item)
        if item.offset == 3:
            raise KeyboardInterrupt

    consumer = PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group), None, topic, engine=ThirdPartyEngine(interrupt)
    )

    async def consume() -> None:
        async with consumer:
            await consumer.wait_closed()

    loop = asyncio.new_event_loop()
    consuming = loop.create_task(consume())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(consuming)
    with pytest.raises(StateError, match="cut short by KeyboardInterrupt"):
        loop.run_until_complete(consuming)
    loop.close()

    assert committed(embedded_broker.bootstrap_servers, group, topic) == [0]


async def test_a_fatal_error_is_raised_by_the_block_and_does_not_hide_the_blocks_own(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, caplog: pytest.LogCaptureFixture
) -> None:
    topic = new_topic(1)
    produce(topic, 1)

    def failing() -> PyrallelConsumer:
        def break_down(channel: object, item: WorkItem) -> None:
            raise RuntimeError("submit must not raise")

        return PyrallelConsumer(
            kafka(embedded_broker.bootstrap_servers, new_group()), None, topic, engine=ThirdPartyEngine(break_down)
        )

    with pytest.raises(RuntimeError, match="submit"):
        async with failing() as consumer:
            await until(lambda: consumer.get_runtime_snapshot().state == "closed")
    with pytest.raises(KeyError), caplog.at_level(logging.ERROR):  # noqa: PT012 -- the block is what is tested
        async with failing() as consumer:
            await until(lambda: consumer.get_runtime_snapshot().state == "closed")
            raise KeyError("the block's own")
    assert "had failed while its block raised" in caplog.text


async def test_a_broker_that_turns_the_group_away_stops_the_consumer_with_its_code() -> None:
    with EmbeddedBroker({"orders": 1}) as broker:
        broker.fail_requests("join_group", ["GROUP_AUTHORIZATION_FAILED"] * 20)
        consumer = PyrallelConsumer(kafka(broker.bootstrap_servers, new_group()), ignore, "orders")
        await consumer.start()

        with pytest.raises(BrokerError, match=r"READ on the group") as raised:
            await consumer.wait_closed()
        assert raised.value.code == "GROUP_AUTHORIZATION_FAILED"


async def test_an_engine_that_fails_to_stop_keeps_nobody_waiting(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic
) -> None:
    engine = ThirdPartyEngine()
    engine.stop_error = RuntimeError("the accelerator does not let go")
    consumer = PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, new_group()), None, new_topic(1), engine=engine
    )
    await consumer.start()

    with pytest.raises(RuntimeError, match="does not let go"):
        await consumer.stop()


# Loops that end without a stop


def test_a_loop_that_asyncio_run_tears_down_commits_what_is_finished_leaves_the_group_and_fails_nothing(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, caplog: pytest.LogCaptureFixture
) -> None:
    topic, group, book = new_topic(1), new_group(), Book()
    produce(topic, 20, key_of=lambda i: b"key-%d" % i)
    consumers = []

    async def worker(item: WorkItem) -> None:
        book.begin(item)
        if item.offset >= 5:
            await asyncio.Event().wait()
        book.end(item)

    async def main() -> None:
        consumer = PyrallelConsumer(
            kafka(embedded_broker.bootstrap_servers, group),
            worker,
            topic,
            execution_config=execution(max_retries=1, on_exhausted="skip"),
        )
        consumers.append(consumer)
        await consumer.start()
        await until(lambda: book.running == 15)

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())

    snapshot = consumers[0].get_runtime_snapshot()
    assert (snapshot.state, snapshot.failed) == ("closed", 0)
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [5]
    assert caplog.records == []


@pytest.mark.parametrize("messages", [0, 20])
def test_a_loop_that_is_closed_without_a_stop_ends_the_threads(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, messages: int
) -> None:
    topic, group = new_topic(1), new_group()
    produce(topic, messages)
    consumer = PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, group), ignore, topic)

    async def begin() -> None:
        await consumer.start()
        await until(lambda: consumer.get_runtime_snapshot().partitions)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()

    assert consumer.get_runtime_snapshot().state == "running"  # the last that it could say; see the fixture's threads


def test_a_closed_loop_gives_the_partitions_to_the_next_consumer(new_topic: NewTopic) -> None:
    with EmbeddedBroker({"orders": 1}) as broker:
        producing_to(broker.bootstrap_servers)("orders", 10, partitions=1)
        config, book = kafka(broker.bootstrap_servers, new_group()), Book()

        async def worker(item: WorkItem) -> None:
            book.begin(item)
            book.end(item)

        async def begin() -> None:
            await PyrallelConsumer(config, ignore, "orders").start()

        async def go_on() -> None:
            async with PyrallelConsumer(config, worker, "orders"):
                await until(lambda: len(book.messages) == 10)

        loop = asyncio.new_event_loop()
        loop.run_until_complete(begin())
        loop.close()
        asyncio.run(go_on())
        gc.collect()
