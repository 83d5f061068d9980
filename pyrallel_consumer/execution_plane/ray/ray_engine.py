"""The Ray engine: workers on the actors of a cluster, each actor with a local engine and several items at once.

Items wait in one queue here and go to actors in frames, some milliseconds of work ahead. Each actor always has an open
question for news, and answers as soon as there is some. Failed items are tried again from here, on any actor. When an
actor dies, the items that ran there lose one attempt, and the others none: see ``suspects``. A suspect runs alone in an
actor that gets nothing else until then. A task that times out is cancelled. A plain call cannot be cancelled, so its
actor is killed, and only that item loses an attempt.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
from collections import deque
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Final

from pyrallel_consumer.dto import packed_item
from pyrallel_consumer.errors import ProcessDiedError
from pyrallel_consumer.execution_plane.processes.parent.suspecting_engine import SuspectingEngine
from pyrallel_consumer.execution_plane.processes.remote_error import PackedError, restored_error
from pyrallel_consumer.execution_plane.ray.actors import Actors
from pyrallel_consumer.execution_plane.ray.host import ActorHost, Setup
from pyrallel_consumer.log import Log, relay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.attempts import Attempt
    from pyrallel_consumer.execution_plane.engine import CompletionChannel
    from pyrallel_consumer.execution_plane.processes.attempt_trace import AttemptTrace
    from pyrallel_consumer.execution_plane.ray.actors import Member
    from pyrallel_consumer.execution_plane.ray.cluster import Cluster
    from pyrallel_consumer.execution_plane.ray.host import Reply
    from pyrallel_consumer.execution_plane.worker.lifespan import Lifespan
    from pyrallel_consumer.message import Row

logger = Log("pyrallel_consumer.execution_plane")

FLUSH_SECONDS: Final = 0.002
LONGEST_FLUSH_SECONDS: Final = 0.02
"""The longest time between two reports of a busy actor: each costs this process half a millisecond."""
SILENT_SECONDS: Final = 15.0
"""An actor whose worker blocks its interpreter is silent; its attempt times out this much later."""


class RayEngine(SuspectingEngine):
    """Runs ``worker``, ``async def`` or plain, on actors of ``cluster``; ``concurrency`` attempts in each (0: fits).

    ``is_async``: the worker's return value is awaited. ``start_seconds`` is how long the start waits for the fewest
    actors. ``frame_items`` is the largest number of items in a frame. ``initializer`` is called and ``lifespan``
    entered once in each actor. ``pack`` makes the row that an item travels as.
    """

    def __init__(
        self,
        worker: Callable[[WorkItem], object],
        policy: RetryPolicy,
        slots: int,
        cluster: Cluster,
        *,
        is_async: bool,
        concurrency: int = 0,
        frame_items: int = 256,
        start_seconds: float = 30.0,
        initializer: Callable[[], object] | str | None = None,
        lifespan: Lifespan | None = None,
        trace: AttemptTrace | None = None,
        pack: Callable[..., Row] = packed_item,
        jitter: Callable[[], float] = random.random,
        is_recording: bool = False,
    ) -> None:
        super().__init__(policy, slots, trace=trace, pack=pack, jitter=jitter, is_recording=is_recording)
        self._slots = slots
        self._worker = worker
        self._is_async = is_async
        self._initializer = initializer
        self._lifespan = lifespan
        self._cluster = cluster
        self._actors: Actors | None = None
        self._concurrency = concurrency
        self._frame_items = frame_items
        self._start_seconds = start_seconds
        self._timeout_seconds = policy.timeout_ms / 1000 if policy.timeout_ms else None
        self._doubtful: deque[Attempt] = deque()
        """Attempts of messages that may have killed an actor, until they are sent."""
        self._aside: Member | None = None
        """The actor that runs a suspect alone, or that gets no new items until it can do so."""
        self._all_ended = asyncio.Event()
        self._is_dispatch_due = False
        self._is_cancel_due = False

    # The contract

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        await super().start(channel, now)
        self._loop = asyncio.get_running_loop()
        cluster, fewest = self._cluster, self._cluster.plan.fewest
        await asyncio.to_thread(cluster.connect, ActorHost)
        concurrency = self._concurrency or (max(1, -(-self._slots // fewest)) if self._is_async else 1)
        setup = Setup(
            self._worker,
            self._is_async,
            self._is_recording,
            self._initializer,
            self._lifespan,
            concurrency,
            min(LONGEST_FLUSH_SECONDS, FLUSH_SECONDS * fewest),
            {"": logging.getLogger().level, "pyrallel_consumer": logging.getLogger("pyrallel_consumer").level},
        )
        self._actors = Actors(cluster, self, contextvars.copy_context())
        self._actors.on_bug = channel.crashed
        await self._actors.open(cluster.packed(tuple(setup)), concurrency, cluster.most_actors(), self._start_seconds)

    def submit(self, item: WorkItem) -> None:
        self.submit_all((item,))

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self._queue.extend(self._attempts.start_all(items, inf))
        self._dispatch_soon()

    def sweep(self, now: float) -> None:
        if self._timeout_seconds is not None:
            for member in self._members:
                for attempt in list(member.sent.begun.values()):
                    if attempt.started_at + self._timeout_seconds > now:
                        break
                    if not attempt.is_timed_out:
                        self._attempts.time_out(attempt, now)
                        self._stop_attempt(attempt)
        super().sweep(now)

    def next_sweep_at(self) -> float | None:
        moments = [super().next_sweep_at()]
        if self._timeout_seconds is not None:
            for member in self._members:
                first = next((each for each in member.sent.begun.values() if not each.is_timed_out), None)
                moments.append(None if first is None else first.started_at + self._timeout_seconds)
        return min((moment for moment in moments if moment is not None), default=None)

    def withdraw(self, which: Callable[[WorkItem], bool]) -> None:
        super().withdraw(which)
        self._give_back_queued(lambda attempt: which(attempt.root))
        for member in self._members:
            recalled = []
            for number, attempt in member.sent.unbegun():
                if not attempt.is_withdrawn and which(attempt.root):
                    attempt.is_withdrawn = True
                    recalled.append(number)
            if recalled and member.can_hear:
                self._cluster.tell(member.handle.recall, recalled)

    def cancel(self, which: Callable[[WorkItem], bool]) -> None:
        super().cancel(which)
        self._give_back_queued(lambda attempt: attempt.is_cancelled)

    def heed_lease(self) -> None:
        for member in self._members:
            if member.can_hear and len(member.sent):
                self._cluster.tell(member.handle.lease, self.lease_seconds())
        if self.is_waiting():
            self._dispatch_soon()

    # What the base asks for

    @property
    def _members(self) -> Sequence[Member]:
        return () if self._actors is None else self._actors.members

    def _queues(self) -> Sequence[deque[Attempt]]:
        return self._queue, self._doubtful, self._alone

    def _queue_of(self, root: WorkItem) -> deque[Attempt]:
        if root is self._suspects.current:
            return self._alone
        return self._doubtful if root in self._suspects else self._queue

    def _call_suspects(self) -> None:
        """Among several actors a due retry starts now: the actor set aside for the previous suspect is kept."""
        if self._suspects.are_waiting and not self._is_stopped and self._call_next() and len(self._members) > 1:
            now = self._now()
            if now <= self._channel.starts_until:
                self._start_due(now)

    def _stop_attempt(self, attempt: Attempt) -> None:
        """The actor cancels a task. A plain call ends with its actor, after it is known to have begun."""
        member: Member | None = attempt.handle
        if member is None or member.is_killed or (number := member.sent.number_of(attempt)) is None:
            return
        if not self._is_async and number in member.sent.begun:
            self._end_actor(member, number)
            return
        member.cancels.append(number)
        if not self._is_cancel_due:
            self._is_cancel_due = True
            self._loop.call_soon(self._guarded, self._send_cancels)

    async def _wait_ended(self, timeout_seconds: float) -> None:
        if self._actors is None:
            return
        self._actors.stop_scaling()
        ends_at = self._loop.time() + timeout_seconds
        if self._attempts.running:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await self._all_ended.wait()
        await self._actors.close(ends_at - self._loop.time())
        await asyncio.to_thread(self._cluster.disconnect)

    # To the actors

    def _kill(self, member: Member) -> None:
        if self._actors is not None:
            self._actors.kill(member)

    def _end_actor(self, member: Member, number: int) -> None:
        if self._actors is not None:
            self._actors.end(member, number)

    def _dispatch_soon(self) -> None:
        if not self._is_dispatch_due:
            self._is_dispatch_due = True
            self._loop.call_soon(self._guarded, self._dispatch)

    def _dispatch(self) -> None:
        """Send waiting items to the actors with the least work."""
        self._is_dispatch_due = False
        if self._now() > self._channel.starts_until:
            return
        self._send_suspect()
        takers = [member for member in self._members if member.may_be_sent and member is not self._aside]
        if self._doubtful:
            for taker in sorted(takers, key=_load):
                self._send_some(taker, self._doubtful, taker.sent.close_room)
            if self._doubtful:
                return  # No actor can begin more at once; behind other items these would wait for ever.
            takers = [member for member in takers if member.may_be_sent]
        while self._queue and takers:
            taker = min(takers, key=_load)
            share = -(-len(self._queue) // len(takers))
            self._send_some(taker, self._queue, min(share, taker.sent.room))
            if not taker.may_be_sent:
                takers.remove(taker)

    def _send_suspect(self) -> None:
        """Send it to an empty actor; where none is empty, the one with the least work gets nothing more until it is."""
        if not self._alone:
            if self._aside is not None and not len(self._aside.sent):
                self._aside = None
            return
        able = [member for member in self._members if member.can_hear and not member.is_leaving]
        if not able:
            return
        idlest = min(able, key=_load)
        if self._aside not in able or not len(idlest.sent):
            self._aside = idlest
        if not len(self._aside.sent):
            self._send_some(self._aside, self._alone, 1)

    def _send_some(self, member: Member, queue: deque[Attempt], most: int) -> None:
        attempts, body = self._frame_of(queue, min(most, self._frame_items))
        if not attempts:
            return
        for attempt in attempts:
            attempt.handle = member
        first = member.sent.add(attempts, self._now(), is_close=queue is not self._queue)
        member.frames_sent += 1
        self._cluster.tell(member.handle.put, first, body, self.lease_seconds())

    def _send_cancels(self) -> None:
        self._is_cancel_due = False
        for member in self._members:
            cancels, member.cancels = member.cancels, []
            if cancels and member.can_hear:
                self._cluster.tell(member.handle.cancel, cancels)

    # From the actors: see ``actors.Crew``

    def lease_seconds(self) -> float | None:
        """How long from now an actor may begin items; None: without an end, 0: not at all."""
        until = self._channel.starts_until
        return None if until == inf else max(0.0, until - self._now())

    def is_waiting(self) -> bool:
        return bool(self._queue or self._doubtful or self._alone)

    def opened(self, member: Member) -> None:
        if not self._is_async:
            for number, attempt in list(member.sent.begun.items()):
                if attempt.marked_at is not None:
                    self._end_actor(member, number)
        self._dispatch_soon()

    def told(self, member: Member, reply: Reply) -> None:
        now, sent = self._now(), member.sent
        for fields in reply.logs:
            relay(fields)
        for number, records in reply.returned:
            if (attempt := sent.at(number)) is not None:
                self._keep(attempt.root, attempt.number, records)
        if reply.done:
            self._end_all_ok(sent.end_all(reply.done, now))
        for number, packed in reply.failed:
            self._note_failure(sent.end_all([number], now), PackedError(*packed))
        if reply.skipped:
            self._take_back(sent.end_all(reply.skipped, now))
        self._note_begun(member, reply, now)
        if self._actors is not None and (reply.done or reply.failed):
            self._actors.note_progress()
        self._go_on()

    def died(self, member: Member) -> None:
        """Items that ran there lose an attempt; if we killed it because of one item, only that one does."""
        ran, others = member.sent.taken_back()
        if self._is_stopped:
            for attempt in (*ran, *others):
                self._give_back(attempt.root)
            self._go_on()
            return
        if member.is_sentenced:
            self._take_back([attempt for attempt in ran if attempt.marked_at is None] + others)
            for attempt in ran:
                if attempt.marked_at is not None:
                    text = f"the actor at {member.place} was killed while it ran {attempt.root.id}"
                    self._end(attempt.root, ProcessDiedError(text))
            return
        was_alone = member is self._aside and [attempt.root for attempt in ran] == [self._suspects.current]
        for attempt in others:
            self._suspects.doubt(attempt.root)
        self._take_back(others)
        among = f", with {len(ran) - 1} others" if len(ran) > 1 else ""
        now = self._now()
        for attempt in ran:
            text = f"the actor at {member.place} died while it ran {attempt.root.id}{among}"
            if self._trace is not None and attempt.started_at < inf:
                seconds = now - attempt.started_at
                self._trace.died(attempt.item, seconds, "its actor died", is_timed_out=attempt.is_timed_out)
            self._end_by_death(attempt, ProcessDiedError(text), was_alone=was_alone)
        self._call_suspects()
        self._dispatch_soon()

    def looked_at(self, member: Member) -> None:
        if member.is_killed:
            return
        now = self._now()
        recalled = [number for number in member.sent.ahead_of_slow(now) if number > member.last_recalled]
        if recalled and member.is_open:
            member.last_recalled = recalled[-1]
            self._cluster.tell(member.handle.recall, recalled)
        if self._timeout_seconds is None:
            return
        if self._loop.time() - member.heard_at > self._timeout_seconds + SILENT_SECONDS:
            for attempt in member.sent.begun.values():
                if not attempt.is_timed_out:
                    self._attempts.time_out(attempt, now)
            self._kill(member)

    def _note_begun(self, member: Member, reply: Reply, now: float) -> None:
        for number, seconds in reply.begun:
            attempt = member.sent.begin(number, now - seconds)
            if attempt is not None and attempt.marked_at is not None and not self._is_async:
                self._end_actor(member, number)
        if reply.begun and self._timeout_seconds is not None:
            self._channel.notify()  # The next sweep may be nearer.

    def _note_failure(self, ended: list[Attempt], failure: PackedError) -> None:
        for attempt in ended:
            if self._trace is not None:
                self._trace.failed(attempt.item, failure.carrier)
            self._end(attempt.root, restored_error(failure))

    def _go_on(self) -> None:
        if self._is_stopped:
            if not self._attempts.running:
                self._all_ended.set()
        elif self.is_waiting() and not self._is_dispatch_due:
            self._dispatch()


def _load(member: Member) -> float:
    return member.sent.load
