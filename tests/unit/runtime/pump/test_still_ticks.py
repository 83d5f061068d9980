"""The ticker while nothing moves: it slows down, and has its usual pace again as soon as something moves."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pyrallel_consumer.control_plane.events import Assigned
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import RetryPolicy, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import TopicPartition, WorkItem
from pyrallel_consumer.execution_plane.async_engine import AsyncEngine
from pyrallel_consumer.runtime.pump import timers
from pyrallel_consumer.runtime.pump.control_loop import ControlLoop
from pyrallel_consumer.runtime.pump.timers import STILL_TICK_SECONDS
from tests.unit.silent_pump import Silent, silent_pump

PATIENCE_SECONDS = 30.0
NEVER_SECONDS = 1000.0


@asynccontextmanager
async def ticking() -> AsyncIterator[tuple[ControlLoop, asyncio.Queue[float]]]:
    """A pump with nothing to do, and the times of its ticks."""

    async def worker(_: WorkItem) -> None: ...

    ticks: asyncio.Queue[float] = asyncio.Queue()
    failures: list[BaseException] = []
    engine = AsyncEngine(worker, RetryPolicy(), 10)
    control = await silent_pump(WorkManager(WorkPolicy()), engine, failures)
    control.on_tick.append(ticks.put_nowait)
    control.start(Silent())
    async with asyncio.timeout(PATIENCE_SECONDS):
        yield control, ticks
    control.stop()
    await engine.stop(1.0)
    assert failures == []


async def test_while_nothing_moves_ticks_are_further_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "STILL_SECONDS", 0.0)
    async with ticking() as (_, ticks):
        times = [await ticks.get() for _ in range(5)]
    assert all(after - before >= STILL_TICK_SECONDS - 0.001 for before, after in itertools.pairwise(times))


@pytest.mark.parametrize("by", ["a fact", "a command", "one who waits"])
async def test_whatever_moves_brings_the_next_tick_soon(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "STILL_SECONDS", 0.0)
    monkeypatch.setattr(timers, "STILL_TICK_SECONDS", NEVER_SECONDS)
    async with ticking() as (control, ticks):
        await ticks.get()
        for _ in range(3):
            await asyncio.sleep(0)  # the turn that the tick asked for finds nothing, and the next tick is far
        if by == "a fact":
            control.deliver(Assigned(TopicPartition("orders", 0), 1, 0, OffsetMap(0, 0)))
        elif by == "a command":
            control.send_pauses()
        else:
            loop = asyncio.get_running_loop()
            assert not await control.until(lambda: False, loop.time() + 0.01)
        await ticks.get()
        assert ticks.empty()
