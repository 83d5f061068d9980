"""The actors of one engine: made, opened, asked for news, replaced when they die, more of them while work waits.

It knows when an actor runs and when it is gone. Of items it knows only how many an actor was sent; the engine has them,
and learns of all events through ``Crew``. Every method runs on the engine's event loop.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from pyrallel_consumer.errors import ConfigurationError, ExecutionError
from pyrallel_consumer.execution_plane.processes.remote_error import PackedError, restored_error
from pyrallel_consumer.execution_plane.ray.cluster import missing
from pyrallel_consumer.execution_plane.ray.host import LEAVE_SECONDS, Reply
from pyrallel_consumer.execution_plane.ray.sent import SentToActor
from pyrallel_consumer.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from contextvars import Context

    from pyrallel_consumer.execution_plane.ray.cluster import Cluster

logger = Log("pyrallel_consumer.execution_plane")

FRAMES_UNDER_WAY: Final = 3
"""How many frames may be unacknowledged per actor: each costs this process a fraction of a millisecond."""
TICK_SECONDS: Final = 0.5
IDLE_SECONDS: Final = 60.0
"""An actor beyond the minimum is ended after it had nothing to do for this time."""
LONGEST_BACKOFF_SECONDS: Final = 30.0
CLOSE_SECONDS: Final = 1.0
DEAF_SECONDS: Final = 1.0
"""An actor that does not end itself within this time is killed: its worker holds the interpreter."""


class Member:
    """One actor. ``is_open`` is False until it can work, ``is_leaving`` True when it gets nothing more."""

    def __init__(self, handle: Any, concurrency: int, now: float) -> None:
        self.handle = handle
        self.sent = SentToActor(concurrency)
        self.frames_sent = 0
        self.frames_seen = 0
        self.heard_at = self.busy_at = now
        self.place = "not placed yet"
        self.is_open = False
        self.is_leaving = False
        self.is_killed = False
        self.is_sentenced = False
        """Killed because of a call that may not go on: the other items there are not to blame."""
        self.cancels: list[int] = []
        self.last_recalled = 0
        """The number of the last item that it was told to give back."""

    @property
    def can_hear(self) -> bool:
        return self.is_open and not self.is_killed

    @property
    def may_be_sent(self) -> bool:
        is_listening = self.frames_sent - self.frames_seen < FRAMES_UNDER_WAY
        return self.can_hear and not self.is_leaving and is_listening and self.sent.room > 0


class Crew(Protocol):
    """The engine, as used by its actors."""

    def opened(self, member: Member) -> None:
        """It can be sent work, from now on or again."""

    def told(self, member: Member, reply: Reply) -> None:
        """It sent news, or an empty sign of life."""

    def died(self, member: Member) -> None:
        """It is gone, and with it all items whose end it has not reported."""

    def looked_at(self, member: Member) -> None:
        """Check now whether it is slow, or has been silent for too long; it was sent work."""

    def is_waiting(self) -> bool:
        """Whether work waits because no actor has room for it."""

    def lease_seconds(self) -> float | None:
        """See ``host``."""


class Actors:
    """Every actor is made from ``setup``; there are at most ``most``, each with this ``concurrency``."""

    def __init__(self, cluster: Cluster, crew: Crew, loop_context: Context) -> None:
        self.members: list[Member] = []
        self._cluster = cluster
        self._plan = cluster.plan
        self._crew = crew
        self._context = loop_context
        self._loop = asyncio.get_running_loop()
        self._setup = b""
        self._concurrency = 1
        self._most = cluster.plan.fewest
        self._opened = asyncio.Event()
        self._refusal: BaseException | None = None
        self._deaths_in_a_row = 0
        self._ticker: asyncio.TimerHandle | None = None
        self._is_closed = False
        self.on_bug: Callable[[BaseException], None] = partial(logger.error, "%s")

    async def open(self, setup: bytes, concurrency: int, most: int, seconds: float) -> None:
        """Return when the minimum of actors can work; after ``seconds`` raise an error that names the missing
        resources.
        """
        self._setup, self._concurrency, self._most = setup, concurrency, max(most, self._plan.fewest)
        for _ in range(self._plan.fewest):
            self._grow()
        deadline = self._loop.time() + seconds
        while (count := sum(member.is_open for member in self.members)) < self._plan.fewest:
            if self._refusal is not None:
                failure = ExecutionError(f"the worker cannot be started on an actor of Ray: {self._refusal}")
                failure.__cause__ = self._refusal
                raise failure
            self._opened.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._opened.wait()
            except TimeoutError:
                nodes = await asyncio.to_thread(self._cluster.nodes)
                late = (
                    f"after {seconds:g} s, {count} of {self._plan.fewest} actors (RayConfig.min_actors) have started: "
                    "others hold the cluster's resources, or its nodes are slow; start_timeout_ms waits longer"
                )
                raise ConfigurationError(missing(nodes, self._plan) or late) from None
        self._tick_later()

    def note_progress(self) -> None:
        """An item ended on an actor: earlier deaths no longer count."""
        self._deaths_in_a_row = 0

    def kill(self, member: Member) -> None:
        """End it at once, even if items run there. ``Crew.died`` follows when it is certainly dead."""
        if not member.is_killed:
            member.is_killed = True
            self._cluster.kill(member.handle)

    def end(self, member: Member, number: int) -> None:
        """Have it end itself, unless the call of this number returns meanwhile; one that does not hear is killed."""
        if not member.is_killed:
            member.is_killed = member.is_sentenced = True
            self._when(member, self._cluster.call(member.handle.die, number), self._note_spared)
            self._loop.call_later(DEAF_SECONDS, self._guarded, partial(self._kill_deaf, member))

    def stop_scaling(self) -> None:
        self._is_closed = True
        if self._ticker is not None:
            self._ticker.cancel()

    async def close(self, seconds: float) -> None:
        """Let all leave their lifespans, for at most ``seconds``, and end them."""
        leaving = [
            asyncio.wrap_future(self._cluster.call(member.handle.close)) for member in self.members if member.can_hear
        ]
        if leaving:
            await asyncio.wait(leaving, timeout=max(CLOSE_SECONDS, seconds))
        for each in leaving:
            if not each.done():
                each.cancel()
            elif (error := each.exception()) is not None:
                logger.warning("an actor did not leave in order: %s", error)
        for member in self.members:
            self.kill(member)
        self.members = []

    # Coming

    def _grow(self) -> None:
        member = Member(self._cluster.made_actor(self._setup), self._concurrency, self._loop.time())
        self.members.append(member)
        self._when(member, self._cluster.call(member.handle.open), self._note_opened)

    def _when(self, member: Member, future: Future[Any], then: Callable[[Member, Future[Any]], None]) -> None:
        """Call ``then`` on the loop when the actor has answered, or can no longer answer."""

        def answered(answer: Future[Any]) -> None:
            with suppress(RuntimeError):  # The loop is closed.
                self._loop.call_soon_threadsafe(self._guarded, partial(then, member, answer), context=self._context)

        future.add_done_callback(answered)

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as bug:  # noqa: BLE001 -- ours: it must reach the consumer, not the event loop
            self.on_bug(bug)

    def _note_opened(self, member: Member, answer: Future[Any]) -> None:
        if member not in self.members:
            return
        if (error := answer.exception()) is not None:
            self._note_lost(member, error)
            return
        member.place, refusal = answer.result()
        if refusal is not None:
            self.members.remove(member)
            self._cluster.kill(member.handle)
            self._note_refusal(restored_error(PackedError(*refusal)))
            return
        member.is_open = True
        member.heard_at = member.busy_at = self._loop.time()
        self._opened.set()
        self._ask(member)
        self._crew.opened(member)

    def _note_refusal(self, cause: BaseException) -> None:
        """The worker could not be made there: fatal at the start; later another actor is tried after a while."""
        self._refusal = cause
        self._opened.set()
        logger.warning("an actor could not be started: %s: %s", type(cause).__name__, cause)
        self._deaths_in_a_row += 1
        self._replace_later()

    # While they live

    def _ask(self, member: Member) -> None:
        call = self._cluster.call(member.handle.take, self._crew.lease_seconds())
        self._when(member, call, self._note_answer)

    def _note_answer(self, member: Member, answer: Future[Any]) -> None:
        if member not in self.members:
            return
        if (error := answer.exception()) is not None:
            self._note_lost(member, error)
            return
        reply = Reply(*answer.result())
        member.heard_at = self._loop.time()
        member.frames_seen = reply.frames
        self._crew.told(member, reply)
        if member in self.members:
            self._ask(member)

    def _tick_later(self) -> None:
        self._ticker = self._loop.call_later(TICK_SECONDS, self._guarded, self._tick)

    def _tick(self) -> None:
        """Scale by the waiting items, and look for slow and silent actors."""
        now = self._loop.time()
        is_opening = any(not member.is_open for member in self.members)
        if self._crew.is_waiting() and not is_opening and len(self.members) < self._most:
            self._grow()
        for member in list(self.members):
            if len(member.sent):
                member.busy_at = now
                self._crew.looked_at(member)
            elif member.is_open and now - member.busy_at > IDLE_SECONDS and self._staying() > self._plan.fewest:
                self._let_go(member)
        self._tick_later()

    def _let_go(self, member: Member) -> None:
        member.is_leaving = True
        self._cluster.tell(member.handle.close)
        self._loop.call_later(LEAVE_SECONDS, self._guarded, partial(self.kill, member))

    # Going

    def _note_lost(self, member: Member, error: BaseException) -> None:
        """An actor does not answer any more. Only an actor that is certainly dead has stopped running items."""
        if not self._cluster.has_died(error):
            self.kill(member)
            self._when(member, self._cluster.call(member.handle.open), self._note_end_of_lost)
            return
        self.members.remove(member)
        how = "was killed" if member.is_sentenced else "died"
        log = logger.info if member.is_sentenced or member.is_leaving or self._is_closed else logger.warning
        log("the actor at %s %s, with %d items in hand", member.place, how, len(member.sent))
        self._crew.died(member)
        if not member.is_leaving:
            self._deaths_in_a_row += not member.is_sentenced
            self._replace_later()

    def _note_end_of_lost(self, member: Member, answer: Future[Any]) -> None:
        if member in self.members and (error := answer.exception()) is not None:
            self._note_lost(member, error)

    def _note_spared(self, member: Member, answer: Future[Any]) -> None:
        """It lives: the call had returned. If it died, the request for its news reports that."""
        if answer.exception() is None and member in self.members:
            member.is_killed = member.is_sentenced = False
            self._crew.opened(member)

    def _kill_deaf(self, member: Member) -> None:
        if member in self.members and member.is_killed:
            self._cluster.kill(member.handle)

    def _replace_later(self) -> None:
        """Replace an actor: at once after the first death, after longer waits while successors get nothing done."""
        seconds = 0.0
        if self._deaths_in_a_row > 1:
            seconds = min(LONGEST_BACKOFF_SECONDS, 0.1 * 2 ** min(self._deaths_in_a_row, 10))
        self._loop.call_later(seconds, self._guarded, self._replace)

    def _replace(self) -> None:
        if not self._is_closed and self._staying() < self._plan.fewest:
            self._grow()

    def _staying(self) -> int:
        return sum(not member.is_leaving for member in self.members)
