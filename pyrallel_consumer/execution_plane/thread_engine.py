"""The thread engine: plain functions that block (database drivers, HTTP clients, files), each call in a thread.

It has its own daemon threads, because a hanging thread of the standard pool keeps the interpreter from ending. A few
more calls than threads may wait here, so that a thread goes on to the next call without the loop. Waiting calls are
timed from their start, and given back if they must not start. A thread cannot be killed: a call that timed out or was
cancelled is reported as stuck, and occupies its slot and its key until it returns.

Threads and loop share a queue of calls to make and a list of ended calls, and no lock of ours.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import itertools
import math
import os
import random
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, TypeAlias

from pyrallel_consumer.errors import ExecutionError, WorkerMismatchError
from pyrallel_consumer.execution_plane.booked_engine import BookedEngine
from pyrallel_consumer.execution_plane.processes.boot_clock import boot_seconds
from pyrallel_consumer.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.attempts import Attempt
    from pyrallel_consumer.execution_plane.engine import CompletionChannel

    PlainWorker: TypeAlias = Callable[[WorkItem], object]

logger = Log("pyrallel_consumer.execution_plane")

BUSY_CALLS = 8
"""After this many ended calls since the last look, a timer triggers the next look, and not a call."""
SHORT_PAUSE_SECONDS, LONG_PAUSE_SECONDS = 0.0004, 0.004
"""Bounds of that timer. Each look makes threads wait, so few long looks are better than many short ones."""
SLOTS_PER_THREAD = 3
"""For each call that a thread makes two more may wait: a thread goes on without the loop, and the loop looks rarely."""
THREADS_AT_ONCE = 8
"""How many threads are started before other callbacks of the loop have a turn: each start waits for its thread."""
FEWEST_FITTING_THREADS = 32
FITTING_THREADS_PER_CORE = 4

_NOT_BEGUN: Final = object()
"""The handle of a call that a thread could not begin, because ``channel.starts_until`` had passed."""


def fitting_threads() -> int:
    """How many threads fit this machine: blocking calls wait and do not compute, so it is many more than cores."""
    return max(FEWEST_FITTING_THREADS, FITTING_THREADS_PER_CORE * (os.cpu_count() or 1))


def pause_seconds(seconds: float, count: int, can_wait: int) -> float:
    """Seconds until half of ``can_wait`` calls have begun, at the rate of ``count`` ended calls in ``seconds``."""
    return max(SHORT_PAUSE_SECONDS, min(seconds * can_wait / 2 / count, LONG_PAUSE_SECONDS))


class ThreadEngine(BookedEngine):
    """Runs a plain ``worker`` in up to ``threads`` threads, which are started as they are needed and end with ``stop``.

    ``threads`` is at most ``slots``, its default; the difference is how many calls may wait for a thread.
    Every attempt's context is a copy of ``base_context`` (default: the context of ``start``'s caller).
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
        is_recording: bool = False,
    ) -> None:
        super().__init__(policy, slots, jitter=jitter, is_recording=is_recording)
        self._slots = slots
        self._timeout_ms = policy.timeout_ms
        self._max_threads = slots if threads is None else threads
        self._worker = worker
        self._given_context = base_context
        self._base = contextvars.Context()
        self._calls: SimpleQueue[Attempt | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._numbers = itertools.count(1)
        self._all_ended = asyncio.Event()
        self._ended: list[Attempt] = []  # with what the call raised as handle, or _NOT_BEGUN
        self._held: list[Attempt] = []
        self._look_calls = [
            True
        ]  # Holds one entry while a thread must call the loop: the thread that removes it calls.
        self._looked_at = 0.0
        self._is_short_of_threads = False
        self._is_adding_threads = False

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        await super().start(channel, now)
        self._loop = asyncio.get_running_loop()
        self._base = contextvars.copy_context() if self._given_context is None else self._given_context

    def submit(self, item: WorkItem) -> None:
        self.submit_all((item,))

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self._call(self._attempts.start_all(items, math.inf))

    def next_sweep_at(self) -> float | None:
        at = super().next_sweep_at()
        return None if at == math.inf else at

    def withdraw(self, which: Callable[[WorkItem], bool]) -> None:
        super().withdraw(which)
        self._take_back(which)

    def cancel(self, which: Callable[[WorkItem], bool]) -> None:
        self._take_back(which)
        super().cancel(which)

    def heed_lease(self) -> None:
        if self._held and not self._is_stopped and self._now() <= self._channel.starts_until:
            held, self._held = self._held, []
            self._call(held)

    def _take_back(self, which: Callable[[WorkItem], bool]) -> None:
        """Give back calls that no thread has begun; the others keep waiting in their order."""
        held, self._held = self._held, []
        for unbegun in held:
            if which(unbegun.root):
                self._give_back(unbegun.root)
            else:
                self._held.append(unbegun)
        waiting = []
        with suppress(Empty):
            while True:
                waiting.append(self._calls.get_nowait())
        for attempt in waiting:
            if attempt is not None and which(attempt.root):
                self._give_back(attempt.root)
            else:
                self._calls.put(attempt)

    def _start_due(self, now: float) -> None:
        self._call(self._attempts.due(now))

    def _stop_attempt(self, attempt: Attempt) -> None:
        """Nothing can be done: a call that has begun ends by itself."""
        if attempt.is_timed_out and not attempt.is_cancelled:
            self.attempt_log.overdue(attempt, self._timeout_ms, self._now())

    async def _wait_ended(self, timeout_seconds: float) -> None:
        try:
            if self._attempts.running:
                with suppress(TimeoutError):
                    async with asyncio.timeout(timeout_seconds):
                        await self._all_ended.wait()
        finally:
            for _ in self._threads:
                self._calls.put(None)

    def _call(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            attempt.started_at = math.inf
            self._calls.put(attempt)
        if not self._is_adding_threads:
            self._add_threads()

    def _add_threads(self) -> None:
        """Start a thread for each call, up to the limit: some now, the others in the loop's next turns."""
        self._is_adding_threads = False
        if self._is_stopped:
            return
        missing = min(self._max_threads, len(self._attempts.running)) - len(self._threads)
        for _ in range(min(missing, THREADS_AT_ONCE)):
            if not self._add_thread():
                return
        if missing > THREADS_AT_ONCE:
            self._is_adding_threads = True
            self._loop.call_soon(self._guarded, self._add_threads, context=self._base)

    def _add_thread(self) -> bool:
        name = f"pyrallel-worker-{next(self._numbers)}"
        thread = threading.Thread(target=self._serve, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # The machine allows no more threads: the existing ones do all the work.
            if not self._threads:
                failure = ExecutionError("no thread could be started to run workers")
                failure.__cause__ = error
                self._channel.crashed(failure)
            elif not self._is_short_of_threads:
                self._is_short_of_threads = True
                logger.warning("the machine gives no more than %d threads for workers: %s", len(self._threads), error)
            return False
        self._threads.append(thread)
        self._is_short_of_threads = False
        return True

    # On the loop

    def _take_ended(self) -> None:
        """Take in ended calls. While many end, look again after a moment: a wake for each call costs too much."""
        ended = self._ended
        is_busy = len(ended) >= BUSY_CALLS
        if not is_busy:
            self._look_calls.append(True)  # Before the list is taken, so that no ended call is missed.
        count = len(ended)
        taken = ended[:count]
        del ended[:count]
        self._take(taken)
        now = self._now()
        if is_busy:
            can_wait = 0 if self._calls.empty() else self._slots - self._max_threads
            pause = pause_seconds(now - self._looked_at, count, can_wait)
            self._loop.call_later(pause, self._guarded, self._take_ended, context=self._base)
        self._looked_at = now

    def _take(self, ended: Sequence[Attempt]) -> None:
        running = self._attempts.running
        returned = []
        for attempt in ended:
            error, attempt.handle = attempt.handle, None
            if running.get(attempt.root) is not attempt:
                continue  # It was abandoned.
            if error is _NOT_BEGUN:
                self._hold(attempt)
            elif error is None:
                returned.append(attempt)
            else:
                self._end(attempt.root, error)
        if returned:
            self._attempts.all_ended_ok(returned, self._now())
            self._channel.successes.extend([attempt.root for attempt in returned])
            self._channel.notify()
        if self._is_stopped and not running:
            self._all_ended.set()
        self.heed_lease()

    def _hold(self, attempt: Attempt) -> None:
        """A thread took this call and could not begin it, because the lease had run out."""
        attempt.started_at = math.inf
        if self._is_stopped or attempt.is_cancelled:
            self._give_back(attempt.root)
        else:
            self._held.append(attempt)

    # In the threads

    def _serve(self) -> None:
        try:
            self._serve_calls()
        except Exception as bug:  # noqa: BLE001 -- this is ours: it must reach the consumer, and not end with the thread
            with suppress(RuntimeError):  # The loop is closed.
                self._channel.crashed(bug)

    def _serve_calls(self) -> None:
        calls, now, ended, worker, base = self._calls, self._now, self._ended, self._worker, self._base
        channel = self._channel
        while (attempt := calls.get()) is not None:
            began_at = now()
            if began_at > channel.starts_until or boot_seconds() > channel.starts_until_boot:
                attempt.handle = _NOT_BEGUN
            else:
                attempt.started_at = began_at
                try:
                    result = base.copy().run(worker, attempt.item)
                    if result is not None:
                        if inspect.iscoroutine(result):
                            result.close()
                            raise WorkerMismatchError(
                                "the worker returned a coroutine, which nobody awaits in a thread: use "
                                "ExecutionMode.ASYNC"
                            )
                        self._keep(attempt.root, attempt.number, result)
                except BaseException as raised:  # noqa: BLE001 -- around the worker: whatever it raises is a failed attempt
                    attempt.handle = raised
            ended.append(attempt)
            try:
                if self._look_calls and self._look_calls.pop():
                    self._loop.call_soon_threadsafe(self._guarded, self._take_ended, context=base)
            except IndexError:
                pass  # Another thread calls, for both.
            except RuntimeError:
                return  # The loop is closed: no receiver is left.
            attempt = result = None  # An idle thread keeps no message alive.
