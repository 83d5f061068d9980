"""A consumer's life: start, stop, drain and abort."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import suppress

import pytest

from pyrallel_consumer import EmbeddedBroker, PyrallelConsumer, StateError, WorkItem
from tests.integration.conftest import NewTopic, Produce, producing_to
from tests.integration.consuming import Book, committed, execution, ignore, kafka, new_group, until

pytestmark = pytest.mark.usefixtures("no_thread_is_left", "gc_threshold_is_put_back")


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


@pytest.mark.parametrize(("asked", "held"), [(0, 2_500), (60_000, 60_000)])
async def test_python_looks_for_garbage_as_often_as_is_asked_for_while_a_consumer_runs(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, asked: int, held: int
) -> None:
    usual = gc.get_threshold()
    gc.set_threshold(2_500, *usual[1:])
    try:
        config = kafka(embedded_broker.bootstrap_servers, new_group())
        async with PyrallelConsumer(config, ignore, new_topic(1), execution_config=execution(gc_threshold=asked)):
            assert gc.get_threshold()[0] == held
        assert gc.get_threshold()[0] == 2_500
    finally:
        gc.set_threshold(*usual)


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


async def test_what_a_worker_is_given_has_started_and_can_be_paused_and_stopped(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    """While the event loop is busy, the poll thread works on: from the subscription to the first message."""
    topic = new_topic(1)
    produce(topic, 1)
    loop = asyncio.get_running_loop()
    attempts: list[int] = []

    def keep_busy() -> None:
        time.sleep(1.0)
        if not attempts:
            loop.call_soon(keep_busy)

    async def worker(item: WorkItem) -> None:
        attempts.append(item.attempt)
        consumer.pause_partition(item.tp)
        await consumer.stop()

    consumer = PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, new_group()),
        worker,
        topic,
        execution_config=execution(shutdown_drain_timeout_ms=50),
    )
    loop.call_soon(keep_busy)
    await consumer.start()
    await consumer.wait_closed()
    assert attempts == [1]
    assert consumer.cut_off == 1


async def test_the_loop_of_another_thread_is_told_that_the_consumer_is_not_its_own(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic
) -> None:
    consumer = PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, new_group()), ignore, new_topic(1))
    async with consumer:
        with pytest.raises(StateError, match="belongs to the event loop"):
            await asyncio.to_thread(lambda: asyncio.run(consumer.stop()))
