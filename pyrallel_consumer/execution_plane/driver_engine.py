"""The async engine: driver tasks step message after message, and stay with each one that waits until it has ended.

A driver takes queued messages in turn and runs the first step of each within its own task, so a message that ends in
its first step costs no task. The first one that suspends keeps the driver: from then on its task is that message's,
and other drivers go on with the rest. When such a message has ended well, its driver goes on with what may follow in
its slot (``CompletionChannel.go_on``), so a key with many messages costs one task and not one for each.

A task serves a further message only while nothing of the last one is left at it. Where that one changed the context,
cancelled the task, added a done callback, or left a reference to it, a weak one included, the driver retires. So each
message begins in the context given at the start, and what is done to a kept ``asyncio.current_task()`` after its
message has ended meets no other. Not noticed: a new name of the task, attributes set on it, and its very context given
to another task, which then outlives the message.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import sys
from asyncio import CancelledError, Task, current_task
from collections import deque
from collections.abc import Coroutine, Generator
from functools import partial
from sys import getrefcount
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias
from weakref import getweakrefcount

from pyrallel_consumer.execution_plane.booked_engine import BookedEngine, any_item
from pyrallel_consumer.foreign_errors import drop_first_frame, is_a

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.attempts import Attempt
    from pyrallel_consumer.execution_plane.engine import CompletionChannel

    AsyncWorker: TypeAlias = Callable[[WorkItem], Awaitable[object]]

_START_SECONDS = 0.002
"""How long first steps of queued messages may take, together, before the loop's other callbacks have a turn."""

_GO_ON_SECONDS = 0.005
"""From so many seconds of first steps on, in one iteration of the loop, a driver does not go on with what follows."""

_RESUMED_GO_ON_SECONDS = 0.02
"""The same for a driver whose message has waited. Any task goes on when its wait ends, however many others do; and one
that does not, where thousands wait, means a new one a moment later, and a wave of them for the garbage collector."""

_SLOW_STEP_SECONDS = 0.0002
"""A first step that took longer is the worker's own computing: fewer drivers are to follow it at once."""

_SLOW_WEIGHT = 10.0
"""Seconds of slow steps count so much: those of quick ones are the price of having many messages."""

_MAX_DRIVERS = 256
"""Drivers that are there for the queue, at most: more than can begin something within ``_START_SECONDS`` come in vain
in every iteration of the loop."""


def _never() -> bool:
    return False


