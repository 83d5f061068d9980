"""Failures of workers and odd metadata of the group, and what happens to the messages, on the embedded broker."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer import (
    DoNotRetry,
    EmbeddedBroker,
    MessageExhaustedError,
    OnExhausted,
    PyrallelConsumer,
    RetryLater,
    TaskTimeoutError,
    TopicPartition,
    WorkItem,
)
from pyrallel_consumer.control_plane.offsets.commit_encoder import encode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from tests.integration.conftest import NewTopic, Produce
from tests.integration.consuming import Book, committed, execution, kafka, new_group, until


def own_key(i: int) -> bytes:
    return b"key-%d" % i


def messages_of(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [message for record in caplog.records if text in (message := record.getMessage())]


# Attempts


async def test_a_failing_message_is_tried_again_after_its_wait_and_its_key_waits_behind_it(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group, book = new_topic(1), new_group(), Book()
    produce(topic, 40, key_of=lambda i: b"key-%d" % (i % 4))
    fails = {0: 2, 5: 1, 9: 3}
    began: dict[tuple[int, int], float] = {}

    async def worker(item: WorkItem) -> None:
        began[item.offset, item.attempt] = time.monotonic()
        await asyncio.sleep(0)
        if item.attempt <= fails.get(item.offset, 0):
            raise ValueError("not yet")
        book.begin(item)
        book.end(item)

    async with PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group),
        worker,
        topic,
        execution_config=execution(max_retries=4, retry_backoff_ms=40, exponential_backoff=True),
    ) as consumer:
        await until(lambda: len(book.messages) == 40)
        await until(lambda: consumer.get_runtime_snapshot().processed == 40)
        assert consumer.get_runtime_snapshot().retries == 6

    book.assert_each_ran_once_in_order(40)
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [40]
    for offset, failures in fails.items():
        for attempt in range(1, failures + 1):
            waited = began[offset, attempt + 1] - began[offset, attempt]
            assert waited >= 0.040 * 2 ** (attempt - 1)


async def test_retry_later_sets_its_own_wait_and_do_not_retry_gives_up_at_once(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic = new_topic(1)
    produce(topic, 2, key_of=own_key)
    began: list[tuple[int, int, float]] = []

    async def worker(item: WorkItem) -> None:
        began.append((item.offset, item.attempt, time.monotonic()))
        if item.offset == 1:
            raise DoNotRetry("it will never do")
        if item.attempt == 1:
            raise RetryLater(delay_ms=70)

    async with PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, new_group()),
        worker,
        topic,
        execution_config=execution(max_retries=5, retry_backoff_ms=3_600_000, on_exhausted="skip"),
    ) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed == 2)
        assert consumer.get_runtime_snapshot().failed == 1

    assert [(offset, attempt) for offset, attempt, _ in sorted(began)] == [(0, 1), (0, 2), (1, 1)]
    first, second = (at for offset, _, at in began if offset == 0)
    assert second - first >= 0.070


async def test_an_attempt_that_takes_too_long_is_cancelled_and_has_failed(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, caplog: pytest.LogCaptureFixture
) -> None:
    topic = new_topic(1)
    produce(topic, 1)
    attempts: list[int] = []

    async def worker(item: WorkItem) -> None:
        attempts.append(item.attempt)
        await asyncio.Event().wait()

    with pytest.raises(MessageExhaustedError, match="TaskTimeoutError") as raised:
        async with PyrallelConsumer(
            kafka(embedded_broker.bootstrap_servers, new_group()),
            worker,
            topic,
            execution_config=execution(max_retries=2, task_timeout_ms=60, on_exhausted="stop"),
        ) as consumer:
            await consumer.wait_closed()

    assert attempts == [1, 2]
    assert isinstance(raised.value.__cause__, TaskTimeoutError)
    assert consumer.get_runtime_snapshot().retry.timeouts == 2


@pytest.mark.parametrize("stroke", [SystemExit(3), asyncio.CancelledError(), GeneratorExit()], ids=repr)
async def test_whatever_a_worker_raises_is_a_failed_attempt_and_not_the_end(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, stroke: BaseException
) -> None:
    topic, group, seen = new_topic(1), new_group(), []
    produce(topic, 3, key_of=own_key)

    async def worker(item: WorkItem) -> None:
        seen.append((item.offset, item.attempt))
        if item.offset == 0:
            raise stroke
        if item.offset == 1:
            await asyncio.sleep(0.001)
            raise stroke

    async with PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group),
        worker,
        topic,
        execution_config=execution(max_retries=2, on_exhausted="skip"),
    ) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed == 3)

    assert sorted(seen) == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1)]
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [3]


async def test_a_worker_that_blocks_the_loop_is_named_with_the_line_where_it_stands(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, caplog: pytest.LogCaptureFixture
) -> None:
    topic = new_topic(1)
    produce(topic, 1)

    async def careless_worker(item: WorkItem) -> None:
        while not messages_of(caplog, "has been blocked"):
            time.sleep(0.01)  # noqa: ASYNC251 -- what it must not do

    async with PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, new_group(), parallel={"blocking_warn_seconds": 0.1}),
        careless_worker,
        topic,
    ) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed == 1)
        await until(lambda: consumer.get_runtime_snapshot().blocked_loops == 1)

    [warning] = messages_of(caplog, "has been blocked")
    assert "careless_worker" in warning
    assert "time.sleep(0.01)" in warning


async def test_an_offset_that_holds_the_commit_back_is_named_once(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, caplog: pytest.LogCaptureFixture
) -> None:
    topic, go_on = new_topic(1), asyncio.Event()
    produce(topic, 5, key_of=own_key)

    async def worker(item: WorkItem) -> None:
        if item.offset == 1:
            await go_on.wait()

    async with PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, new_group(), parallel={"blocking_warn_seconds": 0.1}), worker, topic
    ) as consumer:
        await until(lambda: messages_of(caplog, "has kept the commit back"))
        [partition] = consumer.get_runtime_snapshot().partitions
        assert partition.blocking_offset == 1
        assert partition.blocking_seconds >= 0.1
        taken_at = consumer.get_runtime_snapshot().taken_at
        await until(lambda: consumer.get_runtime_snapshot().taken_at > taken_at + 0.3)
        go_on.set()

    [warning] = messages_of(caplog, "has kept the commit back")
    assert f"offset 1 of {topic}[0]" in warning


# After the last attempt


async def test_skip_lets_the_offset_go_and_names_each_message_the_first_with_its_traceback(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, caplog: pytest.LogCaptureFixture
) -> None:
    topic, group = new_topic(1), new_group()
    produce(topic, 60, key_of=lambda i: b"key-%d" % (i % 7))

    async def worker(item: WorkItem) -> None:
        if item.offset % 3 == 0:
            raise ValueError("invalid order")

    async with PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group),
        worker,
        topic,
        execution_config=execution(max_retries=2, retry_backoff_ms=1, on_exhausted="skip"),
    ) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed == 60)
        assert consumer.get_runtime_snapshot().failed == 20
        assert consumer.get_runtime_snapshot().held == 0

    told = messages_of(caplog, "failed its last attempt, number 2: ValueError: invalid order")
    assert all("it is skipped" in line for line in told)
    assert {line.split()[0] for line in told} == {f"{topic}-0-{offset}" for offset in range(0, 60, 3)}
    assert ['raise ValueError("invalid order")' in line for line in told] == [True] + [False] * 19
    first = messages_of(caplog, "failed with ValueError: invalid order; the next one follows in")
    assert len(first) == 3
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [60]


async def test_stop_drains_the_healthy_work_keeps_the_offset_and_raises_the_workers_error_as_cause(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group, book = new_topic(1), new_group(), Book()
    produce(topic, 3, key_of=own_key)
    error = ValueError("invalid order")

    async def worker(item: WorkItem) -> None:
        book.begin(item)
        if item.offset == 1:
            await until(lambda: book.running == 3)
            raise error
        while consumer.get_runtime_snapshot().state == "running":
            await asyncio.sleep(0.005)
        book.end(item)

    consumer = PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group, dlq_enabled=False),
        worker,
        topic,
        execution_config=execution(max_retries=1),
    )
    await consumer.start()

    with pytest.raises(MessageExhaustedError, match="on_exhausted is stop") as raised:
        await consumer.wait_closed()
    assert raised.value.__cause__ is error
    assert len(book.messages) == 2
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [1]


async def test_pause_partition_fetches_no_more_of_it_and_resuming_tries_the_message_again(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, caplog: pytest.LogCaptureFixture
) -> None:
    topic, group = new_topic(2), new_group()
    paused, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    produce(topic, 20, key_of=own_key, partitions=2)
    is_mended = False
    done = {paused: 0, other: 0}

    async def worker(item: WorkItem) -> None:
        if item.tp == paused and item.offset == 3 and not is_mended:
            raise ValueError("the shop is closed")
        done[item.tp] += 1

    async with PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group),
        worker,
        topic,
        execution_config=execution(max_retries=1, on_exhausted=OnExhausted.PAUSE_PARTITION),
    ) as consumer:

        def pauses() -> dict[TopicPartition, tuple[str, ...]]:
            return {each.tp: each.paused_for for each in consumer.get_runtime_snapshot().partitions}

        await until(lambda: pauses() == {paused: ("exhausted",), other: ()}, pauses)
        await until(lambda: done == {paused: 9, other: 10}, lambda: done)
        assert consumer.get_runtime_snapshot().held == 1
        produce(topic, 20, key_of=own_key, partitions=2)
        await until(lambda: done[other] == 20, lambda: done)
        assert done[paused] == 9

        is_mended = True
        consumer.resume_partition(paused)
        await until(lambda: done == {paused: 20, other: 20}, lambda: done)
        await until(lambda: pauses() == {paused: (), other: ()}, pauses)

    [told] = messages_of(caplog, "failed its last attempt")
    assert "resume_partition()" in told
    assert committed(embedded_broker.bootstrap_servers, group, topic, 2) == [20, 20]


async def test_poison_of_every_kind_leaves_the_healthy_messages_to_go_on(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group, book = new_topic(4), new_group(), Book()
    produce(topic, 1000, key_of=own_key)

    async def worker(item: WorkItem) -> None:
        if int((item.value or b"").split(b"-")[1]) % 3 == 0:
            raise ValueError("poison")
        await asyncio.sleep(0.001)
        book.begin(item)
        book.end(item)

    async with PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group),
        worker,
        topic,
        execution_config=execution(max_retries=3, retry_backoff_ms=50, max_in_flight=8, on_exhausted="skip"),
    ) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed == 1000)

    assert len(book.messages) == len(book.ended) == 666
    assert sum(committed(embedded_broker.bootstrap_servers, group, topic, 4)) == 1000


# What lies in the group


@pytest.mark.parametrize(
    "metadata",
    [
        "written by another tool",
        encode(OffsetMap(2, 7, (3, 5)), TopicPartition("another-topic", 0)),
        encode(OffsetMap(2, 7, (3, 5)), TopicPartition("another-topic", 0))[:-4] + "AAAA",
    ],
    ids=["foreign", "of another place", "corrupt"],
)
async def test_metadata_that_is_not_ours_is_ignored_with_one_warning(
    embedded_broker: EmbeddedBroker,
    new_topic: NewTopic,
    produce: Produce,
    caplog: pytest.LogCaptureFixture,
    metadata: str,
) -> None:
    topic, group, book = new_topic(1), new_group(), Book()
    produce(topic, 10, key_of=own_key)
    client = Consumer({"bootstrap.servers": embedded_broker.bootstrap_servers, "group.id": group})
    client.commit(offsets=[ClientPartition(topic, 0, 2, metadata)], asynchronous=False)
    client.close()

    async def worker(item: WorkItem) -> None:
        book.begin(item)
        book.end(item)

    with caplog.at_level(logging.WARNING):
        async with PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, group), worker, topic):
            await until(lambda: len(book.messages) == 8)

    book.assert_each_ran_once_in_order(8)
    assert len(messages_of(caplog, f"{topic}[0]")) == 1
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [10]


async def test_what_finished_above_a_gap_does_not_run_again_after_a_restart(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group, first, second = new_topic(1), new_group(), Book(), Book()
    produce(topic, 50, key_of=own_key)
    config = kafka(embedded_broker.bootstrap_servers, group)

    async def stuck_worker(item: WorkItem) -> None:
        first.begin(item)
        if item.offset in {3, 30}:
            await asyncio.Event().wait()
        first.end(item)

    async def worker(item: WorkItem) -> None:
        second.begin(item)
        second.end(item)

    consumer = PyrallelConsumer(config, stuck_worker, topic)
    await consumer.start()
    await until(lambda: len(first.messages) == 48)
    await consumer.abort()
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [3]
    async with PyrallelConsumer(config, worker, topic) as consumer:
        await until(lambda: len(second.messages) == 2)
        await until(lambda: sum(each.skipped for each in consumer.get_runtime_snapshot().partitions) == 45)

    assert second.messages == {f"{topic}-0-3", f"{topic}-0-30"}
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [50]
