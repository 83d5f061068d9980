"""Driver tasks: one task steps message after message, each in a context of its own, until one of them waits.

A driver takes the queued messages in turn and runs the first step of each within its own task, so a message that ends
in its first step costs no task. A driver stays with the first message that suspends and is that message's task from
then on: it enters the message's context for each later step, and a new driver goes on with the rest.

A task serves a further message only while nothing of the last one can reach it: when that one cancelled the task, or
left a reference to it somewhere, the driver retires. So what is done to a kept ``asyncio.current_task()`` after its
message has ended meets no other message. Not undone between them: a new name of the task, done callbacks added to it.
"""

from __future__ import annotations

import types
from asyncio import CancelledError, Task, current_task, sleep
from collections import deque
from contextlib import suppress
from sys import getrefcount
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.execution_plane.task_engine import TaskEngine, any_item

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.attempts import Attempt

    Run = Coroutine[Any, Any, None]

_DRIVE_SECONDS = 0.002
"""How long a driver may go on before the loop's other callbacks have a turn."""


class DriverEngine(TaskEngine):
    """Takes messages into a queue that drivers empty in the next turn of the loop; the books know who suspended."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fresh = self._attempts.queued
        self._fresh_retries: deque[Attempt] = deque()
        self._drivers: set[Task[None]] = set()
        self._drivers_wanted = 1

    def submit(self, item: WorkItem) -> None:
        self._fresh.append(item)
        if len(self._drivers) < self._drivers_wanted:
            self._call_driver()

    def running(self, which: Callable[[WorkItem], bool] | None = None) -> int:
        fresh = len(self._fresh) if which is None else sum(map(bool, map(which, self._fresh)))
        return fresh + super().running(which)

    def cancel(self, which: Callable[[WorkItem], bool]) -> None:
        self._cancel_queued(which)
        super().cancel(which)

    def _cancel_queued(self, which: Callable[[WorkItem], bool]) -> None:
        """What never began needs no task to end."""
        fresh = list(self._fresh)
        self._fresh.clear()
        for item in fresh:
            if which(item):
                self._channel.cancelled(item, item.attempt)
            else:
                self._fresh.append(item)
        retries, self._fresh_retries = self._fresh_retries, deque()
        for attempt in retries:
            if which(attempt.root):
                uncharged = self._attempts.ended_cancelled(attempt.root, self._now())
                self._channel.cancelled(attempt.root, uncharged.attempt)
            else:
                self._fresh_retries.append(attempt)

    def _start_due(self, now: float) -> None:
        self._fresh_retries.extend(self._attempts.due(now))
        self._call_drivers()

    def _tasks(self) -> list[Task[None]]:
        return [*super()._tasks(), *self._drivers]

    def _call_drivers(self) -> None:
        """As many as are wanted and find work."""
        queued = len(self._fresh) + len(self._fresh_retries)
        for _ in range(min(queued, self._drivers_wanted) - len(self._drivers)):
            self._call_driver()

    def _call_driver(self) -> None:
        driver = Task(self._drive(), loop=self._loop, context=self._base.copy())
        driver.add_done_callback(self._never_began, context=self._base)
        self._drivers.add(driver)

    async def _drive(self) -> None:
        task = current_task()
        assert task is not None
        task.remove_done_callback(self._never_began)
        try:
            waiting = await self._step_queued(task)
        except Exception as bug:  # noqa: BLE001 -- no worker is run outside of `_run`: this is ours, and the loop's to know
            self._channel.crashed(bug)
            return
        self._drivers.discard(task)
        self._call_drivers()
        if waiting is not None:
            with suppress(
                GeneratorExit
            ):  # The attempt's business, and reported; a task that raised it would be logged.
                await _finish(*waiting)

    async def _step_queued(self, task: Task[None]) -> tuple[Context, Run, object] | None:
        """First steps, until one suspends (returned: what is left of it), the queue ends, or the driver must retire."""
        references = getrefcount(task)
        give_way_at = self._now() + _DRIVE_SECONDS
        while self._fresh or self._fresh_retries:
            retry = self._fresh_retries.popleft() if self._fresh_retries else None
            root = self._fresh.popleft() if retry is None else retry.root
            context = self._base.copy()
            run = self._run(root, root if retry is None else retry.item)
            try:
                waits_for = context.run(run.send, None)
            except StopIteration:
                self._drivers_wanted = 1
                # The public question first, though the private one alone would do as long as it is there.
                if task.cancelling() or getrefcount(task) != references or _is_to_be_cancelled(task):
                    return None
            else:
                attempt = self._attempts.start(root, self._now()) if retry is None else retry
                attempt.handle = task
                # Drivers that follow one another cost a turn of the loop each: where many messages wait, have many.
                self._drivers_wanted = min(2 * self._drivers_wanted, 4096)
                if attempt.marked_at is not None:
                    task.cancel()  # It timed out in the queue or in its first step.
                return context, run, waits_for
            if self._now() >= give_way_at:
                try:
                    await sleep(0)
                except CancelledError:
                    return None  # Meant for no message: this driver had none.
                references = getrefcount(task)
                give_way_at = self._now() + _DRIVE_SECONDS
        return None

    def _never_began(self, driver: Task[None]) -> None:
        """The driver was cancelled before its first step, by whoever cancels all tasks."""
        self._drivers.discard(driver)
        if self._is_shutting_down():
            self._cancel_queued(any_item)
        self._call_drivers()


def _is_to_be_cancelled(task: Task[None]) -> bool:
    """Whether the task's next wait ends in CancelledError: until 3.13 also after ``uncancel`` took all back.

    The attribute is private, but the C and the Python task of every release have it, and nothing else tells.
    """
    return bool(getattr(task, "_must_cancel", False))


@types.coroutine
def _finish(context: Context, run: Run, waits_for: object) -> Generator[object, Any, None]:
    """The later steps of ``run``, each in its own context; what it awaits is awaited by the task that runs this."""
    step: Callable[[Any], object]
    argument: Any
    while True:
        try:
            argument = yield waits_for
            step = run.send
        except GeneratorExit:
            context.run(run.close)
            raise
        except BaseException as error:  # noqa: BLE001 -- thrown in for the worker
            argument = error
            step = run.throw
        try:
            waits_for = context.run(step, argument)
        except StopIteration:
            return
        finally:
            del argument  # An exception kept here would keep this frame, and so itself, alive.
