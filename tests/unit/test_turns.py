"""The pump takes one turn per iteration of the loop at most, however many ask for one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from pyrallel_consumer.control_plane.events import Assigned, Delivered
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import RetryPolicy, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import TopicPartition, WorkItem
from pyrallel_consumer.execution_plane.async_engine import AsyncEngine
from pyrallel_consumer.runtime.pump.timers import TICK_SECONDS
from pyrallel_consumer.testing.messages import PlainMessage
from tests.unit.silent_pump import Silent, silent_pump

TP = TopicPartition("orders", 0)


class CountedTurns(AsyncEngine):  # type: ignore[valid-type, misc]  # the form that fits this Python
    """Counts turns: each turn first asks once when a sweep is due."""

    asked = 0

    def next_sweep_at(self) -> float | None:
        self.asked += 1
        found: float | None = super().next_sweep_at()
        return found


async def test_ticks_and_deliveries_during_steady_work_never_add_up_to_several_turns_in_a_row() -> None:
    loop = asyncio.get_running_loop()
    failures: list[BaseException] = []

    async def worker(item: WorkItem) -> None:
        await asyncio.sleep(0)

    manager = WorkManager(WorkPolicy())
    engine = CountedTurns(worker, RetryPolicy(), 100)
    control = await silent_pump(manager, engine, failures)
    control.deliver(Assigned(TP, 1, 0, OffsetMap(0, 0)))

    control.start(Silent())
    most, offset, end_at = 0, 0, loop.time() + 20 * TICK_SECONDS
    while loop.time() < end_at:
        messages = [PlainMessage("orders", 0, offset + i, b"%d" % i, b"") for i in range(50)]
        await asyncio.to_thread(control.deliver, Delivered(TP, 1, list(messages)))
        offset += 50
        for _ in range(20):
            before = engine.asked
            await asyncio.sleep(0)
            most = max(most, engine.asked - before)
    control.stop()
    await engine.stop(1.0)

    assert failures == []
    assert most <= 2  # a turn asks before its work, and once more after it for its alarm


class SlowStarts(AsyncEngine):  # type: ignore[valid-type, misc]  # the form that fits this Python
    """Starts nothing, and takes a little more than a millisecond by a clock of its own."""

    seconds = 0.0
    starts = 0

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self.starts += 1
        self.seconds += 0.0011


@pytest.mark.parametrize(("waited_ms", "starts"), [(0, 2), (0.5, 2), (3, 6), (1000, 10)])
async def test_a_turn_lasts_longer_where_the_loop_kept_it_waiting_within_bounds(waited_ms: float, starts: int) -> None:
    async def worker(_: WorkItem) -> None: ...

    failures: list[BaseException] = []
    engine = SlowStarts(worker, RetryPolicy(), 10_000)
    control = await silent_pump(WorkManager(WorkPolicy()), engine, failures, lambda: engine.seconds)
    control.deliver(Assigned(TP, 1, 0, OffsetMap(0, 0)))
    control.deliver(Delivered(TP, 1, [PlainMessage("orders", 0, i, b"%d" % i, b"") for i in range(5000)]))

    control.start(Silent())  # and its first turn is asked for
    engine.seconds += waited_ms / 1000
    await asyncio.sleep(0)
    control.stop()
    await engine.stop(1.0)

    assert failures == []
    assert engine.starts == starts
