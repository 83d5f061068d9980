"""The common part of all engines of this library: the state (``Attempts``), and the handling of ended attempts.

An engine only adds how an attempt is started, stopped and noticed to end: capacity, retries, timeouts,
cancelling and reports are here. Bound to one event loop; every method runs on its thread.
"""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.execution_plane.attempt_log import AttemptLog
from pyrallel_consumer.execution_plane.attempts import Attempt, Attempts, Exhausted, RetryAt, Uncharged, Verdict
from pyrallel_consumer.execution_plane.engine import (
    CompletionChannel,
    EngineStatus,
    ExecutionEngine,
    RunningAttempt,
    StuckAttempt,
)
from pyrallel_consumer.foreign_errors import is_a
from pyrallel_consumer.record import holds_record, lost_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem


class BookedEngine(ExecutionEngine):
    """``slots`` is the number of attempts that may run at once.

    ``is_recording``: workers return records (see ``returned.recording``), which go with the success.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        slots: int,
        *,
        jitter: Callable[[], float] = random.random,
        is_timing: bool = True,
        is_recording: bool = False,
    ) -> None:
        self._is_recording = is_recording
        self._attempts = Attempts(policy, slots, jitter, is_timing=is_timing)
        self.attempt_log = AttemptLog(ErrorText(policy.shows_error_text))
        self._is_stopped = False
        # Until the start; an engine that never started can be stopped all the same.
        self._channel = CompletionChannel(_nothing)
        self._now: Callable[[], float] = time.monotonic

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        self._channel = channel
        self._now = now

    def capacity(self) -> int:
        return 0 if self._is_stopped else self._attempts.capacity

    def sweep(self, now: float) -> None:
        for attempt in self._attempts.expired(now):
            self._stop_attempt(attempt)
        if now <= self._channel.starts_until:
            self._start_due(now)

    def next_sweep_at(self) -> float | None:
        return self._attempts.next_due_at(with_retries=self._channel.starts_until > -inf)

    def running(self, which: Callable[[WorkItem], bool] | None = None) -> int:
        running = self._attempts.running
        return len(running) if which is None else sum(map(bool, map(which, running)))

    def waiting(self) -> Sequence[WorkItem]:
        return self._attempts.waiting()

    def withdraw(self, which: Callable[[WorkItem], bool]) -> None:
        for root, uncharged in self._attempts.withdraw(which):
            self._report(root, uncharged)

    def cancel(self, which: Callable[[WorkItem], bool]) -> None:
        for attempt in self._attempts.cancel(which, self._now()):
            self._stop_attempt(attempt)

    def stuck(self, now: float) -> Sequence[StuckAttempt]:
        return [
            StuckAttempt(attempt.root, attempt.number, attempt.started_at, attempt.marked_at, attempt.is_timed_out)
            for attempt in self._attempts.running.values()
            if attempt.marked_at is not None and attempt.marked_at <= now
        ]

    def longest_running(self, most: int) -> Sequence[RunningAttempt]:
        now = self._now()
        return [
            RunningAttempt(attempt.root, attempt.number, attempt.started_at)
            for attempt in islice(self._attempts.running.values(), most)
            if attempt.started_at <= now  # Else it waits for a thread.
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
            await self._wait_ended(timeout_seconds)
        finally:
            self._abandon()

    # What an engine adds

    @abstractmethod
    def _start_due(self, now: float) -> None:
        """Start the retries that are due."""

    @abstractmethod
    def _stop_attempt(self, attempt: Attempt) -> None:
        """Make a running attempt end, if that is possible; it was just marked."""

    @abstractmethod
    async def _wait_ended(self, timeout_seconds: float) -> None:
        """Return when no attempt runs, or after ``timeout_seconds``."""

    # Called by the loop, which would not catch an exception

    def _guarded(self, call: Callable[[], None]) -> None:
        """Call ``call``. Its exception is a bug of ours, and goes to the consumer instead of the event loop."""
        try:
            call()
        except Exception as bug:  # noqa: BLE001 -- see above; what a worker raises never comes here
            self._channel.crashed(bug)

    # How attempts end

    def _keep(self, root: WorkItem, attempt: int, result: Any) -> None:
        """The worker of ``root`` returned something, and its success follows. Called on the worker's thread."""
        if self._is_recording:
            if result:
                self._channel.returned[root] = attempt, result
        elif holds_record(result):
            self._channel.crashed(lost_record())

    def _end(self, root: WorkItem, error: BaseException | None) -> None:
        """The running attempt of ``root`` returned (None) or failed with ``error``."""
        now = self._now()
        if error is None:
            self._attempts.ended_ok(root, now)
            self._report(root, None)
            return
        verdict = self._attempts.ended_failed(root, error, now)
        self._channel.returned.pop(root, None)  # Its process died after it had reported the worker's result.
        if isinstance(verdict, RetryAt):
            self.attempt_log.failed(root, verdict, now)
        self._report(root, verdict)
        if is_a(error, KeyboardInterrupt):
            self._channel.interrupted()

    def _give_back(self, root: WorkItem) -> None:
        """The running attempt of ``root`` is over without a known success or failure."""
        self._report(root, self._attempts.ended_cancelled(root, self._now()))

    def _report(self, root: WorkItem, verdict: Verdict | None) -> None:
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
        """Report attempts that did not end as cancelled, and ignore them from now on."""
        running = self._attempts.running
        while running:
            self._give_back(next(iter(running)))
        self._channel = CompletionChannel(_nothing)


def any_item(_: object) -> bool:
    """The predicate that chooses every item."""
    return True


def _nothing() -> None:
    pass
