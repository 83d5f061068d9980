"""Runs of an engine on the event loop, from the first item to the last."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.execution_plane.async_engine import AsyncEngine, LateEngine, PlainEngine
from pyrallel_consumer.testing.engine_contract.rig import PATIENCE_SECONDS, Rig

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.dto import WorkItem

    Worker = Callable[[WorkItem], Any]


ONCE = RetryPolicy(max_attempts=1, timeout_ms=0)
FORMS = list(dict.fromkeys([LateEngine, AsyncEngine]))
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="none")


async def run(
    form: type[PlainEngine], worker: Worker, count: int = 20, policy: RetryPolicy = ONCE, **settings: Any
) -> Rig:
    """Run ``count`` items through ``worker``, all submitted at once, and wait for all of them."""
    rig = await Rig(form(worker, policy, count, **settings)).start()
    try:
        for _ in range(count):
            rig.submit()
        await rig.until_finished(count)
    finally:
        await rig.engine.stop(PATIENCE_SECONDS)
    return rig


def offsets(items: list[WorkItem]) -> list[int]:
    return sorted(item.offset for item in items)


async def suspend() -> None:
    """Give the loop a turn, and continue after a future."""
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, None)
    await future


def current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
