"""The program of an actor: a local engine that gets frames of items, and reports their ends when it is asked.

Attempts run as on any machine: ``async def`` workers as tasks on the actor's loop, plain ones in its threads, by the
engines for those. An actor runs each item once; the engine that sent it decides about another attempt.
It knows no Ray: its methods are called one by one, each as a coroutine on the actor's event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import os
import pickle
import pkgutil
import socket
from collections import deque
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.dto import unpacked_item
from pyrallel_consumer.execution_plane.async_engine import AsyncEngine
from pyrallel_consumer.execution_plane.engine import CompletionChannel, ExecutionEngine
from pyrallel_consumer.execution_plane.processes.boot_clock import boot_seconds
from pyrallel_consumer.execution_plane.processes.log_fields import log_fields
from pyrallel_consumer.execution_plane.processes.remote_error import packed_error
from pyrallel_consumer.execution_plane.thread_engine import SLOTS_PER_THREAD, ThreadEngine
from pyrallel_consumer.execution_plane.worker.lifespan_task import LifespanTask
from pyrallel_consumer.record import holds_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.worker.lifespan import Lifespan
    from pyrallel_consumer.record import Records

ONCE: Final = RetryPolicy(max_attempts=1, timeout_ms=0)
HEARTBEAT_SECONDS: Final = 1.0
"""An actor without news still answers this often."""
FEED_SECONDS: Final = 0.004
"""How long first steps of items may take before the actor serves calls again."""
LEAVE_SECONDS: Final = 10.0
MOST_LOGS: Final = 1000


class Setup(NamedTuple):
    """The data that make an actor. ``flush_seconds`` is how long it collects news while it has more to do.

    ``is_async``: the worker's return value is awaited. ``is_recording``: it is records.
    """

    worker: Callable[..., Any]
    is_async: bool
    is_recording: bool
    initializer: Callable[[], object] | str | None
    lifespan: Lifespan | None
    concurrency: int
    flush_seconds: float
    log_levels: dict[str, int]


class Reply(NamedTuple):
    """An actor's news. ``frames`` counts the received ones; ``begun`` has how many seconds ago each item began.

    ``returned`` has the records of some ``done`` items.
    """

    frames: int
    begun: list[tuple[int, float]]
    returned: list[tuple[int, Records]]
    done: list[int]
    failed: list[tuple[int, tuple[Any, ...]]]
    skipped: list[int]
    logs: list[dict[str, Any]]


class Raised(Exception):  # noqa: N818 -- it carries an error and is none
    """Carries a worker's exception through the local engine, which would act on some exceptions itself."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class ActorHost:
    """``setup`` is a pickled ``Setup``. ``open`` comes first, and then everything else, in any order."""

    def __init__(self, setup: bytes) -> None:
        self._pickled = setup
        self._waiting: deque[tuple[int, WorkItem]] = deque()
        self._numbers: dict[WorkItem, int] = {}
        """All items of the local engine."""
        self._items: dict[int, WorkItem] = {}
        self._started: set[int] = set()
        self._over: set[int] = set()
        """Plain calls that have returned and whose end the loop has not seen."""
        self._fresh: deque[tuple[int, float]] = deque()
        """Items whose beginning is not reported yet, with its time; threads of workers add to it, too."""
        self._frames = 0
        self._returned: list[tuple[int, Records]] = []
        self._done: list[int] = []
        self._failed: list[tuple[int, tuple[Any, ...]]] = []
        self._skipped: list[int] = []
        self._logs: deque[dict[str, Any]] = deque(maxlen=MOST_LOGS)
        self._news = asyncio.Event()
        self._told_at = 0.0
        self._is_feeding = False
        self._is_poked = False
        self._lifespan: LifespanTask | None = None

    async def open(self) -> tuple[str, tuple[Any, ...] | None]:
        """Become a worker; returns its place, and the error if that failed (``PackedError``)."""
        place = f"{socket.gethostname()}:{os.getpid()}"
        try:
            setup = self._setup = Setup(*pickle.loads(self._pickled))  # noqa: S301 -- from our own engine
            self._pickled = b""
            logging.getLogger().handlers[:] = [_ToTheEngine(self._logs)]
            for name, level in setup.log_levels.items():
                logging.getLogger(name).setLevel(level)
            if setup.initializer is not None:
                named = setup.initializer
                (pkgutil.resolve_name(named) if isinstance(named, str) else named)()
            base = contextvars.copy_context()
            if setup.lifespan is not None:
                self._lifespan = LifespanTask(setup.lifespan, base)
                await self._lifespan.enter()
        except BaseException as error:  # noqa: BLE001 -- the user's modules and initializer may raise anything
            return place, tuple(packed_error(error))
        self._loop = asyncio.get_running_loop()
        self._channel = CompletionChannel(self._wake)
        self._engine = self._made_engine(setup, base)
        await self._engine.start(self._channel, self._loop.time)
        return place, None

    def _made_engine(self, setup: Setup, base: contextvars.Context) -> ExecutionEngine:
        slots = setup.concurrency
        if setup.is_async:
            return AsyncEngine(self._async_call(setup), ONCE, slots, base, is_recording=True)
        call = self._plain_call(setup)
        return ThreadEngine(call, ONCE, slots * SLOTS_PER_THREAD, base, threads=slots, is_recording=True)

    # What the engine calls

    async def put(self, first: int, body: bytes, lease_seconds: float | None) -> None:
        """Items to run, the first one's number ahead."""
        rows = pickle.loads(body)  # noqa: S301 -- from our own engine
        self._frames += 1
        self._waiting.extend((number, unpacked_item(row)) for number, row in enumerate(rows, first))
        self._let_start(lease_seconds)
        self._news.set()

    async def take(self, lease_seconds: float | None) -> tuple[Any, ...]:
        """A ``Reply``, as soon as there is news; a little later where more is to come."""
        self._let_start(lease_seconds)
        if not self._news.is_set():
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                pass
        early = self._told_at + self._setup.flush_seconds - self._loop.time()
        if early > 0 and (self._numbers or self._waiting):
            await asyncio.sleep(early)
        return tuple(self._reply())

    async def lease(self, lease_seconds: float | None) -> None:
        self._let_start(lease_seconds)

    async def recall(self, numbers: list[int]) -> None:
        """Give back the items that have not begun."""
        wanted = set(numbers)
        self._skip_waiting(wanted)
        items = {item for number in wanted if (item := self._items.get(number)) is not None}
        if items:
            self._engine.withdraw(items.__contains__)

    async def cancel(self, numbers: list[int]) -> None:
        """End the running items as far as possible, and give back the items that have not begun."""
        wanted = set(numbers)
        self._skip_waiting(wanted)
        items = {item for number in wanted if (item := self._items.get(number)) is not None}
        if items:
            self._engine.cancel(items.__contains__)

    async def die(self, number: int) -> bool:
        """End this process, whatever else runs. Returns False, and ends nothing, if the call of ``number`` has
        returned.
        """
        if number in self._items and number not in self._over:
            os._exit(1)
        return False

    async def close(self) -> None:
        """No more items will come: end running ones, and leave the lifespan."""
        await self._engine.stop(HEARTBEAT_SECONDS)
        if self._lifespan is not None:
            await self._lifespan.leave(LEAVE_SECONDS)

    # Inside

    def _let_start(self, seconds: float | None) -> None:
        """Items may begin for this many seconds from now; None: without a limit."""
        channel = self._channel
        channel.starts_until = inf if seconds is None else self._loop.time() + seconds if seconds > 0 else -inf
        channel.starts_until_boot = inf if seconds is None else boot_seconds() + seconds if seconds > 0 else -inf
        self._engine.heed_lease()
        self._feed()

    def _may_start(self) -> bool:
        return self._loop.time() <= self._channel.starts_until

    def _feed(self) -> None:
        """Give the local engine as many items as it has room for, for a few milliseconds at a time."""
        if self._is_feeding:
            return
        ends_at = self._loop.time() + FEED_SECONDS
        waiting, numbers, items = self._waiting, self._numbers, self._items
        while waiting and self._may_start() and (room := self._engine.capacity()) > 0:
            batch = []
            for _ in range(min(room, 32, len(waiting))):
                number, item = waiting.popleft()
                numbers[item] = number
                items[number] = item
                batch.append(item)
            self._engine.submit_all(batch)
            if self._loop.time() > ends_at:
                self._is_feeding = True
                self._loop.call_soon(self._feed_on)
                return

    def _feed_on(self) -> None:
        self._is_feeding = False
        self._feed()

    def _skip_waiting(self, wanted: set[int]) -> None:
        if not self._waiting:
            return
        kept: deque[tuple[int, WorkItem]] = deque()
        for number, item in self._waiting:
            if number in wanted:
                self._skipped.append(number)
            else:
                kept.append((number, item))
        if len(kept) < len(self._waiting):
            self._waiting = kept
            self._news.set()

    def _wake(self) -> None:
        self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        finished = self._channel.drain(1_000_000)
        returned = self._channel.returned
        while returned:
            item, (_, records) = returned.popitem()
            if item in self._numbers:
                self._returned.append((self._numbers[item], records))
        self._done += [self._left(item) for item in finished.successes]
        for failed in finished.failures:
            error = failed.error.error if isinstance(failed.error, Raised) else failed.error
            self._failed.append((self._left(failed.item), tuple(packed_error(error))))
        for cancelled in finished.cancellations:
            has_begun = self._numbers[cancelled.item] in self._started
            number = self._left(cancelled.item)
            if has_begun:
                self._failed.append((number, tuple(packed_error(asyncio.CancelledError()))))
            else:
                self._skipped.append(number)
        self._news.set()
        self._feed()

    def _left(self, item: WorkItem) -> int:
        number = self._numbers.pop(item)
        del self._items[number]
        self._started.discard(number)
        self._over.discard(number)
        return number

    def _reply(self) -> Reply:
        self._told_at = self._loop.time()
        self._is_poked = False
        self._news.clear()
        now, begun = monotonic(), []
        while self._fresh:
            number, began_at = self._fresh.popleft()
            if number in self._items:
                begun.append((number, now - began_at))
        logs = []
        while self._logs:
            logs.append(self._logs.popleft())
        returned, done, failed, skipped = self._returned, self._done, self._failed, self._skipped
        self._returned, self._done, self._failed, self._skipped = [], [], [], []
        return Reply(self._frames, begun, returned, done, failed, skipped, logs)

    def _note_begin(self, item: WorkItem) -> int:
        number = self._numbers[item]
        self._started.add(number)
        self._fresh.append((number, monotonic()))
        return number

    def _async_call(self, setup: Setup) -> Callable[..., Any]:
        note_begin, news, worker, keeps = self._note_begin, self._news, setup.worker, setup.is_recording

        async def call(item: WorkItem) -> object:
            note_begin(item)
            news.set()
            try:
                result = await worker(item)
                return result if result is not None and (keeps or holds_record(result)) else None
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 -- around the worker: whatever it raises is a failed attempt
                raise Raised(error) from None

        return call

    def _plain_call(self, setup: Setup) -> Callable[..., Any]:
        note_begin, worker, keeps = self._note_begin, setup.worker, setup.is_recording

        def call(item: WorkItem) -> object:
            number = note_begin(item)
            if not self._is_poked:  # Once a reply: a call of the loop for each item would cost more than the item.
                self._is_poked = True
                self._loop.call_soon_threadsafe(self._news.set)
            try:
                result = worker(item)
                self._over.add(number)
                if result is not None and inspect.iscoroutine(result):
                    return result  # The local engine reports this error.
                return result if result is not None and (keeps or holds_record(result)) else None
            except BaseException as error:  # noqa: BLE001 -- around the worker: whatever it raises is a failed attempt
                raise Raised(error) from None

        return call


class _ToTheEngine(logging.Handler):
    """Keeps records for the engine, whose process has the handlers that the program set up."""

    def __init__(self, logs: deque[dict[str, Any]]) -> None:
        super().__init__()
        self._logs = logs
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        fields = log_fields(record, self._formatter)
        self._logs.append({name: value for name, value in fields.items() if _is_plain(value)})


def _is_plain(value: object) -> bool:
    return value is None or type(value) in {int, float, str, bool}
