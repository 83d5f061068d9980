"""Event loops of other kinds, and the contexts that workers find on them."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest

from pyrallel_consumer import EmbeddedBroker, PyrallelConsumer, WorkItem
from tests.integration.conftest import NewTopic, Produce
from tests.integration.consuming import Book, committed, execution, kafka, new_group, own_key, until

CALLER: contextvars.ContextVar[str] = contextvars.ContextVar("CALLER", default="nobody")
SEEN: contextvars.ContextVar[str] = contextvars.ContextVar("SEEN", default="nothing")


async def test_each_message_has_a_context_of_its_own_taken_at_the_start(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, found = new_topic(2), Counter[tuple[str, str]]()
    produce(topic, 200, key_of=lambda i: b"key-%d" % (i % 20))

    async def worker(item: WorkItem) -> None:
        found[CALLER.get(), SEEN.get()] += 1
        SEEN.set(item.id)
        if item.offset % 2:
            await asyncio.sleep(0.001)
        assert SEEN.get() == item.id

    CALLER.set("the one who started")
    async with PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, new_group()), worker, topic) as consumer:
        CALLER.set("changed afterwards")
        await until(lambda: consumer.get_runtime_snapshot().processed == 200)

    assert found == {("the one who started", "nothing"): 200}
    assert SEEN.get() == "nothing"


async def test_tasks_that_a_worker_starts_live_on_and_see_its_context(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, saw, tasks = new_topic(1), set(), []
    produce(topic, 20, key_of=own_key)

    async def write_audit_log(name: str) -> None:
        await asyncio.sleep(0.02)
        assert SEEN.get() == name
        saw.add(name)

    async def worker(item: WorkItem) -> None:
        SEEN.set(item.id)
        tasks.append(asyncio.create_task(write_audit_log(item.id)))
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
            group.create_task(asyncio.sleep(0.001))

    async with PyrallelConsumer(kafka(embedded_broker.bootstrap_servers, new_group()), worker, topic) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed == 20)
    await asyncio.gather(*tasks)

    assert saw == {f"{topic}-0-{offset}" for offset in range(20)}


def consume_on(loop: asyncio.AbstractEventLoop, address: str, topic: str) -> None:
    """Consume a hundred messages on ``loop``, some of which wait, fail once, or take no step at all."""
    book, group = Book(), new_group()

    async def worker(item: WorkItem) -> None:
        if item.offset % 3:
            await asyncio.sleep(0.001)
        if item.offset % 5 == 0 and item.attempt == 1:
            raise ValueError("once")
        book.begin(item)
        book.end(item)

    async def main() -> None:
        factory = loop.get_task_factory()
        async with PyrallelConsumer(kafka(address, group), worker, topic, execution_config=execution()) as consumer:
            await until(lambda: consumer.get_runtime_snapshot().processed == 100)
        assert loop.get_task_factory() is factory
        book.assert_each_ran_once_in_order(100)

    try:
        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
    assert sum(committed(address, group, topic, 2)) == 100


@pytest.fixture
def filled_topic(new_topic: NewTopic, produce: Produce) -> str:
    topic = new_topic(2)
    produce(topic, 100, key_of=lambda i: b"key-%d" % (i % 10))
    return topic


def test_it_runs_on_uvloop(embedded_broker: EmbeddedBroker, filled_topic: str) -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is an extra")
    consume_on(uvloop.new_event_loop(), embedded_broker.bootstrap_servers, filled_topic)


def test_it_runs_in_asyncios_debug_mode(embedded_broker: EmbeddedBroker, filled_topic: str) -> None:
    loop = asyncio.new_event_loop()
    loop.set_debug(enabled=True)
    consume_on(loop, embedded_broker.bootstrap_servers, filled_topic)


def test_it_runs_beside_a_task_factory_of_the_users_and_leaves_it_to_the_users_tasks(
    embedded_broker: EmbeddedBroker, filled_topic: str
) -> None:
    made: list[str] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **arguments: Any) -> asyncio.Task[Any]:
        made.append(str(coro))
        return asyncio.Task(coro, loop=loop, **arguments)

    loop = asyncio.new_event_loop()
    loop.set_task_factory(factory)  # type: ignore[arg-type]
    consume_on(loop, embedded_broker.bootstrap_servers, filled_topic)

    assert [name for name in made if "main" not in name and "shutdown" not in name] == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_it_runs_beside_the_eager_task_factory(embedded_broker: EmbeddedBroker, filled_topic: str) -> None:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    consume_on(loop, embedded_broker.bootstrap_servers, filled_topic)
