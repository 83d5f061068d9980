"""An engine as a third party writes one: what it runs on is the standard library's pool of threads, the rest is ours.

It stands on ``BookedEngine``, which keeps slots, retries and timeouts, and adds how a call is made and seen to end.
"""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from pyrallel_consumer.execution_plane.booked_engine import BookedEngine
from pyrallel_consumer.testing.engine_contract import EngineContract, plain_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.attempts import Attempt
    from pyrallel_consumer.execution_plane.engine import CompletionChannel, ExecutionEngine


class PoolEngine(BookedEngine):
    """Calls ``worker`` in a ``ThreadPoolExecutor`` of as many threads as there are slots."""

    def __init__(self, worker: Callable[[WorkItem], object], policy: RetryPolicy, slots: int) -> None:
        super().__init__(policy, slots)
        self._worker = worker
        self._pool = ThreadPoolExecutor(slots)
        self._idle = asyncio.Event()

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        await super().start(channel, now)
        self._loop = asyncio.get_running_loop()
        self._base = contextvars.copy_context()

    def submit(self, item: WorkItem) -> None:
        self._call(self._attempts.start(item, self._now()))

    def _start_due(self, now: float) -> None:
        for attempt in self._attempts.due(now):
            self._call(attempt)

    def _call(self, attempt: Attempt) -> None:
        future = self._pool.submit(self._base.copy().run, self._worker, attempt.item)
        future.add_done_callback(lambda done: self._on_loop(attempt, done))

    def _on_loop(self, attempt: Attempt, done: Future[object]) -> None:
        with suppress(RuntimeError):  # The loop is closed: nobody waits for the call any more.
            self._loop.call_soon_threadsafe(self._ended, attempt, done.exception())

    def _ended(self, attempt: Attempt, error: BaseException | None) -> None:
        if self._attempts.running.get(attempt.root) is attempt:
            self._end(attempt.root, error)
        if not self._attempts.running:
            self._idle.set()

    def _stop_attempt(self, attempt: Attempt) -> None:
        """A thread cannot be stopped."""

    async def _wait_ended(self, timeout_seconds: float) -> None:
        self._idle.clear()
        if self._attempts.running:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await self._idle.wait()
        self._pool.shutdown(wait=False)


class TestPoolEngine(EngineContract):
    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
        return PoolEngine(plain_worker, policy, slots)
