"""Driver tasks: one task steps message after message, each in a context of its own, until one of them waits.

A driver takes the queued messages in turn and runs the first step of each within its own task, so a message that ends
in its first step costs no task. A driver stays with the first message that suspends and is that message's task from
then on: it enters the message's context for each later step, and another driver goes on with the rest.

A task serves a further message only while nothing of the last one can reach it: when that one cancelled the task, or
left a reference to it somewhere, the driver retires. So what is done to a kept ``asyncio.current_task()`` after its
message has ended meets no other message. Not undone between them: a new name of the task, done callbacks added to it.
"""

from __future__ import annotations

from asyncio import Task, current_task
from collections import deque
from collections.abc import Coroutine
from sys import getrefcount
from typing import TYPE_CHECKING, Any, cast

from pyrallel_consumer.execution_plane.booked_engine import any_item
from pyrallel_consumer.execution_plane.task_engine import TaskEngine

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.attempts import Attempt

    Run = Coroutine[Any, Any, None]

_DRIVE_SECONDS = 0.002
"""How long a driver may go on before the loop's other callbacks have a turn."""

_SLOW_STEP_SECONDS = 0.0002
"""A first step that took longer is the worker's own computing: fewer drivers are to follow it at once."""

_MAX_DRIVERS = 4096
"""Drivers that are called at once, at most; those that find nothing to do end again."""


@Coroutine.register
class Driver:
    """What a driver's task runs: a coroutine by hand, for its later steps must cost no frames of ours.

    Unlike one by ``async def`` it also learns of a cancel that comes before its first step.
    """

    __slots__ = ("_context", "_engine", "_run")

    def __init__(self, engine: DriverEngine) -> None:
        self._engine = engine
        self._run: Run | None = None
        self._context: Context | None = None

    @property
    def has_message(self) -> bool:
        return self._run is not None

    def stay_with(self, run: Run, context: Context) -> None:
        """From now on this is the task of the message whose ``run`` has taken its first step in ``context``."""
        self._run, self._context = run, context

    def send(self, value: Any) -> object:
        if self._run is None or self._context is None:
            return self._engine.drive(self)
        return self._context.run(self._run.send, value)

    def throw(self, error: BaseException) -> object:
        if self._run is None or self._context is None:
            return self._engine.dismiss()
        return self._context.run(self._run.throw, error)

    def close(self) -> None:  # Nobody in asyncio calls it, but a coroutine has it.
        if self._run is not None:
            self._run.close()


class DriverEngine(TaskEngine):
    """Takes messages into a queue that drivers empty in the next turn of the loop; the books know who suspended."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fresh = self._attempts.queued
        self._fresh_retries: deque[Attempt] = deque()
        self._drivers: set[Task[None]] = set()
        self._drivers_wanted = 1
        self._give_way_at: float | None = None

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
        driver = cast("Run", Driver(self))
        self._drivers.add(Task(driver, loop=self._loop, context=self._base.copy()))

    # Called by drivers

    def drive(self, driver: Driver) -> object:
        """A step of ``driver``, which has no message yet: what its task has to wait for. StopIteration ends it."""
        task = current_task()
        assert task is not None
        try:
            is_given_way, waits_for = self._step_queued(driver, task)
        except Exception as bug:  # noqa: BLE001 -- no worker runs outside of `_run`: this is ours, and the loop's to know
            self._channel.crashed(bug)
            raise StopIteration from None
        if is_given_way:
            return None
        self._drivers.discard(task)
        if self._fresh or self._fresh_retries:
            self._call_drivers()
        if driver.has_message:
            return waits_for
        raise StopIteration

    def dismiss(self) -> object:
        """Somebody who cancels all tasks cancelled a driver that has no message. StopIteration ends it."""
        task = current_task()
        assert task is not None
        self._drivers.discard(task)
        if self._is_shutting_down():
            self._cancel_queued(any_item)
        self._call_drivers()
        raise StopIteration

    def _step_queued(self, driver: Driver, task: Task[None]) -> tuple[bool, object]:
        """First steps, until one suspends, the queue ends, the driver must retire, or (first answer) gives way."""
        references = getrefcount(task)
        began_at = self._now()
        give_way_at = self._share_of_iteration(began_at)
        if began_at >= give_way_at:
            return True, None
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
                    break
                began_at = self._now()
                if began_at >= give_way_at:
                    return True, None
            else:
                now = self._now()
                attempt = self._attempts.start(root, now) if retry is None else retry
                attempt.handle = task
                # Drivers that follow one another cost a turn of the loop each: where many messages wait, have many.
                wanted = self._drivers_wanted * 2 if now - began_at < _SLOW_STEP_SECONDS else self._drivers_wanted // 2
                self._drivers_wanted = max(1, min(wanted, _MAX_DRIVERS))
                if attempt.marked_at is not None:
                    task.cancel()  # It timed out in the queue or in its first step.
                driver.stay_with(run, context)
                return False, waits_for
        return False, None

    def _share_of_iteration(self, now: float) -> float:
        """Until when drivers may go on in this iteration of the loop: all of them together have one drive's time."""
        if self._give_way_at is None:
            self._give_way_at = now + _DRIVE_SECONDS
            self._loop.call_soon(self._begin_iteration, context=self._base)
        return self._give_way_at

    def _begin_iteration(self) -> None:
        """Runs ahead of every driver that gave way, for it was asked for before them."""
        self._give_way_at = None


def _is_to_be_cancelled(task: Task[None]) -> bool:
    """Whether the task's next wait ends in CancelledError: until 3.13 also after ``uncancel`` took all back.

    The attribute is private, but the C and the Python task of every release have it, and nothing else tells.
    """
    return bool(getattr(task, "_must_cancel", False))
