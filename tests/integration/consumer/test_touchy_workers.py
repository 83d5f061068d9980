"""Workers whose exceptions fail when they are touched, or are Ctrl-C: the consumer goes on, or stops as by SIGINT."""

from __future__ import annotations

import asyncio
import signal

import pytest

from pyrallel_consumer import EmbeddedBroker, ExecutionMode, PyrallelConsumer, WorkItem
from pyrallel_consumer.testing.engine_contract.touchy_errors import TOUCHY_ERRORS
from tests.integration.conftest import NewTopic, Produce
from tests.integration.consuming import MODES_OF_THIS_MACHINE, committed, execution, kafka, new_group, until

NAMES = sorted(TOUCHY_ERRORS)


def plain_worker(item: WorkItem) -> None:
    """Every message but the last one fails in a way of its own."""
    if item.offset < len(NAMES):
        error = TOUCHY_ERRORS[NAMES[item.offset]]()
        raise error


async def async_worker(item: WorkItem) -> None:
    await asyncio.sleep(0)
    plain_worker(item)


@pytest.mark.parametrize("mode", MODES_OF_THIS_MACHINE)
@pytest.mark.parametrize("on_exhausted", ["skip", "dlq"])
async def test_exceptions_that_resist_being_touched_are_failed_messages_and_the_others_go_on(
    embedded_broker: EmbeddedBroker,
    new_topic: NewTopic,
    produce: Produce,
    mode: ExecutionMode,
    on_exhausted: str,
) -> None:
    worker = async_worker if mode is ExecutionMode.ASYNC else plain_worker
    topic, group = new_topic(1), new_group()
    produce(topic, len(NAMES) + 1)
    async with PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group),
        worker,
        topic,
        execution_config=execution(
            mode=mode, max_retries=2, retry_backoff_ms=1, on_exhausted=on_exhausted, worker_pool_size=2
        ),
    ) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed == len(NAMES) + 1)
        assert consumer.get_runtime_snapshot().failed == len(NAMES)
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [len(NAMES) + 1]


@pytest.mark.parametrize("mode", MODES_OF_THIS_MACHINE)
async def test_keyboard_interrupt_in_a_worker_stops_the_consumer_as_the_signal_does(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, mode: ExecutionMode
) -> None:
    topic, group = new_topic(1), new_group()
    produce(topic, 3)
    worker = interrupted_async_worker if mode is ExecutionMode.ASYNC else interrupted_worker
    consumer = PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group),
        worker,
        topic,
        execution_config=execution(mode=mode, max_retries=1, max_in_flight=1, on_exhausted="skip"),
    )
    await consumer.start()
    async with asyncio.timeout(30):
        await consumer.wait_closed()
    snapshot = consumer.get_runtime_snapshot()
    assert (consumer.stopped_by, consumer.aborted_by) == (signal.SIGINT, None)
    assert (snapshot.processed, snapshot.failed) == (1, 0)
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [1]


def interrupted_worker(item: WorkItem) -> None:
    if item.offset == 1:
        raise KeyboardInterrupt


async def interrupted_async_worker(item: WorkItem) -> None:
    interrupted_worker(item)
