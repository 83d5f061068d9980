"""Workers on the event loop: each attempt runs in a real task, what workers may be, and their contexts."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

import pytest

from pyrallel_consumer.execution_plane.async_engine import PlainEngine
from tests.unit.execution_plane.loop_runs import VARIABLE, current, offsets, run, suspend

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from pyrallel_consumer.dto import WorkItem


async def test_a_worker_runs_in_a_real_task_from_its_first_step_on(form: type[PlainEngine]) -> None:
    async def worker(item: WorkItem) -> None:
        first = current()
        assert first in asyncio.all_tasks()
        assert not first.done()
        if item.offset % 2:
            await suspend()
            assert current() is first

    assert len((await run(form, worker)).successes) == 20


async def test_messages_that_wait_at_the_same_time_have_different_tasks(form: type[PlainEngine]) -> None:
    tasks = []

    async def worker(item: WorkItem) -> None:
        tasks.append(current())
        await suspend()

    await run(form, worker)
    assert len(set(tasks)) == 20


async def test_timeouts_groups_and_waits_inside_the_worker_work(form: type[PlainEngine]) -> None:
    outcomes: dict[int, str] = {}

    async def child(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def worker(item: WorkItem) -> None:
        async with asyncio.timeout(10):
            if item.offset % 4 == 0:
                outcomes[item.offset] = "at once"
                return
            async with asyncio.TaskGroup() as group:
                children = [group.create_task(child(number)) for number in range(3)]
            assert [task.result() for task in children] == [0, 1, 2]
            assert await asyncio.wait_for(child(5), 10) == 5
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        with pytest.raises(ExceptionGroup):
            await group_that_fails()
        assert current().cancelling() == 0
        outcomes[item.offset] = "waited"

    async def failing_child() -> None:
        await asyncio.sleep(0)
        raise ValueError

    async def group_that_fails() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(failing_child())
            await asyncio.Event().wait()

    rig = await run(form, worker)
    assert len(rig.successes) == 20
    assert sorted(outcomes) == offsets(rig.successes)


async def test_an_expired_timeout_of_the_worker_s_own_is_an_ordinary_failure(form: type[PlainEngine]) -> None:
    async def worker(item: WorkItem) -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    rig = await run(form, worker, count=3)
    assert [type(failed.error) for failed in rig.failures] == [TimeoutError] * 3


async def test_a_future_that_fails_with_generator_exit_fails_the_attempt(form: type[PlainEngine]) -> None:
    async def worker(item: WorkItem) -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, GeneratorExit())
        await future

    rig = await run(form, worker, count=2)
    assert [type(failed.error) for failed in rig.failures] == [GeneratorExit] * 2


async def test_a_cancel_that_nobody_here_asked_for_is_a_failed_attempt(form: type[PlainEngine]) -> None:
    async def worker(item: WorkItem) -> None:
        if item.offset == 2:
            current().cancel()
        await suspend()

    rig = await run(form, worker, count=5)
    assert [(failed.item.offset, type(failed.error)) for failed in rig.failures] == [(2, asyncio.CancelledError)]
    assert offsets(rig.successes) == [1, 3, 4, 5]


@pytest.mark.parametrize("taken_back", [False, True])
async def test_a_worker_that_cancels_its_task_and_returns_harms_no_other_message(
    form: type[PlainEngine], taken_back: bool
) -> None:
    async def worker(item: WorkItem) -> None:
        assert current().cancelling() == 0
        if item.offset % 3 == 0:
            current().cancel()
            if taken_back:
                current().uncancel()
        else:
            await suspend()

    assert len((await run(form, worker)).successes) == 20


async def test_a_cancel_of_a_kept_task_after_its_message_ended_harms_no_other_message(form: type[PlainEngine]) -> None:
    kept: list[asyncio.Task[Any]] = []

    async def worker(item: WorkItem) -> None:
        if item.offset % 2:
            kept.append(current())
            return
        for task in kept:
            task.cancel()
        await suspend()

    assert len((await run(form, worker)).successes) == 20


async def test_what_cancels_a_kept_task_from_a_timer_harms_no_other_message(form: type[PlainEngine]) -> None:
    async def worker(item: WorkItem) -> None:
        if item.offset % 2:
            asyncio.get_running_loop().call_soon(current().cancel)
            return
        for _ in range(5):
            await suspend()

    assert len((await run(form, worker)).successes) == 20


async def test_the_loop_s_task_factory_stays_the_user_s(form: type[PlainEngine]) -> None:
    made = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **more)

    async def worker(item: WorkItem) -> None:
        await suspend()

    asyncio.get_running_loop().set_task_factory(factory)  # type: ignore[arg-type]  # no eager start here
    await run(form, worker)
    asyncio.get_running_loop().set_task_factory(None)
    assert made == []


# What workers may be


async def test_any_awaitable_will_do(form: type[PlainEngine]) -> None:
    class Answer:
        def __await__(self) -> Generator[Any, None, None]:
            yield from suspend().__await__()

    assert len((await run(form, lambda _: Answer())).successes) == 20


async def test_a_worker_that_returns_nothing_to_await_fails_its_attempt(form: type[PlainEngine]) -> None:
    rig = await run(form, lambda _: None, count=2)
    assert [type(failed.error) for failed in rig.failures] == [TypeError] * 2


async def test_a_worker_that_raises_when_it_is_called_fails_its_attempt(form: type[PlainEngine]) -> None:
    def worker(item: WorkItem) -> Any:
        raise SystemExit

    rig = await run(form, worker, count=2)
    assert [type(failed.error) for failed in rig.failures] == [SystemExit] * 2


# Contexts


async def test_what_a_worker_starts_inherits_its_context(form: type[PlainEngine]) -> None:
    seen: dict[int, list[str]] = {}

    async def child(item: WorkItem) -> None:
        await suspend()
        seen[item.offset].append(VARIABLE.get())

    async def worker(item: WorkItem) -> None:
        seen[item.offset] = [VARIABLE.get()]
        VARIABLE.set(f"of {item.offset}")
        if item.offset % 2:
            await suspend()
        task = asyncio.create_task(child(item))
        asyncio.get_running_loop().call_soon(lambda: seen[item.offset].append(VARIABLE.get()))
        if item.offset % 3:
            await suspend()
            assert VARIABLE.get() == f"of {item.offset}"
        await task

    assert len((await run(form, worker)).successes) == 20
    assert seen == {offset: ["none", f"of {offset}", f"of {offset}"] for offset in range(1, 21)}


async def test_the_given_base_context_is_every_attempt_s_beginning_and_stays_as_it_is(form: type[PlainEngine]) -> None:
    base = contextvars.Context()
    base.run(VARIABLE.set, "base")

    async def worker(item: WorkItem) -> None:
        assert VARIABLE.get() == "base"
        VARIABLE.set("changed")
        if item.offset % 2:
            await suspend()
            assert VARIABLE.get() == "changed"

    rig = await run(form, worker, base_context=base)
    assert len(rig.successes) == 20
    assert base[VARIABLE] == "base"
