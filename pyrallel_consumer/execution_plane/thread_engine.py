"""The thread engine: plain functions that block (database drivers, HTTP clients, files), each call in a thread.

Own daemon threads, for the standard pool's keep the interpreter from ending while one of them hangs. A few more calls
than there are threads may wait here, so that a thread goes from one to the next without the loop; those are timed from
their beginning, and handed back when they are not to begin. A thread cannot be killed: a call that timed out or was
cancelled is reported as stuck, and holds its slot and its key until it returns.

Threads and loop share two things: a queue of calls to make, and, behind a lock, the list of calls that ended.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import itertools
import logging
import math
import os
import random
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from pyrallel_consumer.errors import ExecutionError, WorkerMismatchError
from pyrallel_consumer.execution_plane.booked_engine import BookedEngine

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.attempts import Attempt
    from pyrallel_consumer.execution_plane.engine import CompletionChannel

    PlainWorker: TypeAlias = Callable[[WorkItem], object]
    Ended: TypeAlias = tuple[Attempt, BaseException | None]

logger = logging.getLogger("pyrallel_consumer.execution_plane")

BUSY_CALLS = 8
"""When so many calls have ended since the last look, the next look comes by time and not by call."""
PAUSE_SECONDS = 0.0004
FEWEST_FITTING_THREADS = 32
FITTING_THREADS_PER_CORE = 4


def fitting_threads() -> int:
    """How many threads fit this machine: blocking calls wait and do not compute, so it is many more than cores."""
    return max(FEWEST_FITTING_THREADS, FITTING_THREADS_PER_CORE * (os.cpu_count() or 1))


class Call:
    """An attempt on its way to a thread. Who takes its one claim has it: a thread, or who takes it back."""

    __slots__ = ("attempt", "claim", "context")

    def __init__(self, attempt: Attempt, context: contextvars.Context) -> None:
        self.attempt = attempt
        self.context = context
        self.claim = [True]

    def is_claimed_now(self) -> bool:
        """True for one caller, whatever the threads; ``pop`` is one step with and without the interpreter's lock."""
        try:
            return self.claim.pop()
        except IndexError:
            return False


class ThreadEngine(BookedEngine):
    """Runs a plain ``worker`` in up to ``threads`` threads, which are started as they are needed and end with ``stop``.

    ``threads`` is at most ``slots``, and is that unless told; the difference is how many calls may wait for a thread.
    ``base_context`` is what every attempt's context is copied from (default: the caller's of ``start``).
    """

    def __init__(
        self,
        worker: PlainWorker,
        policy: RetryPolicy,
        slots: int,
        base_context: contextvars.Context | None = None,
        *,
        threads: int | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(policy, slots, jitter=jitter)
        self._max_threads = slots if threads is None else threads
        self._worker = worker
        self._given_context = base_context
        self._base = contextvars.Context()
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._numbers = itertools.count(1)
        self._all_ended = asyncio.Event()
        self._lock = threading.Lock()
        self._ended: list[Ended] = []
        self._is_loop_called = False

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        await super().start(channel, now)
        self._loop = asyncio.get_running_loop()
        self._base = contextvars.copy_context() if self._given_context is None else self._given_context

    def submit(self, item: WorkItem) -> None:
        self._call(self._attempts.start(item, self._now()))

    def next_sweep_at(self) -> float | None:
        at = super().next_sweep_at()
        return None if at == math.inf else at

    def withdraw(self, which: Callable[[WorkItem], bool]) -> None:
        super().withdraw(which)
        if len(self._attempts.running) > len(self._threads):
            for attempt in list(self._attempts.running.values()):
                if which(attempt.root):
                    self._stop_attempt(attempt)

    def _start_due(self, now: float) -> None:
        for attempt in self._attempts.due(now):
            self._call(attempt)

    def _stop_attempt(self, attempt: Attempt) -> None:
        """What has not begun is given back; what has, ends when it ends."""
        call: Call = attempt.handle
        if call.is_claimed_now():
            self._give_back(attempt.root)

    async def _wait_ended(self, timeout_seconds: float) -> None:
        try:
            if self._attempts.running:
                with suppress(TimeoutError):
                    async with asyncio.timeout(timeout_seconds):
                        await self._all_ended.wait()
        finally:
            for _ in self._threads:
                self._calls.put(None)

    def _call(self, attempt: Attempt) -> None:
        attempt.started_at = math.inf
        attempt.handle = Call(attempt, self._base.copy())
        self._calls.put(attempt.handle)
        if len(self._threads) < min(self._max_threads, len(self._attempts.running)):
            self._add_thread()

    def _add_thread(self) -> None:
        name = f"pyrallel-worker-{next(self._numbers)}"
        thread = threading.Thread(target=self._serve, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # The machine gives no more: those that are there do all the work.
            if not self._threads:
                failure = ExecutionError("no thread could be started to run workers")
                failure.__cause__ = error
                self._channel.crashed(failure)
            elif len(self._attempts.running) == len(self._threads) + 1:
                logger.warning("the machine gives no more than %d threads for workers: %s", len(self._threads), error)
        else:
            self._threads.append(thread)

    # On the loop

    def _take_ended(self) -> None:
        """Take in what ended. While much ends, come again by itself after a moment: a call for each costs too much."""
        with self._lock:
            ended, self._ended = self._ended, []
            is_busy = self._is_loop_called = len(ended) >= BUSY_CALLS
        running = self._attempts.running
        for attempt, error in ended:
            if running.get(attempt.root) is attempt:  # Else it was abandoned.
                self._end(attempt.root, error)
        if self._is_stopped and not running:
            self._all_ended.set()
        if is_busy:
            self._loop.call_later(PAUSE_SECONDS, self._take_ended, context=self._base)

    # In the threads

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                if self._begin(call):
                    self._hand_back((call.attempt, self._outcome(call)))
            except RuntimeError:
                return  # The loop is closed: nobody waits for calls any more.
            del call  # An idle thread keeps no message alive.

    def _begin(self, call: Call) -> bool:
        if not call.is_claimed_now():
            return False
        call.attempt.started_at = self._now()
        return True

    def _outcome(self, call: Call) -> BaseException | None:
        """Make the call: None = it returned."""
        try:
            result = call.context.run(self._worker, call.attempt.item)
            if inspect.iscoroutine(result):
                result.close()
                raise WorkerMismatchError(
                    "the worker returned a coroutine, which nobody awaits in a thread: use ExecutionMode.ASYNC"
                )
        except BaseException as error:  # noqa: BLE001 -- around the worker: whatever it raises is a failed attempt
            return error
        return None

    def _hand_back(self, ended: Ended) -> None:
        with self._lock:
            self._ended.append(ended)
            if self._is_loop_called:
                return
            self._is_loop_called = True
        self._loop.call_soon_threadsafe(self._take_ended, context=self._base)
