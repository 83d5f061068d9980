"""The async engine: each attempt is one plain asyncio task with its own context.

From Python 3.12 on a task takes its first step while it is made (*eager*). So a message that never waits is done when
``submit`` returns, and is never recorded as running. On 3.11 a task begins in a later turn of the loop; there only few
are made at a time, so that many slow first steps do not block the loop. Both forms keep the same contract.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import sys
from abc import abstractmethod
from asyncio import CancelledError, Task
from collections import deque
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias

from pyrallel_consumer.execution_plane.booked_engine import BookedEngine
from pyrallel_consumer.foreign_errors import drop_first_frame, is_a

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.attempts import Attempt
    from pyrallel_consumer.execution_plane.engine import CompletionChannel

    AsyncWorker: TypeAlias = Callable[[WorkItem], Awaitable[object]]

_START_SECONDS = 0.002
"""How long first steps may take together, before the loop's other callbacks have a turn."""

_MOST_BEGINNING = 256
"""How many tasks may wait for their first step, if tasks are not eager."""


_Task: Any = Task
"""Takes ``eager_start`` from Python 3.12 on. Called with all arguments: a ``partial`` would cost half as much again."""


def _never() -> bool:
    return False


class PlainEngine(BookedEngine):
    """Runs an ``async def`` worker as isolated attempts on the running event loop.

    Every attempt's context is a copy of ``base_context`` (default: the context of ``start``'s caller).
    ``is_shutting_down`` tells whether a cancellation that this engine did not ask for is the program's end, as when
    ``asyncio.run`` cancels all tasks: then it is no failure of the worker. It is asked when such an attempt has ended,
    so it must be true from the moment of cancelling on, as ``task.cancelling() > 0`` of the supervising task is. The
    loop's task factory is the user's and is never used.
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
        is_recording: bool = False,
    ) -> None:
        super().__init__(policy, max_in_flight, jitter=jitter, is_recording=is_recording)
        self._worker = worker
        self._given_context = base_context
        self._base = contextvars.Context()
        self._is_shutting_down = is_shutting_down
        self._abandoned: list[Task[None]] = []
        self._unbegun: deque[Attempt] = deque()
        """Attempts that hold a slot and have no task yet."""

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        await super().start(channel, now)
        self._loop = asyncio.get_running_loop()
        self._base = contextvars.copy_context() if self._given_context is None else self._given_context

    def submit(self, item: WorkItem) -> None:
        self.submit_all((item,))

    def withdraw(self, which: Callable[[WorkItem], bool]) -> None:
        super().withdraw(which)
        for attempt in [attempt for attempt in self._unbegun if which(attempt.root)]:
            self._unbegun.remove(attempt)
            self._give_back(attempt.root)

    def heed_lease(self) -> None:
        if self._unbegun:
            self._begin_more()

    def _may_begin(self) -> bool:
        return self._now() <= self._channel.starts_until

    @abstractmethod
    def _begin_more(self) -> None:
        """Make tasks for attempts without one, in their order, as far as they may begin now."""

    def _stop_attempt(self, attempt: Attempt) -> None:
        if attempt.handle is not None:
            attempt.handle.cancel()
        elif attempt.is_cancelled and attempt in self._unbegun:
            self._unbegun.remove(attempt)
            self._give_back(attempt.root)

    async def _wait_ended(self, timeout_seconds: float) -> None:
        tasks = [task for attempt in self._attempts.running.values() if (task := attempt.handle) is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_seconds)

    def _abandon(self) -> None:
        self._abandoned += [attempt.handle for attempt in self._attempts.running.values()]  # Loops hold tasks weakly.
        super()._abandon()

    async def _attempt(self, root: WorkItem, item: WorkItem) -> None:
        """The code of each task: it runs the worker and reports how it ended. The task ends with the report."""
        try:
            result = await self._worker(item)
        except BaseException as raised:  # noqa: BLE001 -- around the worker: whatever it raises is a failed attempt
            error = raised
        else:
            if result is not None:
                self._keep(root, item.attempt, result)
            channel, attempts = self._channel, self._attempts
            channel.successes.append(root)
            if root in attempts.running:  # Else it ended in its first step, and the submitting code notifies.
                attempts.ended_ok(root, self._now())
                if not channel.is_notified:
                    channel.notify()
            return
        self._fail(root, error)

    def _fail(self, root: WorkItem, error: BaseException) -> None:
        if type(error) is GeneratorExit and not self._loop.is_running():
            raise error  # The loop is gone and the interpreter closes the task: no code can take the error.
        try:
            drop_first_frame(error)  # Without our frame.
            if root not in self._attempts.running:
                if self._is_stopped:
                    return  # It was given back at the deadline of the stop, so its end is ignored.
                self._attempts.start(root, self._now())  # It failed in its first step.
            if is_a(error, CancelledError) and self._is_shutting_down():
                self._give_back(root)
            else:
                self._end(root, error)
        except Exception as bug:  # noqa: BLE001 -- whatever a worker raises is met above: this is ours, and the loop's to know
            self._channel.crashed(bug)


class EagerEngine(PlainEngine):
    """All first steps are taken when ``submit`` returns, except of attempts that may not begin yet."""

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        channel, attempts, now = self._channel, self._attempts, self._now
        loop, copied, attempt = self._loop, self._base.copy, self._attempt
        for item in items:
            if now() > channel.starts_until:
                self._unbegun.append(attempts.start(item, inf))
                continue
            # The context must be one that no code has entered: an eager task in an entered one takes the loop down.
            task = _Task(attempt(item, item), loop=loop, eager_start=True, context=copied())
            if not task.done():
                attempts.start(item, now(), task)
        if not channel.is_notified:
            channel.notify()

    def _start_due(self, now: float) -> None:
        give_way_at = self._now() + _START_SECONDS
        while self._may_begin() and (started := self._attempts.due(now, 1)):
            self._begin(started[0])
            if self._now() >= give_way_at:
                self._channel.notify()  # This asks for a turn, whose sweep finds the other due attempts.
                break

    def _begin_more(self) -> None:
        while self._unbegun and self._may_begin():
            attempt = self._unbegun.popleft()
            attempt.started_at = self._now()
            self._begin(attempt)

    def _begin(self, attempt: Attempt) -> None:
        attempt.handle = _Task(
            self._attempt(attempt.root, attempt.item), loop=self._loop, eager_start=True, context=self._base.copy()
        )


class LateEngine(PlainEngine):
    """First steps are taken in later turns of the loop: in each as many as take ``_START_SECONDS``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._beginning: set[Attempt] = set()
        """Attempts whose tasks have not taken their first step."""
        self._most_beginning = 1
        self._first_began_at: float | None = None

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self._unbegun += self._attempts.start_all(items, self._now() if self._may_begin() else inf)
        self._begin_more()

    def _start_due(self, now: float) -> None:
        self._unbegun += self._attempts.due(now)
        self._begin_more()

    def _begin_more(self) -> None:
        while self._unbegun and len(self._beginning) < self._most_beginning and self._may_begin():
            attempt = self._unbegun.popleft()
            self._beginning.add(attempt)
            attempt.handle = task = Task(self._begin(attempt), loop=self._loop, context=self._base.copy())
            task.add_done_callback(partial(self._note_end, attempt))
            if attempt.marked_at is not None:
                self._stop_attempt(attempt)

    async def _begin(self, attempt: Attempt) -> None:
        attempt.started_at = self._now()
        if self._first_began_at is None:
            self._first_began_at = attempt.started_at
        if self._may_begin():
            self._note_begin(attempt)
            await self._attempt(attempt.root, attempt.item)
        else:
            self._beginning.discard(attempt)
            attempt.handle, attempt.started_at = None, inf
            self._unbegun.appendleft(attempt)

    def _note_begin(self, attempt: Attempt) -> None:
        self._beginning.discard(attempt)
        if not self._beginning and self._first_began_at is not None:
            is_quick = self._now() - self._first_began_at < _START_SECONDS
            wanted = self._most_beginning * 2 if is_quick else self._most_beginning // 2
            self._most_beginning = max(1, min(wanted, _MOST_BEGINNING))
            self._first_began_at = None
        self._begin_more()

    def _note_end(self, attempt: Attempt, _: Task[None]) -> None:
        """A task that somebody cancels before its first step runs nothing of ours."""
        if attempt in self._beginning:
            self._note_begin(attempt)
            self._fail(attempt.root, CancelledError())

    def _stop_attempt(self, attempt: Attempt) -> None:
        if attempt in self._beginning:
            self._loop.call_soon(attempt.handle.cancel, context=self._base)  # After its first step.
        else:
            super()._stop_attempt(attempt)


AsyncEngine: type[PlainEngine] = EagerEngine if sys.version_info >= (3, 12) else LateEngine
"""The form that fits this Python."""
