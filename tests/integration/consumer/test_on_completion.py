"""``on_completion``: one event for each message that ended, in every mode; its own exceptions end nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyrallel_consumer import (
    CompletionEvent,
    CompletionStatus,
    ConfigurationError,
    EmbeddedBroker,
    ExecutionMode,
    PyrallelConsumer,
    WorkItem,
)
from tests.integration.conftest import NewTopic, Produce
from tests.integration.consuming import MODES_OF_THIS_MACHINE, committed, execution, kafka, new_group, until

SUCCESS, FAILURE = CompletionStatus.SUCCESS, CompletionStatus.FAILURE


def work(item: WorkItem) -> None:
    """Offset 1 succeeds in its second attempt, offset 2 never does."""
    if item.offset == 2 or (item.offset == 1 and item.attempt == 1):
        raise ValueError("not yet")


async def work_async(item: WorkItem) -> None:
    work(item)


@pytest.mark.parametrize("mode", MODES_OF_THIS_MACHINE)
async def test_each_message_that_ended_is_told_once_with_its_attempt_and_error(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, mode: ExecutionMode
) -> None:
    topic, group = new_topic(1), new_group()
    produce(topic, 4, key_of=lambda i: str(i).encode())
    events: list[CompletionEvent] = []
    loops: set[object] = set()

    def note(event: CompletionEvent) -> None:
        events.append(event)
        loops.add(asyncio.get_running_loop())

    consumer = PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group),
        work_async if mode is ExecutionMode.ASYNC else work,
        topic=topic,
        execution_config=execution(mode=mode, max_attempts=3, worker_pool_size=1, on_exhausted="skip"),
        on_completion=note,
    )
    async with consumer:
        await until(lambda: len(events) == 4, consumer.get_runtime_snapshot)
    told = {event.offset: (event.status, event.attempt, repr(event.error)) for event in events}
    assert told == {
        0: (SUCCESS, 1, "None"),
        1: (SUCCESS, 2, "None"),
        2: (FAILURE, 3, "ValueError('not yet')"),
        3: (SUCCESS, 1, "None"),
    }
    assert {(event.topic, event.partition, event.epoch) for event in events} == {(topic, 0, events[0].epoch)}
    assert loops == {asyncio.get_running_loop()}
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [4]


async def test_what_it_raises_is_counted_and_ends_nothing(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group = new_topic(1), new_group()
    produce(topic, 20)

    def fail(event: CompletionEvent) -> None:
        raise RuntimeError("no metrics today")

    config = kafka(embedded_broker.bootstrap_servers, group)
    async with PyrallelConsumer(config, work_async_all, topic, on_completion=fail) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().picture_failures == 20, consumer.get_runtime_snapshot)
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [20]


async def work_async_all(item: WorkItem) -> None: ...


async def asynchronous(event: CompletionEvent) -> None: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("log", "on_completion 'log' cannot be called"),
        (asynchronous, "on_completion asynchronous is `async def`"),
        (lambda: None, "cannot be called with one CompletionEvent"),
    ],
)
def test_what_cannot_be_told_is_refused(function: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        PyrallelConsumer(kafka("localhost:9", "group"), work_async, "topic", on_completion=function)
