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

from pyrallel_consumer.execution_plane.attempts import Attempts, Exhausted, Uncharged
from pyrallel_consumer.execution_plane.engine import (
    CompletionChannel,
    EngineStatus,
    ExecutionEngine,
    StuckAttempt,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem

    AsyncWorker: TypeAlias = Callable[[WorkItem], Awaitable[object]]


def _never() -> bool:
    return False


class TaskEngine(ExecutionEngine):
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
        self._worker = worker
        self._attempts = Attempts(policy, max_in_flight, jitter)
        self._given_context = base_context
        self._base = contextvars.Context()
        self._is_shutting_down = is_shutting_down
        self._is_stopped = False
        self._abandoned: list[asyncio.Task[None]] = []

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._now = now
        self._base = contextvars.copy_context() if self._given_context is None else self._given_context

    def capacity(self) -> int:
        return 0 if self._is_stopped else self._attempts.capacity

    def sweep(self, now: float) -> None:
        for attempt in self._attempts.expired(now):
            if attempt.handle is not None:
                attempt.handle.cancel()
        self._start_due(now)

    def next_sweep_at(self) -> float | None:
        return self._attempts.next_due_at()

    def running(self, which: Callable[[WorkItem], bool] | None = None) -> int:
        running = self._attempts.running
        return len(running) if which is None else sum(map(bool, map(which, running)))

    def waiting(self) -> Sequence[WorkItem]:
        return self._attempts.waiting()

    def withdraw(self, which: Callable[[WorkItem], bool]) -> None:
        for root, uncharged in self._attempts.withdraw(which):
            self._channel.cancelled(root, uncharged.attempt)

    def cancel(self, which: Callable[[WorkItem], bool]) -> None:
        for attempt in self._attempts.cancel(which, self._now()):
            attempt.handle.cancel()

    def stuck(self, now: float) -> Sequence[StuckAttempt]:
        return [
            StuckAttempt(attempt.root, attempt.number, attempt.started_at, attempt.marked_at, attempt.is_timed_out)
            for attempt in self._attempts.running.values()
            if attempt.marked_at is not None and attempt.marked_at <= now
        ]

    def status(self) -> EngineStatus:
        attempts = self._attempts
        return EngineStatus(
            running=self.running(),
            waiting_retries=attempts.waiting_count,
            due=attempts.due_count,
            retries_total=attempts.retries_total,
            timeouts_total=attempts.timeouts_total,
        )

    async def stop(self, timeout_seconds: float) -> None:
        if self._is_stopped:
            return
        self._is_stopped = True
        self.withdraw(any_item)
        self.cancel(any_item)
        try:
            if tasks := self._tasks():
                await asyncio.wait(tasks, timeout=timeout_seconds)
        finally:
            self._abandon()

    @abstractmethod
    def _start_due(self, now: float) -> None:
        """Give a task to the retries that are due."""

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
        now = self._now()
        if error is None:
            verdict = self._attempts.ended_ok(root, now)
        elif isinstance(error, CancelledError) and self._is_shutting_down():
            verdict = self._attempts.ended_cancelled(root, now)
        else:
            verdict = self._attempts.ended_failed(root, error, now)
        match verdict:
            case None:
                self._channel.succeeded(root)
            case Exhausted():
                self._channel.failed(root, verdict.error, verdict.attempt)
            case Uncharged():
                self._channel.cancelled(root, verdict.attempt)
            case _:
                self._channel.notify()  # Nothing to report, but a slot is free and the next sweep may be nearer.

    def _abandon(self) -> None:
        """Report what would not end as cancelled, and be deaf to it from now on."""
        for attempt in list(self._attempts.running.values()):
            self._abandoned.append(attempt.handle)  # The event loop holds its tasks weakly.
            verdict = self._attempts.ended_cancelled(attempt.root, self._now())
            self._channel.cancelled(attempt.root, verdict.attempt)
        self._channel = CompletionChannel(_nothing)


def any_item(_: object) -> bool:
    """The predicate that chooses every item."""
    return True


def _nothing() -> None:
    pass
