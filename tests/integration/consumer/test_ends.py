"""Unexpected ends, on the embedded broker: fatal errors, interrupts, and event loops that end without a stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from pyrallel_consumer import (
    BrokerError,
    CompletionChannel,
    EmbeddedBroker,
    InvariantViolation,
    MetricsConfig,
    PyrallelConsumer,
    StateError,
    WorkItem,
)
from tests.integration.conftest import NewTopic, Produce, producing_to
from tests.integration.consuming import Book, committed, execution, ignore, kafka, new_group, until
from tests.integration.poller.test_rebalances import frozen
from tests.third_party_engine import ThirdPartyEngine

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


# Stops in order


async def test_what_fails_while_it_stops_is_not_tried_again(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic = new_topic(1)
    produce(topic, 20)
    attempts = 0

    async def worker(item: WorkItem) -> None:
        nonlocal attempts
        attempts += 1
        raise ValueError("no luck")

    again_and_again = execution(retry_backoff_ms=0, max_retries=10_000, max_in_flight=4)
    consumer = PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, new_group()), worker, topic, execution_config=again_and_again
    )
    await consumer.start()
    await until(lambda: attempts > 20)
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.sleep(0)
    begun = attempts
    await stopping
    assert attempts == begun
    assert consumer.cut_off == 0


async def test_a_stop_takes_the_drain_and_ten_seconds_at_most_whatever_the_broker_does() -> None:
    began, is_over = asyncio.Event(), asyncio.Event()

    async def worker(item: WorkItem) -> None:
        if item.offset == 0:
            return
        began.set()
        while not is_over.is_set():
            with suppress(asyncio.CancelledError):
                await is_over.wait()

    with EmbeddedBroker() as broker:
        broker.create_topic("orders", 1)
        producing_to(broker.bootstrap_servers)("orders", 2, key_of=lambda i: b"key-%d" % i)
        settings = execution(shutdown_drain_timeout_ms=500)
        consumer = PyrallelConsumer(
            kafka(broker.bootstrap_servers, new_group()), worker, "orders", execution_config=settings
        )
        await consumer.start()
        await began.wait()
        with frozen(broker):
            asked_at = time.monotonic()
            await consumer.stop()
            assert time.monotonic() - asked_at < 0.5 + 10.0 + 5.0  # the last for a busy machine
        is_over.set()
        assert consumer.cut_off == 1
        await until(lambda: "pyrallel-poller" not in {thread.name for thread in threading.enumerate()})


async def test_what_a_revoke_does_not_wait_for_is_named(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, caplog: pytest.LogCaptureFixture
) -> None:
    topic, group = new_topic(2), new_group()
    produce(topic, 2, partitions=2)
    running: list[str] = []

    async def worker(item: WorkItem) -> None:
        running.append(item.id)
        await asyncio.sleep(3600)

    def member() -> PyrallelConsumer:
        settings = execution(max_revoke_grace_ms=50, shutdown_drain_timeout_ms=0, task_timeout_ms=0)
        return PyrallelConsumer(
            kafka(embedded_broker.bootstrap_servers, group), worker, topic, execution_config=settings
        )

    async with member() as first:
        await until(lambda: len(running) == 2)
        async with member():
            await until(lambda: "are revoked" in caplog.text, first.get_runtime_snapshot)
    [told] = [record.getMessage() for record in caplog.records if "are revoked" in record.getMessage()][:1]
    assert "1 partitions are revoked, and 1 messages did not end within the grace (max_revoke_grace_ms)" in told
    assert told.endswith((f": {topic}-0-0", f": {topic}-1-0"))


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
    assert [record for record in caplog.records if record.name.startswith("pyrallel_consumer")] == []


def leave(beginning: Coroutine[Any, Any, None]) -> None:
    """Run it and close the loop over its tasks; asyncio would complain in whatever test they are collected."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, _context: None)
    loop.run_until_complete(beginning)
    loop.close()


@pytest.mark.parametrize("messages", [0, 20])
def test_a_loop_that_is_closed_without_a_stop_ends_the_threads(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, messages: int
) -> None:
    topic, group = new_topic(1), new_group()
    produce(topic, messages)
    metrics = MetricsConfig(enabled=True, port=0)
    consumer = PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, group, metrics=metrics), ignore, topic)

    async def begin() -> None:
        await consumer.start()
        await until(lambda: consumer.get_runtime_snapshot().partitions)

    leave(begin())

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

        leave(begin())
        asyncio.run(go_on())
        gc.collect()
