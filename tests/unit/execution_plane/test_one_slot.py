"""Messages one after the other in one slot of the async engine: no message harms the next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.errors import TaskTimeoutError
from pyrallel_consumer.execution_plane.async_engine import PlainEngine
from pyrallel_consumer.testing.engine_contract.rig import PATIENCE_SECONDS, Rig
from tests.unit.execution_plane.loop_runs import ONCE, VARIABLE, current, offsets, run, suspend

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.dto import WorkItem

    Worker = Callable[[WorkItem], Any]


async def run_one_key(form: type[PlainEngine], worker: Worker, count: int = 12, policy: RetryPolicy = ONCE) -> Rig:
    """Run ``count`` items one after the other in one slot, as items of one key run."""
    rig = await Rig(form(worker, policy, 1)).start()
    for finished in range(count):
        rig.submit()
        await rig.until_finished(finished + 1)
    assert rig.engine.running() == 0
    assert rig.engine.capacity() == 1
    await rig.engine.stop(PATIENCE_SECONDS)
    return rig


async def test_a_message_that_cancelled_its_task_or_changed_its_context_harms_none_after_it(
    form: type[PlainEngine],
) -> None:
    async def worker(item: WorkItem) -> None:
        assert VARIABLE.get() == "none"
        assert current().cancelling() == 0
        await suspend()
        if item.offset % 4 == 0:
            VARIABLE.set("changed")
        elif item.offset % 4 == 1:
            current().cancel()
            current().uncancel()
        elif item.offset % 4 == 2:
            token = VARIABLE.set("for a while")
            await suspend()
            VARIABLE.reset(token)

    assert len((await run_one_key(form, worker)).successes) == 12


async def test_failures_and_timeouts_between_them_neither_lose_nor_repeat_what_follows(
    form: type[PlainEngine],
) -> None:
    begun: list[int] = []

    async def worker(item: WorkItem) -> None:
        begun.append(item.offset)
        await suspend()
        if item.offset % 3 == 0:
            raise ValueError
        if item.offset % 3 == 1:
            await asyncio.Event().wait()

    rig = await run_one_key(form, worker, policy=RetryPolicy(max_attempts=1, timeout_ms=5))
    assert begun == list(range(1, 13))
    assert [type(failed.error) for failed in rig.failures].count(TaskTimeoutError) == 4
    assert offsets(rig.successes) == [2, 5, 8, 11]


async def test_the_traceback_of_a_failure_begins_in_the_worker(form: type[PlainEngine]) -> None:
    async def worker(item: WorkItem) -> None:
        await suspend()
        raise ValueError

    [failed] = (await run(form, worker, count=1)).failures
    assert failed.error.__traceback__ is not None
    assert failed.error.__traceback__.tb_frame.f_code.co_name == "worker"
