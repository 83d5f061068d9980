"""What all forms of the async engine share: attempts are coroutines on the event loop, each in a context of its own.

Owns the books (``Attempts``) and what becomes of an attempt that ended. A form adds how an attempt gets a task. Bound
to one event loop, on which every method runs; it never uses the loop's task factory, which is the user's.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from abc import abstractmethod
from asyncio import CancelledError
from typing import TYPE_CHECKING, TypeAlias

from pyrallel_consumer.execution_plane.booked_engine import BookedEngine, any_item

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.attempts import Attempt
    from pyrallel_consumer.execution_plane.engine import CompletionChannel

    AsyncWorker: TypeAlias = Callable[[WorkItem], Awaitable[object]]

__all__ = ["TaskEngine", "any_item"]


def _never() -> bool:
    return False


class TaskEngine(BookedEngine):
    """Runs an ``async def`` worker as isolated tasks of the running event loop.

    ``base_context`` is what every attempt's context is copied from (default: the caller's of ``start``).
    ``is_shutting_down`` tells whether a cancellation that this engine did not ask for is the program's end, as when
    ``asyncio.run`` cancels all tasks: then it is no failure of the worker. It is asked when such an attempt ended, so
    it must be true from the very moment of cancelling on (``task.cancelling() > 0`` of the supervising task is).
    """

    def __init__(
        self,
        worker: AsyncWorker,
        policy: RetryPolicy,
        max_in_flight: int,
        base_context: contextvars.Context | None = None,
        *,
        is_shutting_down: Callable[[], bool] = _never,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(policy, max_in_flight, jitter=jitter)
        self._worker = worker
        self._given_context = base_context
        self._base = contextvars.Context()
        self._is_shutting_down = is_shutting_down
        self._abandoned: list[asyncio.Task[None]] = []

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        await super().start(channel, now)
        self._loop = asyncio.get_running_loop()
        self._base = contextvars.copy_context() if self._given_context is None else self._given_context

    @abstractmethod
    def _start_due(self, now: float) -> None:
        """Give a task to the retries that are due."""

    def _stop_attempt(self, attempt: Attempt) -> None:
        if attempt.handle is not None:
            attempt.handle.cancel()

    async def _wait_ended(self, timeout_seconds: float) -> None:
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=timeout_seconds)

    def _tasks(self) -> list[asyncio.Task[None]]:
        """All tasks of this engine that have not ended."""
        return [attempt.handle for attempt in self._attempts.running.values()]

    async def _run(self, root: WorkItem, item: WorkItem) -> None:
        """One attempt from its first step to its report. Raises only when it is thrown away unfinished."""
        try:
            await self._worker(item)
        except BaseException as error:  # Around the worker: whatever it raises is a failed attempt.
            if isinstance(error, GeneratorExit) and not self._loop.is_running():
                raise  # The loop is gone and the interpreter closes what is left: nobody is there to be told.
            self._ended(root, error)
        else:
            attempt = self._attempts.running.get(root)
            if attempt is not None:  # Else it is a first attempt that never waited: it has no slot to give back.
                if attempt.marked_at is not None:
                    self._ended(root, None)
                    return
                self._attempts.ended_ok(root, self._now())
            channel = self._channel
            channel.successes.append(root)
            if not channel.is_notified:
                channel.notify()

    def _ended(self, root: WorkItem, error: BaseException | None) -> None:
        try:
            self._conclude(root, error)
        except BaseException as bug:  # noqa: BLE001 -- ours, not the worker's: it must reach the loop, not a task
            self._channel.crashed(bug)

    def _conclude(self, root: WorkItem, error: BaseException | None) -> None:
        if root not in self._attempts.running:
            if self._is_stopped:
                return  # It was abandoned and reported as cancelled.
            self._attempts.start(root, self._now())
        if isinstance(error, CancelledError) and self._is_shutting_down():
            self._give_back(root)
        else:
            self._end(root, error)

    def _abandon(self) -> None:
        self._abandoned += [attempt.handle for attempt in self._attempts.running.values()]  # Loops hold tasks weakly.
        super()._abandon()