class DriverEngine(BookedEngine):
    """Runs an ``async def`` worker as isolated attempts on the running event loop. The books know who suspended.

    ``base_context`` is what every attempt's context is copied from (default: the caller's of ``start``).
    ``is_shutting_down`` tells whether a cancellation that this engine did not ask for is the program's end, as when
    ``asyncio.run`` cancels all tasks: then it is no failure of the worker. It is asked when such an attempt ended, so
    it must be true from the very moment of cancelling on (``task.cancelling() > 0`` of the supervising task is). The
    loop's task factory is the user's and is never used.
    """

    is_eager: ClassVar[bool] = False
    """Whether drivers begin while they are made, which tasks can from Python 3.12 on, or in the loop's next turn."""

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
        self._resumed_references = 0, 0
        self._abandoned: list[Task[None]] = []
        self._fresh = self._attempts.queued
        self._fresh_retries: deque[Attempt] = deque()
        self._drivers: set[Task[None]] = set()
        self._drivers_wanted = 1
        self._spent_seconds = 0.0
        self._is_held = False

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        await super().start(channel, now)
        self._loop = asyncio.get_running_loop()
        self._base = contextvars.copy_context() if self._given_context is None else self._given_context
        self._resumed_references = await _references_of_a_resumed_task(self._loop)

    def submit(self, item: WorkItem) -> None:
        self._fresh.append(item)
        self._call_drivers()

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self._fresh.extend(items)
        self._call_drivers()

    def running(self, which: Callable[[WorkItem], bool] | None = None) -> int:
        fresh = len(self._fresh) if which is None else sum(map(bool, map(which, self._fresh)))
        return fresh + super().running(which)

    def withdraw(self, which: Callable[[WorkItem], bool]) -> None:
        super().withdraw(which)
        self._cancel_queued(which)

    def cancel(self, which: Callable[[WorkItem], bool]) -> None:
        self._cancel_queued(which)
        super().cancel(which)

    def heed_lease(self) -> None:
        if self._is_held and self._now() <= self._channel.starts_until:
            self._is_held = False
            self._call_drivers()

    def _cancel_queued(self, which: Callable[[WorkItem], bool]) -> None:
        """What never began needs no task to end."""
        fresh = list(self._fresh)
        self._fresh.clear()
        for item in fresh:
            if which(item):
                self._channel.cancelled(item, item.attempt)
            else:
                self._fresh.append(item)
        retries = list(self._fresh_retries)
        self._fresh_retries.clear()
        for attempt in retries:
            if which(attempt.root):
                uncharged = self._attempts.ended_cancelled(attempt.root, self._now())
                self._channel.cancelled(attempt.root, uncharged.attempt)
            else:
                self._fresh_retries.append(attempt)

    def _start_due(self, now: float) -> None:
        if not self.is_eager:
            self._fresh_retries.extend(self._attempts.due(now))
            self._call_drivers()
            return
        give_way_at = self._now() + _START_SECONDS
        while not self._is_held and (started := self._attempts.due(now, 1)):
            self._fresh_retries.extend(started)
            self._call_drivers()
            if self._now() >= give_way_at:
                self._channel.notify()  # What is still due is found by the sweep of the turn that this brings.
                break

    def _stop_attempt(self, attempt: Attempt) -> None:
        if attempt.handle is not None:
            attempt.handle.cancel()

    async def _wait_ended(self, timeout_seconds: float) -> None:
        tasks = [attempt.handle for attempt in self._attempts.running.values()] + list(self._drivers)
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_seconds)

    def _abandon(self) -> None:
        self._abandoned += [attempt.handle for attempt in self._attempts.running.values()]  # Loops hold tasks weakly.
        super()._abandon()

    # Calling drivers

    def _call_drivers(self) -> None:
        """Have the queue emptied: at once where tasks are eager, else by as many drivers as are wanted."""
        if self.is_eager:
            while (self._fresh or self._fresh_retries) and not self._is_held:
                self._call_driver()
            return
        if self._is_held:
            return
        queued = len(self._fresh) + len(self._fresh_retries)
        for _ in range(min(queued, self._drivers_wanted) - len(self._drivers)):
            task = self._call_driver()
            self._drivers.add(task)
            task.add_done_callback(self._driver_ended)

    def _call_driver(self) -> Task[None]:
        # The context must be one that nobody has entered: an eager task in an entered one takes the loop down.
        context = self._base.copy()
        driver = self._drive(context)
        if sys.version_info >= (3, 12) and self.is_eager:
            return Task(driver, loop=self._loop, eager_start=True, context=context)
        return Task(driver, loop=self._loop, context=context)

    def _driver_ended(self, task: Task[None]) -> None:
        """A driver without a message ended: it found nothing, or somebody who cancels all tasks cancelled it."""
        if task in self._drivers:
            self._dismissed(task, is_cancelled=task.cancelled())

    def _dismissed(self, task: Task[None], *, is_cancelled: bool) -> None:
        self._drivers.discard(task)
        if is_cancelled and self._is_shutting_down():
            self._cancel_queued(any_item)
        self._call_drivers()

    def _leave_the_queue(self, task: Task[None], step_seconds: float) -> None:
        """The driver stays with the message whose first step took so long; the queue is for others to empty.

        Drivers that follow one another cost a turn of the loop each: where many messages wait, have many.
        """
        wanted = self._drivers_wanted * 2 if step_seconds < _SLOW_STEP_SECONDS else self._drivers_wanted // 2
        self._drivers_wanted = max(1, min(wanted, _MAX_DRIVERS))
        self._drivers.discard(task)
        self._call_drivers()

    def _stays_with_the_queue(self, task: Task[None]) -> bool:
        """Whether a driver that may begin nothing now is to try again in the next iteration: only as many are wanted.

        Without a bound all whose messages have waited would come back, thousands, in each iteration for a few starts.
        """
        if task not in self._drivers and len(self._drivers) >= self._drivers_wanted:
            return False
        self._drivers.add(task)
        return True

    def _count_anew(self) -> None:
        """What first steps take is counted for each iteration of the loop."""
        self._loop.call_soon(self._begin_iteration, context=self._base)

    def _begin_iteration(self) -> None:
        self._spent_seconds = 0.0

    # Drivers

    async def _drive(self, context: contextvars.Context) -> None:
        try:
            await self._messages(context)
        except GeneratorExit:
            if not self._loop.is_running():
                raise  # The loop is gone and the interpreter closes what is left: nobody is there to be told.
        except Exception as bug:  # noqa: BLE001 -- whatever a worker raises is met below: this is ours, and the loop's to know
            self._channel.crashed(bug)

    @coroutine
    def _messages(self, context: contextvars.Context) -> Generator[Any, Any, None]:  # noqa: C901, PLR0912, PLR0915 -- one step of a message, written out: a call for each part would cost more than the part
        """Message after message, until one leaves a trace or there is none; ``context`` is that of this task.

        A generator and not an ``async def``, to see a first step that suspends: what it waits for is passed on by
        ``yield``, and from the second step on the message's coroutine is delegated to and costs no frame of ours.
        """
        task = current_task()
        assert task is not None
        now, worker = self._now, self._worker
        attempts, fresh, retries = self._attempts, self._fresh, self._fresh_retries
        count_references = partial(getrefcount, task)
        references, weak_references = count_references(), getweakrefcount(task)
        began_at = now()
        following: WorkItem | None = None
        attempt: Attempt | None = None
        while True:
            if following is not None:
                root = item = following
            elif began_at > self._channel.starts_until:
                self._is_held = True
                break
            elif (fresh or retries) and not self.is_eager and self._spent_seconds >= _START_SECONDS:
                if not self._stays_with_the_queue(task):
                    break
                try:
                    yield None
                except CancelledError:
                    self._dismissed(task, is_cancelled=True)
                    return
                references, weak_references = self._resumed_references
                references += task in self._drivers
                began_at = now()
                continue
            elif retries:
                attempt = retries.popleft()
                root, item = attempt.root, attempt.item
            elif fresh:
                root = item = fresh.popleft()
            else:
                break
            error: BaseException | None = None
            has_waited = False
            try:
                run: Any = worker(item)
                if type(run) is not CoroutineType:
                    run = _awaited(run)
            except BaseException as raised:  # noqa: BLE001 -- around the worker: whatever it raises is a failed attempt
                error = raised
            else:
                try:
                    waits_for = run.send(None)
                except StopIteration:
                    pass
                except BaseException as raised:  # noqa: BLE001 -- as above
                    error = raised
                else:
                    has_waited = True
                    suspended_at = now()
                    took = suspended_at - began_at
                    if self._spent_seconds == 0.0:
                        self._count_anew()
                    self._spent_seconds += took if took < _SLOW_STEP_SECONDS else took * _SLOW_WEIGHT
                    if attempt is None:
                        attempt = attempts.start(root, suspended_at, task)
                    else:
                        attempt.handle = task
                    if attempt.marked_at is not None:
                        task.cancel()  # It timed out in the queue or in its first step.
                    if not self.is_eager:
                        self._leave_the_queue(task, took)
                    try:
                        while True:
                            try:
                                yield waits_for
                            except BaseException as thrown:  # noqa: BLE001 -- what it waits for failed: the message is to know
                                waits_for = run.throw(thrown)
                            else:
                                yield from run
                                break
                    except StopIteration:
                        pass
                    except BaseException as raised:  # noqa: BLE001 -- as above
                        error = raised
                    if root not in attempts.running:
                        return  # It was given back at the deadline of the stop, whatever becomes of it.
                    references, weak_references = self._resumed_references
            ended_at = now()
            if not has_waited:
                took = ended_at - began_at
                if self._spent_seconds == 0.0:
                    self._count_anew()
                self._spent_seconds += took if took < _SLOW_STEP_SECONDS else took * _SLOW_WEIGHT
            began_at = ended_at
            if error is not None or (attempt is not None and attempt.marked_at is not None):
                self._conclude(root, error)
                is_over = type(error) is GeneratorExit or not self._is_untouched(task, context, weak_references)
                error = attempt = following = None
                if is_over or count_references() != references:
                    break  # The next one is made by whoever called this driver, or below.
                continue
            ending, attempt = attempt, None
            is_over = not self._is_untouched(task, context, weak_references) or count_references() != references + (
                ending is not None and ending.handle is not None
            )
            channel = self._channel
            most_seconds = _RESUMED_GO_ON_SECONDS if has_waited else _GO_ON_SECONDS
            if (
                is_over
                or self._spent_seconds >= most_seconds
                or attempts.is_retry_due(ended_at, ending)
                or ended_at > channel.starts_until
            ):
                following = None
            else:
                following = channel.go_on(root, ended_at)
            if following is not None:
                attempt = ending if ending is None else attempts.hand_on(ending, following, ended_at)
            else:
                if ending is not None:
                    attempts.ended_ok(root, ended_at)
                channel.successes.append(root)
            ending = None
            if not channel.is_notified:
                channel.notify()
            if is_over:
                break
        if not self.is_eager:  # Else whoever made this driver makes the next one.
            self._dismissed(task, is_cancelled=False)

    def _is_untouched(self, task: Task[None], context: contextvars.Context, weak_references: int) -> bool:
        """Whether the last message did nothing to its task and its context that another one could notice."""
        try:
            # ``_must_cancel`` is private, but the C and the Python task of every release have it. Until 3.13 nothing
            # else tells that the next wait ends in CancelledError though ``uncancel`` took all back. ``_callbacks``
            # likewise: those of the user's are to be called when this message has ended.
            callbacks = task._callbacks  # noqa: SLF001
            return not (
                task.cancelling()
                or task._must_cancel  # type: ignore[attr-defined]  # noqa: SLF001
                or getweakrefcount(task) != weak_references
                or (callbacks and len(callbacks) > (not self.is_eager))
                or context != self._base
            )
        except Exception:  # noqa: BLE001 -- values of the context that cannot be compared are other values
            return False

    def _conclude(self, root: WorkItem, error: BaseException | None) -> None:
        if type(error) is GeneratorExit and not self._loop.is_running():
            raise error
        if error is not None:
            drop_first_frame(error)  # Without our frame: it goes on with other messages.
        if root not in self._attempts.running:
            self._attempts.start(root, self._now())
        if error is not None and is_a(error, CancelledError) and self._is_shutting_down():
            self._give_back(root)
        else:
            self._end(root, error)


async def _awaited(awaitable: Awaitable[object]) -> object:
    return await awaitable


async def _references_of_a_resumed_task(loop: asyncio.AbstractEventLoop) -> tuple[int, int]:
    """How many references, and weak ones, there are to a task that nobody has kept, in a step that the loop calls.

    Loops differ in what they hold while they call. Measured as the drivers look at themselves: by a local name and by
    ``partial``, which counts alike wherever it is called; a name that is passed is counted or not, as 3.14 sees fit.
    """
    counted: asyncio.Future[tuple[int, int]] = loop.create_future()

    async def look() -> None:
        task = current_task()
        assert task is not None
        count_references = partial(getrefcount, task)
        resumed = loop.create_future()
        loop.call_soon(resumed.set_result, None)
        await resumed
        counted.set_result((count_references(), getweakrefcount(task)))

    looking: Coroutine[Any, Any, None] = look()
    Task(looking, loop=loop)  # What it waits for holds it, and one more reference would be counted.
    del looking
    return await counted
