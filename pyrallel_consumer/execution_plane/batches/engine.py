"""The engine of batches: it wraps an engine that makes one call of the worker for each of its items.

The inner engine gets a ``Batch`` as its item, tries it once, and knows nothing about messages. It handles timeouts of
calls, slots of calls and dead processes. ``BatchBook`` decides what the end of a call means for each message.
Everything here is on the event loop's thread. Messages of one key are sent ahead: see the laws in ``engine``.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from dataclasses import replace
from itertools import islice
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING

from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.execution_plane.attempt_log import AttemptLog
from pyrallel_consumer.execution_plane.batches.batch import Batch
from pyrallel_consumer.execution_plane.batches.book import BatchBook
from pyrallel_consumer.execution_plane.engine import (
    CompletionChannel,
    EngineStatus,
    ExecutionEngine,
    RunningAttempt,
    StuckAttempt,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyrallel_consumer.control_plane.policies import BatchPolicy, RetryPolicy
    from pyrallel_consumer.dto import WorkItem


_START_SECONDS = 0.002
"""How long first steps may take, together, before the loop's other callbacks have a turn."""


def call_policy(retry: RetryPolicy) -> RetryPolicy:
    """The retry policy of the inner engine: the timeout, and only one attempt."""
    return replace(retry, max_attempts=0)


