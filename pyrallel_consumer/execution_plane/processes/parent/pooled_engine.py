"""The common part of the two engines whose workers run in processes: their pool, their dispatching, their ticker.

Each engine adds how attempts wait, how they are sent, and how a process's reports are read. Bound to one event loop.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypedDict, TypeVar

from pyrallel_consumer.errors import LifespanError, StateError
from pyrallel_consumer.execution_plane.booked_engine import BookedEngine
from pyrallel_consumer.execution_plane.processes.parent.process_pool import Member, ProcessPool
from pyrallel_consumer.execution_plane.processes.parent.worker_setup import packed_setup
from pyrallel_consumer.execution_plane.processes.setup import is_loading

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.engine import CompletionChannel
    from pyrallel_consumer.execution_plane.worker.lifespan import Lifespan

M = TypeVar("M", bound=Member)


class PoolOptions(TypedDict, total=False):
    """What an engine's constructor takes by name for its processes."""

    initializer: Callable[[], object] | str | None
    lifespan: Lifespan | None
    max_tasks_per_child: int


class PooledEngine(BookedEngine, Generic[M]):
    """Runs a picklable ``worker`` in ``processes`` processes.

    ``initializer`` is called once in each process before its first item: a picklable callable without arguments, or
    ``"package.module:function"``. ``lifespan`` is entered after it, and left when the process ends. Each attempt gets a
    copy of the context in which both ran. A process is replaced after about ``max_tasks_per_child`` items
    (0 = never), not all of them at the same time.
    """

    has_loop: ClassVar[bool]
    """Whether a process runs an event loop, keeps the timeouts itself, and runs many items at once."""
    look_seconds: ClassVar[float]
    """How often busy processes are looked at."""

    _ticker: asyncio.TimerHandle | None = None
    _is_dispatch_due = False
    _pool: ProcessPool[M] | None = None

    def _plan_pool(
        self,
        worker: Callable[[WorkItem], object],
        policy: RetryPolicy,
        processes: int,
        *,
        initializer: Callable[[], object] | str | None = None,
        lifespan: Lifespan | None = None,
        max_tasks_per_child: int = 0,
    ) -> None:
        """For the constructor: which processes ``start`` will start."""
        self._worker = worker
        self._initializer = initializer
        self._lifespan = lifespan
        self._processes = processes
        self._timeout_seconds = policy.timeout_ms / 1000 if policy.timeout_ms else None
        self._max_tasks_per_child = max_tasks_per_child
        self._members: list[M] = []

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        await super().start(channel, now)
        if is_loading():
            raise StateError(
                "a worker process imports the program's main file, and that starts a consumer again: start it under "
                '`if __name__ == "__main__":`'
            )
        self._loop = asyncio.get_running_loop()
        await self._made_pool().open()

    def _made_pool(self) -> ProcessPool[M]:
        setup = packed_setup(
            self._worker,
            self._initializer,
            self._lifespan,
            has_loop=self.has_loop,
            timeout_seconds=self._timeout_seconds if self.has_loop else None,
        )
        crew: Any = self
        pool = self._pool = ProcessPool(self._processes, setup, crew, has_lifespan=self._lifespan is not None)
        self._members = pool.members
        return pool

    def submit(self, item: WorkItem) -> None:
        self.submit_all((item,))

    def broke(self, error: BaseException) -> None:
        """A callback of the pool failed: see ``process_pool.Crew``."""
        self._channel.crashed(error)

    @abstractmethod
    def _dispatch(self) -> None:
        """Send waiting attempts to processes that have room."""

    @abstractmethod
    def _tick(self) -> None:
        """Look at the busy processes."""

    @property
    @abstractmethod
    def _is_ticking(self) -> bool:
        """Whether there is anything to look at."""

    def _dispatch_soon(self) -> None:
        if not self._is_dispatch_due:
            self._is_dispatch_due = True
            self._loop.call_soon(self._guarded, self._dispatch_now)

    def _dispatch_now(self) -> None:
        self._is_dispatch_due = False
        self._dispatch()

    def _tick_later(self) -> None:
        if self._ticker is None and not self._is_stopped and self._is_ticking:
            self._ticker = self._loop.call_later(self.look_seconds, self._guarded, self._tick_now)

    def _tick_now(self) -> None:
        self._ticker = None
        self._tick()
        self._tick_later()

    def _note_progress(self) -> None:
        if self._pool is not None:
            self._pool.note_progress()

    async def _close_pool(self, timeout_seconds: float) -> None:
        """End all processes. Raises LifespanError if a lifespan was not left in order."""
        if self._ticker is not None:
            self._ticker.cancel()
        if self._pool is not None:
            await self._pool.close(timeout_seconds)
            if self._pool.unleft:
                raise LifespanError(f"in {len(self._pool.unleft)} worker processes: {self._pool.unleft[-1]}")
