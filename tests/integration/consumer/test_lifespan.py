"""The lifespan in whole consumers, in every mode: entered first, left last, visible to attempts; and its failures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pyrallel_consumer import EmbeddedBroker, ExecutionMode, LifespanError, PyrallelConsumer, StateError
from tests.integration.conftest import Produce
from tests.integration.consuming import MODES_OF_THIS_MACHINE, committed, execution, kafka, new_group, until
from tests.integration.run.held_worker import (
    AsyncHeldWorker,
    HeldWorker,
    asynchronous,
    failing,
    plain,
    told_in,
    work,
    work_async,
)

MODES = pytest.mark.parametrize("mode", MODES_OF_THIS_MACHINE)
MESSAGES = 20


class Shop(NamedTuple):
    """A topic with messages, and the folder that workers note in."""

    broker: EmbeddedBroker
    topic: str
    group: str
    folder: Path

    def consumer(
        self, mode: ExecutionMode, *, worker: Any = None, lifespan: Any = None, **settings: Any
    ) -> PyrallelConsumer:
        settings = {"worker_pool_size": 2, **settings}
        function = work_async if mode is ExecutionMode.ASYNC else work
        return PyrallelConsumer(
            kafka(self.broker.bootstrap_servers, self.group),
            partial(function, str(self.folder)) if worker is None else worker,
            topic=self.topic,
            execution_config=execution(mode=mode, **settings),
            lifespan=lifespan,
        )

    def works(self) -> list[list[str]]:
        return [line for line in told_in(self.folder) if line[1] == "works"]

    def committed(self) -> list[int]:
        return committed(self.broker.bootstrap_servers, self.group, self.topic)


@pytest.fixture
def shop(embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce, tmp_path: Path) -> Shop:
    topic = new_topic(1)
    produce(topic, MESSAGES, key_of=lambda i: str(i).encode())
    return Shop(embedded_broker, topic, new_group(), tmp_path)


def assert_held(shop: Shop) -> None:
    """In each process the lifespan is entered first and once, is visible to each attempt, and is left last and once."""
    lines = told_in(shop.folder)
    for process in {line[0] for line in lines}:
        words = [line[1:] for line in lines if line[0] == process]
        assert (words[0], words[-1]) == (["enters"], ["leaves", "open"])
        assert {(word, found) for word, _, found in words[1:-1]} <= {("works", "open")}
    assert sorted(int(line[2]) for line in shop.works()) == list(range(MESSAGES))


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("where", ["before", "after"])
async def test_processes_with_a_loop_say_as_well_why_a_lifespan_failed(
    shop: Shop, where: str, *, is_async: bool
) -> None:
    worker = partial(work_async if is_async else work, str(shop.folder))
    consumer = shop.consumer(
        ExecutionMode.PROCESS, worker=worker, lifespan=partial(failing, str(shop.folder), where), worker_pool_size=1
    )
    with pytest.raises(LifespanError, match=rf"failed {where} the"):
        async with consumer:
            await until(lambda: len(shop.works()) == MESSAGES, consumer.get_runtime_snapshot)


@pytest.mark.parametrize("lifespan", [plain, asynchronous])
async def test_processes_with_a_loop_hold_it_around_all_their_attempts(shop: Shop, lifespan: Any) -> None:
    worker, held = partial(work_async, str(shop.folder)), partial(lifespan, str(shop.folder))
    consumer = shop.consumer(ExecutionMode.PROCESS, worker=worker, lifespan=held)
    async with consumer:
        await until(lambda: len(shop.works()) == MESSAGES, consumer.get_runtime_snapshot)
    assert_held(shop)
    assert shop.committed() == [MESSAGES]


@MODES
@pytest.mark.parametrize("lifespan", [plain, asynchronous])
async def test_it_is_entered_before_the_first_message_and_left_after_the_last_attempt(
    shop: Shop, mode: ExecutionMode, lifespan: Any
) -> None:
    consumer = shop.consumer(mode, lifespan=partial(lifespan, str(shop.folder)))
    async with consumer:
        assert told_in(shop.folder)[0][1] == "enters"
        await until(lambda: len(shop.works()) == MESSAGES, consumer.get_runtime_snapshot)
        assert not [line for line in told_in(shop.folder) if line[1] == "leaves"]
    assert_held(shop)
    assert shop.committed() == [MESSAGES]


@MODES
async def test_a_worker_that_is_a_context_manager_is_held_like_a_lifespan(shop: Shop, mode: ExecutionMode) -> None:
    worker = (AsyncHeldWorker if mode is ExecutionMode.ASYNC else HeldWorker)(str(shop.folder))
    consumer = shop.consumer(mode, worker=worker)
    async with consumer:
        await until(lambda: len(shop.works()) == MESSAGES, consumer.get_runtime_snapshot)
    assert_held(shop)


@MODES
async def test_when_entering_fails_the_consumer_does_not_start_and_says_why(shop: Shop, mode: ExecutionMode) -> None:
    consumer = shop.consumer(mode, lifespan=partial(failing, str(shop.folder), "before"))
    with pytest.raises(LifespanError, match=r"lifespan .*failing.* failed before the first message: OSError: no datab"):
        await consumer.start()
    assert shop.works() == []


@MODES
async def test_when_leaving_fails_all_is_committed_and_stop_says_why(
    shop: Shop, mode: ExecutionMode, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = shop.consumer(mode, lifespan=partial(failing, str(shop.folder), "after"))
    await consumer.start()
    await until(lambda: len(shop.works()) == MESSAGES, consumer.get_runtime_snapshot)
    with caplog.at_level(logging.ERROR), pytest.raises(LifespanError, match="failed after the last attempt: OSError"):
        await consumer.stop()
    assert shop.committed() == [MESSAGES]
    assert "the database is gone" in caplog.text
    assert isinstance(consumer.error, LifespanError)


async def test_processes_that_are_replaced_enter_and_leave_each_for_itself(shop: Shop) -> None:
    consumer = shop.consumer(
        ExecutionMode.PROCESS,
        lifespan=partial(plain, str(shop.folder)),
        worker_pool_size=1,
        max_tasks_per_child=6,
        max_in_flight=1,
    )
    async with consumer:
        await until(lambda: len(shop.works()) == MESSAGES, consumer.get_runtime_snapshot)
    assert_held(shop)
    assert len({line[0] for line in told_in(shop.folder)}) >= 3


async def test_what_still_runs_at_the_end_ends_before_the_lifespan_does(shop: Shop) -> None:
    order: list[str] = []

    @contextmanager
    def lifespan() -> Iterator[None]:
        yield
        order.append("left")

    async def worker(item: object) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            order.append("ended")

    consumer = shop.consumer(
        ExecutionMode.ASYNC, worker=worker, lifespan=lifespan, shutdown_drain_timeout_ms=50, max_in_flight=3
    )
    async with consumer:
        await until(lambda: consumer.get_runtime_snapshot().in_flight == 3, consumer.get_runtime_snapshot)
    assert order == ["ended"] * 3 + ["left"]


async def test_a_start_that_is_stopped_leaves_what_was_entered(shop: Shop) -> None:
    entered = asyncio.Event()
    left: list[str] = []

    class Slow:
        async def __aenter__(self) -> None:
            entered.set()
            try:
                await asyncio.sleep(60)
            finally:
                left.append("never entered")

        async def __aexit__(self, *_: object) -> None:
            raise AssertionError

    consumer = shop.consumer(ExecutionMode.ASYNC, lifespan=Slow)
    starting = asyncio.create_task(consumer.start())
    await entered.wait()
    await consumer.stop()
    with pytest.raises(StateError, match="stopped while it started"):
        await starting
    assert left == ["never entered"]