class BatchEngine(ExecutionEngine):
    """Runs batches by ``inner``, which was made with ``call_policy`` and a worker that takes a ``Batch``.

    ``slots`` is how many messages may be started and not finished.
    """

    is_keeping_order = True
    is_joining = True

    def __init__(
        self,
        inner: ExecutionEngine,
        policy: BatchPolicy,
        retry: RetryPolicy,
        slots: int,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._inner = inner
        self._most = min(policy.size, slots)
        self._channel = CompletionChannel(_nothing)
        self._calls = _CallChannel(self._channel, _nothing)
        self._book = BatchBook(replace(policy, size=self._most), retry, slots, jitter, self._channel)
        self.attempt_log = AttemptLog(ErrorText(retry.shows_error_text))
        self._now: Callable[[], float] = time.monotonic
        self._is_stopped = False
        self._is_looking = False

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self._channel = self._book.channel = channel
        self._calls = _CallChannel(channel, self._on_report)
        await self._inner.start(self._calls, now)

    def run_length(self) -> int:
        return self._most

    def capacity(self) -> int:
        return 0 if self._is_stopped else self._book.capacity

    def submit(self, item: WorkItem) -> None:
        self.submit_all((item,))

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self._book.submit_all(items, self._now())
        self._make_calls()

    def nothing_follows(self) -> None:
        if not self._book.running:
            self._make_calls(is_enough=True)

    def sweep(self, now: float) -> None:
        inner_at = self._inner.next_sweep_at()
        if inner_at is not None and inner_at <= now:
            self._inner.sweep(now)
            self._take_in()
        if now <= self._channel.starts_until:
            self._book.wake(now)
        self._make_calls()

    def next_sweep_at(self) -> float | None:
        inner_at = self._inner.next_sweep_at()
        if self._inner.capacity() <= 0 or self._channel.starts_until == -inf:
            return inner_at
        call_at = self._book.next_call_at()
        return min((at for at in (inner_at, call_at) if at is not None), default=None)

    def heed_lease(self) -> None:
        self._inner.heed_lease()
        self._make_calls()

    def running(self, which: Callable[[WorkItem], bool] | None = None) -> int:
        running = self._book.running
        if which is None:
            return sum(map(len, running))
        return sum([sum(map(bool, map(which, batch.roots))) for batch in running])

    def waiting(self) -> Sequence[WorkItem]:
        return self._book.sleepers.roots()

    def withdraw(self, which: Callable[[WorkItem], bool]) -> None:
        self._book.withdraw(which, self._now())
        if any(batch.leaving for batch in self._book.running):
            self._inner.withdraw(_is_leaving)
        self._take_in()

    def cancel(self, which: Callable[[WorkItem], bool]) -> None:
        self._book.withdraw(which, self._now())
        self._inner.cancel(lambda batch: any(map(which, _roots(batch))))
        self._take_in()

    def stuck(self, now: float) -> Sequence[StuckAttempt]:
        return [
            StuckAttempt(root, item.attempt, stuck.started_at, stuck.marked_at, stuck.is_timed_out)
            for stuck in self._inner.stuck(now)
            for root, item in _messages(stuck.item)
        ]

    def longest_running(self, most: int) -> Sequence[RunningAttempt]:
        told = (
            RunningAttempt(root, item.attempt, running.started_at)
            for running in self._inner.longest_running(most)
            for root, item in _messages(running.item)
        )
        return list(islice(told, most))

    def status(self) -> EngineStatus:
        sleepers = self._book.sleepers
        return EngineStatus(
            running=self.running(),
            waiting_retries=len(sleepers),
            due=sleepers.due_count,
            retries_total=self._book.retries_total,
            timeouts_total=self._inner.status().timeouts_total,
            batches=self._book.sizes.figures(),
        )

    async def stop(self, timeout_seconds: float) -> None:
        if self._is_stopped:
            return
        self._is_stopped = True
        self._book.withdraw(_any, self._now())
        try:
            await self._inner.stop(timeout_seconds)
        finally:
            self._take_in()
            self._book.withdraw(_any, self._now())
            self._channel.notify()

    # Calls

    def _make_calls(self, *, is_enough: bool = False) -> None:
        """Make all calls that may be made; calls that end at once make room for more."""
        inner, book, now = self._inner, self._book, self._now
        is_looking, self._is_looking = self._is_looking, True
        give_way_at = now() + _START_SECONDS
        while not self._is_stopped and inner.capacity() > 0 and now() <= self._channel.starts_until:
            batch = book.take_call(now(), is_enough=is_enough)
            if batch is None:
                break
            inner.submit(batch)
            self._take_in()
            if now() >= give_way_at:
                self._channel.notify()  # The sweep of the turn that this brings finds the others.
                break
        self._is_looking = is_looking

    def _on_report(self) -> None:
        """A call ended, or the engine broke; the inner engine finishes its own steps first."""
        if get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self._look)
        elif not self._is_looking:
            self._is_looking = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._is_looking = False
        try:
            self._take_in()
            self._make_calls()
        except Exception as bug:  # noqa: BLE001 -- this is ours: it must reach the consumer, not the event loop
            self._channel.crashed(bug)
        self._channel.notify()

    def _take_in(self) -> None:
        """Take in the calls that ended."""
        calls, book = self._calls, self._book
        if not calls.has_items:
            calls.is_notified = False
            return
        if calls.is_interrupted:
            calls.is_interrupted = False
            self._channel.interrupted()
        finished = calls.drain(sys.maxsize)
        now = self._now()
        for batch in finished.successes:  # The inner engine has nothing but batches.
            told = calls.returned.pop(batch, None) if calls.returned else None
            if told is None:
                book.succeeded(batch, now)  # type: ignore[arg-type]  # as above
            else:
                book.returned(batch, told[1], now)  # type: ignore[arg-type]  # and records of batches
        for failed in finished.failures:
            book.failed(failed.item, failed.error, now)  # type: ignore[arg-type]  # as above
        for cancelled in finished.cancellations:
            book.given_back(cancelled.item, now)  # type: ignore[arg-type]  # as above
        if book.charged or book.searched:
            self._tell(now)
        self._channel.notify()

    def _tell(self, now: float) -> None:
        book, log = self._book, self.attempt_log
        for root, retry in book.charged:
            log.failed(root, retry, now)
        for batch, error in book.searched:
            log.searched(batch, len(batch), error, now)
        book.charged.clear()
        book.searched.clear()


class _CallChannel(CompletionChannel):
    """The inner engine's channel. The loop sets on the outer channel until when attempts may start."""

    def __init__(self, outer: CompletionChannel, wake: Callable[[], None]) -> None:
        self._outer = outer
        super().__init__(wake)

    @property
    def starts_until(self) -> float:
        return self._outer.starts_until

    @starts_until.setter
    def starts_until(self, _: float) -> None: ...

    @property
    def starts_until_boot(self) -> float:
        return self._outer.starts_until_boot

    @starts_until_boot.setter
    def starts_until_boot(self, _: float) -> None: ...


def _roots(batch: WorkItem) -> Sequence[WorkItem]:
    return batch.roots if isinstance(batch, Batch) else ()


def _messages(batch: WorkItem) -> Iterator[tuple[WorkItem, WorkItem]]:
    """Root and item of each message."""
    return zip(batch.roots, batch.items, strict=True) if isinstance(batch, Batch) else iter(())


def _is_leaving(batch: WorkItem) -> bool:
    return isinstance(batch, Batch) and bool(batch.leaving)


def _any(_: object) -> bool:
    return True


def _nothing() -> None:
    pass
