"""The Ray engine: workers on the actors of a cluster, each actor with a local engine and several items at once.

Items wait in one queue here and go to actors in frames, some milliseconds of work ahead. Each actor always has an open
question for news, and answers as soon as there is some. Failed items are tried again from here, on any actor. When an
actor dies, the items that ran there lose one attempt, and the others none. A task that times out is cancelled. A plain
call cannot be cancelled, so its actor is killed, and only that item loses an attempt.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import pickle
import random
from collections import deque
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from pyrallel_consumer.dto import packed_item
from pyrallel_consumer.errors import ProcessDiedError
from pyrallel_consumer.execution_plane.booked_engine import BookedEngine
from pyrallel_consumer.execution_plane.processes.remote_error import PackedError, restored_error
from pyrallel_consumer.execution_plane.processes.unsendable import unsendable
from pyrallel_consumer.execution_plane.ray.actors import Actors
from pyrallel_consumer.execution_plane.ray.cluster import Cluster
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
    from pyrallel_consumer.execution_plane.ray.cluster import ActorPlan
    from pyrallel_consumer.execution_plane.ray.host import Reply
    from pyrallel_consumer.execution_plane.worker.lifespan import Lifespan
    from pyrallel_consumer.message import Row

logger = Log("pyrallel_consumer.execution_plane")

MAX_FRAME_BYTES: Final = 256 * 1024
FLUSH_SECONDS: Final = 0.002
LONGEST_FLUSH_SECONDS: Final = 0.02
"""The longest time between two reports of a busy actor: each costs this process half a millisecond."""
SILENT_SECONDS: Final = 15.0
"""An actor whose worker blocks its interpreter is silent; its attempt times out this much later."""


class RayEngine(BookedEngine):
    """Runs ``worker``, ``async def`` or plain, on actors as ``plan`` says; ``concurrency`` attempts in each (0: fits).

    ``is_async``: what the worker returns is to be awaited. ``start_seconds`` is how long the start waits for the fewest
    actors. ``frame_items`` is the most of one frame. ``initializer`` is called and ``lifespan`` entered once in each
    actor. ``pack`` makes the row that an item travels as.
    """

    def __init__(
        self,
        worker: Callable[[WorkItem], object],
        policy: RetryPolicy,
        slots: int,
        plan: ActorPlan,
        *,
        is_async: bool,
        address: str = "auto",
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
        super().__init__(policy, slots, jitter=jitter, is_timing=False, is_recording=is_recording)
        self._slots = slots
        self._worker = worker
        self._is_async = is_async
        self._initializer = initializer
        self._lifespan = lifespan
        self._plan = plan
        self._cluster = Cluster(address, plan)
        self._actors: Actors | None = None
        self._concurrency = concurrency
        self._frame_items = frame_items
        self._start_seconds = start_seconds
        self._timeout_seconds = policy.timeout_ms / 1000 if policy.timeout_ms else None
        self._trace = trace
        self._pack = pack
        self._packed_item = pack if trace is None else partial(_packed_with, pack, trace)
        self._queue: deque[Attempt] = deque()
        self._all_ended = asyncio.Event()
        self._is_dispatch_due = False
        self._is_cancel_due = False

    # The contract

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        await super().start(channel, now)
        self._loop = asyncio.get_running_loop()
        cluster, fewest = self._cluster, self._plan.fewest
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
        self._actors = Actors(cluster, self._plan, self, contextvars.copy_context())
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
        if self._queue:
            self._dispatch_soon()

    # What the base asks for

    @property
    def _members(self) -> Sequence[Member]:
        return () if self._actors is None else self._actors.members

    def _start_due(self, now: float) -> None:
        if due := self._attempts.due(now):
            for attempt in reversed(due):
                attempt.started_at = inf
                self._queue.appendleft(attempt)
            self._dispatch_soon()

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

    def _requeue(self, attempts: Sequence[Attempt]) -> None:
        """These attempts never began; those that were cancelled or withdrawn meanwhile are over."""
        for attempt in reversed(attempts):
            attempt.handle, attempt.started_at = None, inf
            if attempt.is_cancelled or attempt.is_withdrawn or self._is_stopped:
                self._give_back(attempt.root)
            else:
                self._queue.appendleft(attempt)
        if self._queue:
            self._dispatch_soon()

    def _give_back_queued(self, which: Callable[[Attempt], bool]) -> None:
        gone = [attempt for attempt in self._queue if which(attempt)]
        if gone:
            self._queue = deque(attempt for attempt in self._queue if not which(attempt))
            for attempt in gone:
                self._give_back(attempt.root)

    def _dispatch_soon(self) -> None:
        if not self._is_dispatch_due:
            self._is_dispatch_due = True
            self._loop.call_soon(self._guarded, self._dispatch)

    def _dispatch(self) -> None:
        """Send waiting items to the actors with the least work."""
        self._is_dispatch_due = False
        if self._now() > self._channel.starts_until:
            return
        takers = [member for member in self._members if member.may_be_sent]
        while self._queue and takers:
            taker = min(takers, key=_load)
            share = -(-len(self._queue) // len(takers))
            self._send_some(taker, min(share, taker.sent.room, self._frame_items))
            if not taker.may_be_sent:
                takers.remove(taker)

    def _send_some(self, member: Member, count: int) -> None:
        attempts: list[Attempt] = []
        size_bytes = 0
        while self._queue and len(attempts) < count and size_bytes < MAX_FRAME_BYTES:
            attempt = self._queue.popleft()
            size_bytes += attempt.item.size_bytes
            attempts.append(attempt)
        try:
            body = pickle.dumps([self._packed_item(attempt.item) for attempt in attempts], pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # noqa: BLE001 -- a message of a third party's may hold anything
            logger.debug("a frame cannot be pickled: %s", error)
            self._fail_unsendable(attempts)
            return
        for attempt in attempts:
            attempt.handle = member
        first = member.sent.add(attempts, self._now())
        member.frames_sent += 1
        self._cluster.tell(member.handle.put, first, body, self.lease_seconds())

    def _fail_unsendable(self, attempts: list[Attempt]) -> None:
        """Find out whose fault it is; the others are sent in another frame."""
        failures = [(attempt, unsendable(attempt.item, self._pack)) for attempt in attempts]
        self._requeue([attempt for attempt, failure in failures if failure is None])
        for attempt, failure in failures:
            if failure is not None:
                self._end(attempt.root, failure)

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
        return bool(self._queue)

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
            ended = sent.end_all(reply.done, now)
            self._attempts.all_ended_ok(ended, now)
            self._channel.successes += [attempt.root for attempt in ended]
            self._channel.notify()
        for number, packed in reply.failed:
            self._note_failure(sent.end_all([number], now), PackedError(*packed))
        if reply.skipped:
            self._requeue(sent.end_all(reply.skipped, now))
        self._note_begun(member, reply, now)
        if self._actors is not None and (reply.done or reply.failed):
            self._actors.note_progress()
        self._go_on()

    def died(self, member: Member) -> None:
        """Items that may have run there lose an attempt; if we killed it because of one item, only that one does."""
        ran, others = member.sent.taken_back()
        if self._is_stopped:
            for attempt in (*ran, *others):
                self._give_back(attempt.root)
            self._go_on()
            return
        if member.is_killed and not member.is_leaving:
            others = [attempt for attempt in ran if attempt.marked_at is None] + others
            ran = [attempt for attempt in ran if attempt.marked_at is not None]
        self._requeue(others)
        how = "was killed" if member.is_killed else "died"
        for attempt in ran:
            text = f"the actor at {member.place} {how} while it ran {attempt.root.id}"
            self._end(attempt.root, ProcessDiedError(text))

    def looked_at(self, member: Member) -> None:
        if self._timeout_seconds is None or member.is_killed:
            return
        now = self._now()
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
        elif self._queue and not self._is_dispatch_due:
            self._dispatch()


def _load(member: Member) -> float:
    return member.sent.load


def _packed_with(pack: Callable[..., Row], trace: AttemptTrace, item: WorkItem) -> Row:
    return pack(item, trace.earlier(item))
