"""Facts that other threads hand to the pump are processed at once, without the help of the ticker, which is off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from pyrallel_consumer.control_plane.events import Assigned, Delivered
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import RetryPolicy, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import Message, TopicPartition, WorkItem
from pyrallel_consumer.execution_plane.attempts import Attempt
from pyrallel_consumer.execution_plane.booked_engine import BookedEngine
from pyrallel_consumer.execution_plane.engine import ExecutionEngine
from pyrallel_consumer.execution_plane.thread_engine import ThreadEngine
from pyrallel_consumer.runtime.pump import timers
from pyrallel_consumer.testing.messages import PlainMessage
from tests.unit.silent_pump import Silent, silent_pump

PATIENCE_SECONDS = 30.0
ROUNDS = 300
SIDES = (TopicPartition("orders", 0), TopicPartition("orders", 1), TopicPartition("orders", 2))


class ReportingEngine(BookedEngine):
    """A third party's engine: its threads report to the channel, and only these reports wake the loop."""

    def __init__(self) -> None:
        super().__init__(RetryPolicy(), 8)
        self._pool = ThreadPoolExecutor(8)

    def submit(self, item: WorkItem) -> None:
        self._pool.submit(self._channel.succeeded, item)

    def _start_due(self, now: float) -> None: ...
    def _stop_attempt(self, attempt: Attempt) -> None: ...
    async def _wait_ended(self, timeout_seconds: float) -> None:
        self._pool.shutdown()


def plain_engine() -> ExecutionEngine:
    return ThreadEngine(lambda _: None, RetryPolicy(timeout_ms=0), 8)


class NotingManager(WorkManager):
    """Reports every success to the origin of its partition."""

    def __init__(self) -> None:
        super().__init__(WorkPolicy())
        self.done = [threading.Semaphore(0) for _ in SIDES]

    def succeed(self, items: Sequence[WorkItem], now: float | None = None) -> None:
        super().succeed(items, now)
        for item in items:
            self.done[item.partition].release()


@pytest.mark.parametrize("made_engine", [plain_engine, ReportingEngine])
async def test_nothing_is_left_unheard_in_any_interleaving(
    made_engine: Callable[[], ExecutionEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "TICK_SECONDS", 10 * PATIENCE_SECONDS)
    failures: list[BaseException] = []
    manager, engine = NotingManager(), made_engine()
    control = await silent_pump(manager, engine, failures)
    control.start(Silent())

    def one_side(tp: TopicPartition) -> None:
        """One message at a time, each as soon as the earlier one is done: when the loop is about to sleep."""
        control.deliver(Assigned(tp, 1, 0, OffsetMap(0, 0)))
        for offset in range(ROUNDS):
            messages: list[Message] = [PlainMessage(tp.topic, tp.partition, offset, b"%d" % offset, b"")]
            control.deliver(Delivered(tp, 1, messages))
            assert manager.done[tp.partition].acquire(timeout=PATIENCE_SECONDS), f"{tp} went unheard at {offset}"

    await asyncio.gather(*(asyncio.to_thread(one_side, tp) for tp in SIDES))
    control.stop()
    await engine.stop(PATIENCE_SECONDS)

    assert failures == []
    assert manager.processed == ROUNDS * len(SIDES)
