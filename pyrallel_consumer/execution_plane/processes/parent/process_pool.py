"""Keeps a number of worker processes alive: starts them, replaces ended ones, and gives up when that is useless.

Knows nothing about attempts: its ``Crew`` does. A process that dies is replaced at once. When processes die one after
another without any progress, each replacement is delayed longer, and in the end the pool reports that it is broken. One
more process is *set aside* while the crew wishes it.
"""

from __future__ import annotations

import asyncio
import pickle
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from pyrallel_consumer.dto import place_of
from pyrallel_consumer.errors import ConfigurationError, ExecutionError, LifespanError
from pyrallel_consumer.execution_plane.processes import frames
from pyrallel_consumer.execution_plane.processes.parent.child_process import ChildProcess
from pyrallel_consumer.log import Log, relay

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.processes.parent.child_process import SharedMemory

logger = Log("pyrallel_consumer.execution_plane")

LOAD_SECONDS: Final = 60.0
"""How long a process may take to import the worker and to initialize."""
CLOSE_SECONDS: Final = 1.0
"""How long idle processes may take to end in order, and killed ones to be gone."""
MAX_BARREN_DEATHS: Final = 8
"""This many deaths without progress are no accident; further attempts of one message do not count."""
FIRST_DELAY_SECONDS: Final = 0.05
MAX_DELAY_SECONDS: Final = 5.0


_SPREAD_OF_MAX_TASKS: Final = 0.2


class Member(ABC):
    """A process of the pool; a crew's own members also know the items that were sent to it."""

    def __init__(self, child: ChildProcess) -> None:
        self.child = child
        self.is_ready = False
        self.is_retired = False
        self.is_set_aside = False

    @property
    @abstractmethod
    def is_busy(self) -> bool:
        """Whether it was sent anything that has not ended."""

    @property
    def may_be_sent(self) -> bool:
        """Whether it takes items at all."""
        return self.is_ready and not self.is_retired and not self.child.is_killed


M = TypeVar("M", bound=Member)


class Crew(Protocol[M]):
    """The user of the pool; on the loop's thread."""

    def enlisted(self, start: Callable[[SharedMemory], ChildProcess]) -> M:
        """A new member, around the process that ``start`` starts with the given shared memory."""

    def arrived(self) -> None:
        """One more process has loaded the worker."""

    def told(self, member: M, kind: int, body: bytes) -> None:
        """A process said something of its items."""

    def died(self, member: M) -> WorkItem | None:
        """A process is gone; returns the item that was running, if there was one and we did not kill it."""

    def broke(self, error: BaseException) -> None:
        """The pool gave up, or there is a bug: the engine cannot go on."""


def max_tasks(limit: int, chance: float) -> int:
    """After how many items one process is replaced, around ``limit``: not all of them at the same time; 0 is never."""
    return limit and max(1, round(limit * (1 + _SPREAD_OF_MAX_TASKS * (chance - 0.5))))


class ProcessPool(Generic[M]):
    """``size`` processes made from ``setup``."""

    def __init__(self, size: int, setup: bytes, crew: Crew[M], *, has_lifespan: bool = False) -> None:
        self.members: list[M] = []
        self._size = size
        self._setup = setup
        self._crew = crew
        self._has_lifespan = has_lifespan
        self._by_child: dict[ChildProcess, M] = {}
        self._is_open = False
        self._is_setting_aside = False
        self._respawn: asyncio.TimerHandle | None = None
        self._barren: list[WorkItem | None] = []
        self._last_refusal: str | None = None
        self._is_lifespan_refused = False
        self.unleft: list[str] = []
        """Why processes could not leave their lifespan, each of them."""
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """Return when a process has loaded the worker. ConfigurationError: it cannot be loaded."""
        self._is_open = True
        try:
            self._fill()
            async with asyncio.timeout(LOAD_SECONDS):
                while not any(member.is_ready for member in self.members):
                    await self._next_change()
                    self._check_loading()
        except BaseException as error:
            await self.close(0.0)
            if isinstance(error, TimeoutError):
                raise ExecutionError(f"no worker process had loaded the worker after {LOAD_SECONDS:.0f} s") from None
            raise

    def note_progress(self) -> None:
        """An item ended: earlier deaths no longer count."""
        self._barren.clear()

    def retire(self, member: M) -> None:
        """Let ``member`` finish its items, and replace it."""
        member.is_retired = True
        self._fill()
        if not member.is_busy:
            member.child.close()

    def set_aside(self, *, is_wished: bool) -> None:
        """Start one more process, which ``is_set_aside``, or end it."""
        self._is_setting_aside = is_wished
        if is_wished:
            self._fill()
            return
        for member in self.members:
            if member.is_set_aside and not member.is_retired:
                self.retire(member)

    async def close(self, timeout_seconds: float) -> None:
        """Let processes end that are idle or may have entered their lifespan; kill the others.

        Processes that are still there a second after the timeout are left behind.
        """
        self._is_open = False
        if self._respawn is not None:
            self._respawn.cancel()
        for member in self.members:
            if member.is_busy or not (member.is_ready or self._has_lifespan):
                member.child.kill()
            else:
                member.child.close()
        try:
            await self._until_gone(timeout_seconds + CLOSE_SECONDS)
            for member in self.members:
                member.child.kill()
            await self._until_gone(CLOSE_SECONDS)
        finally:
            for member in self.members:
                member.child.abandon()
            self.members.clear()

    async def _until_gone(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.members:
                    await self._next_change()

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    # Told by the processes

    def told(self, child: ChildProcess, kind: int, body: bytes) -> None:
        """See ``child_process.Listener``."""
        member = self._by_child[child]
        try:
            match kind:
                case frames.READY:
                    member.is_ready = True
                    self._changed.set()
                    self._crew.arrived()
                case frames.REFUSED:
                    description, trace, self._is_lifespan_refused = pickle.loads(body)  # noqa: S301 -- from our own process
                    self._last_refusal = description
                    logger.error("a worker process could not load the worker:\n%s", trace.rstrip())
                case frames.UNLEFT:
                    description, trace, _ = pickle.loads(body)  # noqa: S301 -- from our own process
                    self.unleft.append(description)
                    logger.error("at the end of worker process %d:\n%s", child.pid, trace.rstrip())
                case frames.LOG:
                    relay(pickle.loads(body))  # noqa: S301 -- from our own process
                case _:
                    self._crew.told(member, kind, body)
                    if member.is_retired and not member.is_busy:
                        child.close()
        except Exception as bug:  # noqa: BLE001 -- this is ours: it must reach the consumer, not the event loop
            self._crew.broke(bug)

    def ended(self, child: ChildProcess) -> None:
        """See ``child_process.Listener``."""
        member = self._by_child.pop(child)
        self.members.remove(member)
        self._changed.set()
        try:
            item = self._crew.died(member)
            if self._is_open:
                if not (child.is_killed or child.is_closing):
                    self._note_death(member, item)
                self._fill()
        except Exception as bug:  # noqa: BLE001 -- as above
            self._crew.broke(bug)

    def broke(self, error: BaseException) -> None:
        """See ``child_process.Listener``."""
        self._crew.broke(error)

    # Inside

    def _note_death(self, member: M, item: WorkItem | None) -> None:
        if item is None or item not in self._barren:
            self._barren.append(item)
        doing = "while it loaded the worker" if not member.is_ready else "while it was idle"
        place: dict[str, object] = {}
        if item is not None:
            doing = f"while it ran {item.id}"
            place = place_of(item)
        logger.warning(
            "worker process %d died %s (%s)", member.child.pid, doing, member.child.how_it_ended, extra=place
        )
        if len(self._barren) >= MAX_BARREN_DEATHS:
            self._give_up(member, doing)

    def _give_up(self, member: M, doing: str) -> None:
        self._is_open = False
        reason = self._last_refusal or f"the last one died {doing} ({member.child.how_it_ended})"
        deaths = len(self._barren)
        self._crew.broke(
            ExecutionError(f"worker processes die one after another and get nothing done, {deaths} by now: {reason}")
        )

    def _check_loading(self) -> None:
        """While opening: an error of the first processes would happen in all."""
        if self._last_refusal is not None and self._is_lifespan_refused:
            raise LifespanError(f"in a worker process: {self._last_refusal}")
        if self._last_refusal is not None:
            raise ConfigurationError(
                f"the worker cannot be loaded in a worker process: {self._last_refusal}. It must be importable there, "
                "from a module or the program's main file (not stdin, `python -c`, an interactive session), and a main "
                'file must start the consumer under `if __name__ == "__main__":`'
            )
        if len(self._barren) >= self._size:
            raise ExecutionError("worker processes die before they have loaded the worker; see the log for how")

    def _fill(self) -> None:
        """Start missing processes, now or after the delay that follows from earlier deaths."""
        if not self._is_open or self._respawn is not None:
            return
        if self._is_complete():
            return
        deaths = len(self._barren)
        if deaths > 1:
            delay = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** (deaths - 2))
            self._respawn = self._loop.call_later(delay, self._fill_later)
        else:
            self._fill_now()

    def _fill_later(self) -> None:
        try:
            self._fill_now()
        except Exception as bug:  # noqa: BLE001 -- as above
            self._crew.broke(bug)

    def _fill_now(self) -> None:
        self._respawn = None
        while self._is_open and not self._is_complete():
            try:
                member = self._crew.enlisted(partial(ChildProcess, self._loop, self._setup, self))
            except OSError as error:
                if not self.members:
                    failure = ExecutionError(f"no worker process can be started: {error}")
                    failure.__cause__ = error
                    self._crew.broke(failure)
                else:
                    logger.warning("a worker process cannot be started: %s", error)
                    self._respawn = self._loop.call_later(MAX_DELAY_SECONDS, self._fill_later)
                return
            member.is_set_aside = self._serving(set_aside=False) >= self._size
            self._by_child[member.child] = member
            self.members.append(member)

    def _is_complete(self) -> bool:
        aside = self._serving(set_aside=True)
        return self._serving(set_aside=False) >= self._size and aside >= self._is_setting_aside

    def _serving(self, *, set_aside: bool) -> int:
        return sum(member.is_set_aside is set_aside and not member.is_retired for member in self.members)
