"""The Ray engine: workers on the actors of a cluster, each actor with a local engine and several items at once.

Items wait in one queue here and go to actors in frames, some milliseconds of work ahead. Each actor is asked all the
time what became of them, and answers as soon as there is news. Whatever fails is tried again from here, on any actor. An
actor that dies costs what ran there one attempt and the rest none, and is replaced. A task that times out is cancelled;
a plain call cannot be, so its actor is killed: only that item is charged.
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
from typing import TYPE_CHECKING, Any, Final

from pyrallel_consumer.dto import packed_item
from pyrallel_consumer.errors import ConfigurationError, ExecutionError, ProcessDiedError
from pyrallel_consumer.execution_plane.booked_engine import BookedEngine
from pyrallel_consumer.execution_plane.processes.remote_error import PackedError, restored_error
from pyrallel_consumer.execution_plane.ray.cluster import Cluster, missing
from pyrallel_consumer.execution_plane.ray.host import ActorHost, Reply, Setup
from pyrallel_consumer.execution_plane.ray.sent import SentToActor
from pyrallel_consumer.execution_plane.worker_kind import is_async
from pyrallel_consumer.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.attempt_trace import AttemptTrace
    from pyrallel_consumer.execution_plane.attempts import Attempt
    from pyrallel_consumer.execution_plane.engine import CompletionChannel
    from pyrallel_consumer.execution_plane.ray.cluster import ActorPlan
    from pyrallel_consumer.message import Row

logger = Log("pyrallel_consumer.execution_plane")

MAX_FRAME_BYTES: Final = 256 * 1024
FRAMES_UNDER_WAY: Final = 3
"""Frames that an actor need not have acknowledged: each costs this process a fraction of a millisecond."""
FLUSH_SECONDS: Final = 0.002
LONGEST_FLUSH_SECONDS: Final = 0.02
TICK_SECONDS: Final = 0.5
IDLE_SECONDS: Final = 60.0
"""An actor beyond the fewest that had nothing to do for so long is let go."""
SILENT_SECONDS: Final = 15.0
"""An actor whose worker holds its interpreter tells nothing; its attempt is over time after so long on top."""
LONGEST_BACKOFF_SECONDS: Final = 30.0
CLOSE_SECONDS: Final = 1.0


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
        self.cancels: list[int] = []

    @property
    def may_be_sent(self) -> bool:
        is_usable = self.is_open and not self.is_leaving and not self.is_killed
        return is_usable and self.frames_sent - self.frames_seen < FRAMES_UNDER_WAY and self.sent.room > 0


class RayEngine(BookedEngine):
    """Runs ``worker``, ``async def`` or plain, on actors as ``plan`` says; ``concurrency`` attempts in each (0: fits).

    ``start_seconds`` is how long the start waits for the fewest actors. ``frame_items`` is the most of one frame.
    """

    def __init__(
        self,
        worker: Callable[[WorkItem], object],
        policy: RetryPolicy,
        slots: int,
        plan: ActorPlan,
        *,
        address: str = "auto",
        concurrency: int = 0,
        frame_items: int = 256,
        start_seconds: float = 30.0,
        initializer: Callable[[], object] | None = None,
        trace: AttemptTrace | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(policy, slots, jitter=jitter, is_timing=False)
        self._slots = slots
        self._worker = worker
        self._is_async = is_async(worker)
        self._initializer = initializer
        self._plan = plan
        self._cluster = Cluster(address, plan)
        self._wanted_concurrency = concurrency
        self._frame_items = frame_items
        self._start_seconds = start_seconds
        self._timeout_seconds = policy.timeout_ms / 1000 if policy.timeout_ms else None
        self._trace = trace
        self._packed_item = packed_item if trace is None else partial(_packed_with, trace)
        self._queue: deque[Attempt] = deque()
        self._members: list[Member] = []
        self._most = plan.fewest
        self._concurrency = 1
        self._setup = b""
        self._opened = asyncio.Event()
        self._refusal: BaseException | None = None
        self._deaths_in_a_row = 0
        self._all_ended = asyncio.Event()
        self._is_dispatch_due = False
        self._is_cancel_due = False
        self._ticker: asyncio.TimerHandle | None = None

    # The contract

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        await super().start(channel, now)
        self._loop = asyncio.get_running_loop()
        self._base = contextvars.copy_context()
        await asyncio.to_thread(self._cluster.connect, ActorHost)
        self._most = max(self._plan.fewest, self._cluster.most_actors())
        self._concurrency = self._wanted_concurrency or self._fitting_concurrency()
        flush = min(LONGEST_FLUSH_SECONDS, FLUSH_SECONDS * max(1, self._plan.fewest))
        levels = {"": logging.getLogger().level, "pyrallel_consumer": logging.getLogger("pyrallel_consumer").level}
        setup = Setup(self._worker, self._initializer, self._concurrency, flush, levels)
        self._setup = self._cluster.packed(tuple(setup))
        for _ in range(self._plan.fewest):
            self._grow()
        await self._until_open()
        self._tick_later()

    def submit(self, item: WorkItem) -> None:
        self.submit_all((item,))

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self._queue_all(self._attempts.start_all(items, inf))

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
                unmarked = (each for each in member.sent.begun.values() if not each.is_timed_out)
                first = next(unmarked, None)
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
            if recalled and not member.is_killed:
                self._cluster.tell(member.handle.recall, recalled)

    def cancel(self, which: Callable[[WorkItem], bool]) -> None:
        super().cancel(which)
        self._give_back_queued(lambda attempt: attempt.is_cancelled)

    def heed_lease(self) -> None:
        for member in self._members:
            if member.is_open and not member.is_killed and len(member.sent):
                self._cluster.tell(member.handle.lease, self._lease_seconds())
        if self._queue:
            self._dispatch_soon()

    # What the base asks for

    def _start_due(self, now: float) -> None:
        if due := self._attempts.due(now):
            for attempt in reversed(due):
                attempt.started_at = inf
                self._queue.appendleft(attempt)
            self._dispatch_soon()

    def _stop_attempt(self, attempt: Attempt) -> None:
        """A task is cancelled by its actor. A call ends with its actor, once it is known that it began."""
        member: Member | None = attempt.handle
        if member is None or member.is_killed:
            return
        number = member.sent.number_of(attempt)
        if number is None:
            return
        if not self._is_async and number in member.sent.begun:
            self._kill(member)
            return
        member.cancels.append(number)
        if not self._is_cancel_due:
            self._is_cancel_due = True
            self._loop.call_soon(self._guarded, self._send_cancels)

    async def _wait_ended(self, timeout_seconds: float) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        ends_at = self._loop.time() + timeout_seconds
        if self._attempts.running:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await self._all_ended.wait()
        closing = [
            asyncio.wrap_future(self._cluster.call(member.handle.close))
            for member in self._members
            if member.is_open and not member.is_killed
        ]
        if closing:
            await asyncio.wait(closing, timeout=max(CLOSE_SECONDS, ends_at - self._loop.time()))
        for each in closing:
            each.cancel() if not each.done() else each.exception()
        for member in self._members:
            member.is_killed = True
            self._cluster.kill(member.handle)
        self._members = []
        await asyncio.to_thread(self._cluster.disconnect)

    # Actors come and go

    def _fitting_concurrency(self) -> int:
        """Tasks share the slots; calls run one at a time, for an actor has a core."""
        return max(1, -(-self._slots // max(1, self._plan.fewest))) if self._is_async else 1

    def _grow(self) -> None:
        member = Member(self._cluster.made_actor(self._setup), self._concurrency, self._now())
        self._members.append(member)
        self._when(member, self._cluster.call(member.handle.open), self._note_opened)

    def _when(self, member: Member, future: Future[Any], then: Callable[[Member, Future[Any]], None]) -> None:
        """Go on with ``then`` on the loop when the actor has answered, or cannot any more."""

        def answered(answer: Future[Any]) -> None:
            with suppress(RuntimeError):  # The loop is closed.
                self._loop.call_soon_threadsafe(self._guarded, partial(then, member, answer), context=self._base)

        future.add_done_callback(answered)

    def _note_opened(self, member: Member, answer: Future[Any]) -> None:
        if member not in self._members:
            return
        if (error := answer.exception()) is not None:
            self._note_lost(member, error)
            return
        member.place, refusal = answer.result()
        if refusal is not None:
            cause = restored_error(PackedError(*refusal))
            self._members.remove(member)
            self._cluster.kill(member.handle)
            self._note_refusal(cause)
            return
        member.is_open = True
        member.heard_at = member.busy_at = self._now()
        self._opened.set()
        self._ask(member)
        self._dispatch_soon()

    def _note_refusal(self, cause: BaseException) -> None:
        """The worker could not be made there: fatal at the start; later another actor is tried after a while."""
        self._refusal = cause
        self._opened.set()
        logger.warning("an actor could not be started: %s: %s", type(cause).__name__, cause)
        self._deaths_in_a_row += 1
        self._replace_later()

    async def _until_open(self) -> None:
        """All of the fewest can work; an error that says what is missing where they cannot in time."""
        deadline = self._loop.time() + self._start_seconds
        while sum(member.is_open for member in self._members) < self._plan.fewest:
            if self._refusal is not None:
                failure = ExecutionError(f"the worker cannot be started on an actor of Ray: {self._refusal}")
                failure.__cause__ = self._refusal
                raise failure
            self._opened.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._opened.wait()
            except TimeoutError:
                open_now = sum(member.is_open for member in self._members)
                nodes = await asyncio.to_thread(self._cluster.nodes)
                raise ConfigurationError(
                    missing(nodes, self._plan)
                    or f"after {self._start_seconds:g} s, {open_now} of {self._plan.fewest} actors (RayConfig.min_actors) have "
                    "started: others hold the cluster's resources, or its nodes are slow; RayConfig.start_timeout_ms waits longer"
                ) from None

    def _kill(self, member: Member) -> None:
        if not member.is_killed:
            member.is_killed = True
            self._cluster.kill(member.handle)

    def _note_lost(self, member: Member, error: BaseException) -> None:
        """No answer comes any more. Only an actor that is certainly dead runs nothing any more."""
        if not self._cluster.has_died(error):
            self._kill(member)
            self._when(member, self._cluster.call(member.handle.lease, None), self._note_end_of_lost)
            return
        self._members.remove(member)
        ran, others = member.sent.taken_back()
        if self._is_stopped:
            for attempt in (*ran, *others):
                self._give_back(attempt.root)
            self._look_whether_all_ended()
            return
        how = "was killed" if member.is_killed else "died"
        log = logger.info if member.is_killed or member.is_leaving else logger.warning
        log("the actor at %s %s; %d items ran there and %d more were sent", member.place, how, len(ran), len(others))
        if member.is_killed and not member.is_leaving:
            victims = [attempt for attempt in ran if attempt.marked_at is not None]
            others = [attempt for attempt in ran if attempt.marked_at is None] + others
        else:
            victims = ran
        self._requeue(others)
        for attempt in victims:
            self._end(
                attempt.root, ProcessDiedError(f"the actor at {member.place} {how} while it ran {attempt.root.id}")
            )
        if not member.is_leaving:
            self._deaths_in_a_row += not member.is_killed
            self._replace_later()

    def _note_end_of_lost(self, member: Member, answer: Future[Any]) -> None:
        if member in self._members:
            self._note_lost(member, answer.exception() or ExecutionError("it was killed and still answers"))

    def _replace_later(self) -> None:
        """At once after the first death, and ever later while none of its successors gets anything done."""
        seconds = 0.0
        if self._deaths_in_a_row > 1:
            seconds = min(LONGEST_BACKOFF_SECONDS, 0.1 * 2 ** min(self._deaths_in_a_row, 10))
        self._loop.call_later(seconds, self._guarded, self._replace)

    def _replace(self) -> None:
        if not self._is_stopped and len(self._members) < self._plan.fewest:
            self._grow()

    def _tick_later(self) -> None:
        self._ticker = self._loop.call_later(TICK_SECONDS, self._guarded, self._tick)

    def _tick(self) -> None:
        """Scale by what waits, and look for actors that tell nothing any more."""
        now = self._now()
        is_opening = any(not member.is_open for member in self._members)
        if self._queue and not is_opening and len(self._members) < self._most:
            self._grow()
        for member in list(self._members):
            if len(member.sent):
                member.busy_at = now
                self._look_whether_silent(member, now)
            elif member.is_open and now - member.busy_at > IDLE_SECONDS and len(self._members) > self._plan.fewest:
                self._let_go(member)
        self._tick_later()

    def _look_whether_silent(self, member: Member, now: float) -> None:
        if self._timeout_seconds is None or member.is_killed:
            return
        if now - member.heard_at > self._timeout_seconds + SILENT_SECONDS:
            for attempt in member.sent.begun.values():
                if not attempt.is_timed_out:
                    self._attempts.time_out(attempt, now)
            self._kill(member)

    def _let_go(self, member: Member) -> None:
        member.is_leaving = True
        self._cluster.tell(member.handle.close)
        self._loop.call_later(CLOSE_SECONDS, self._guarded, partial(self._kill, member))

    # To the actors

    def _queue_all(self, attempts: Sequence[Attempt]) -> None:
        self._queue.extend(attempts)
        self._dispatch_soon()

    def _requeue(self, attempts: Sequence[Attempt]) -> None:
        """These never began; those that were cancelled or withdrawn meanwhile are over."""
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
        """Deal out what waits to the actors with the least in hand."""
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
        rows: list[Row] = []
        size_bytes = 0
        while self._queue and len(attempts) < count and size_bytes < MAX_FRAME_BYTES:
            attempt = self._queue.popleft()
            row = self._packed_item(attempt.item)
            size_bytes += len(attempt.item.payload or b"") + len(attempt.item.key or b"")
            attempts.append(attempt)
            rows.append(row)
        try:
            body = pickle.dumps(rows, 5)
        except Exception as error:  # noqa: BLE001 -- a message of a third party's may hold anything
            logger.debug("a frame cannot be pickled: %s", error)
            self._fail_unpicklable(attempts)
            return
        for attempt in attempts:
            attempt.handle = member
        first = member.sent.add(attempts, self._now())
        member.frames_sent += 1
        self._cluster.tell(member.handle.put, first, body, self._lease_seconds())

    def _fail_unpicklable(self, attempts: list[Attempt]) -> None:
        """Find out whose fault it is; the others are sent in another frame."""
        failures: list[tuple[WorkItem, ExecutionError]] = []
        sound: list[Attempt] = []
        for attempt in attempts:
            try:
                pickle.dumps(packed_item(attempt.item), 5)
            except Exception as its_error:  # noqa: BLE001 -- as above
                failure = ExecutionError(f"{attempt.root.id} cannot be sent to an actor: {its_error}")
                failure.__cause__ = its_error
                failures.append((attempt.root, failure))
            else:
                sound.append(attempt)
        self._requeue(sound)
        for root, failure in failures:
            self._end(root, failure)

    def _send_cancels(self) -> None:
        self._is_cancel_due = False
        for member in self._members:
            cancels, member.cancels = member.cancels, []
            if cancels and not member.is_killed:
                self._cluster.tell(member.handle.cancel, cancels)

    def _lease_seconds(self) -> float | None:
        """How long from now an actor may begin items; None: without an end, 0: not at all."""
        until = self._channel.starts_until
        return None if until == inf else max(0.0, until - self._now())

    # From the actors

    def _ask(self, member: Member) -> None:
        self._when(member, self._cluster.call(member.handle.take, self._lease_seconds()), self._note_answer)

    def _note_answer(self, member: Member, answer: Future[Any]) -> None:
        if member not in self._members:
            return
        if (error := answer.exception()) is not None:
            self._note_lost(member, error)
            return
        self._told(member, Reply(*answer.result()))
        if member in self._members:
            self._ask(member)

    def _told(self, member: Member, reply: Reply) -> None:
        now = member.heard_at = self._now()
        member.frames_seen = reply.frames
        sent = member.sent
        for fields in reply.logs:
            record = logging.makeLogRecord(fields)
            logging.getLogger(record.name).handle(record)
        if reply.done:
            self._deaths_in_a_row = 0
            ended = sent.end_all(reply.done, now)
            self._attempts.all_ended_ok(ended, now)
            self._channel.successes += [attempt.root for attempt in ended]
            self._channel.notify()
        for number, packed in reply.failed:
            self._note_failure(sent.end_all([number], now), PackedError(*packed))
        if reply.skipped:
            self._requeue(sent.end_all(reply.skipped, now))
        for number, seconds in reply.begun:
            attempt = sent.begin(number, now - seconds)
            if attempt is not None and attempt.marked_at is not None and not self._is_async:
                self._kill(member)
        if self._is_stopped:
            self._look_whether_all_ended()
        elif self._queue:
            self._dispatch()

    def _note_failure(self, ended: list[Attempt], failure: PackedError) -> None:
        self._deaths_in_a_row = 0
        for attempt in ended:
            if self._trace is not None:
                self._trace.failed(attempt.item, failure.carrier)
            self._end(attempt.root, restored_error(failure))

    def _look_whether_all_ended(self) -> None:
        if not self._attempts.running:
            self._all_ended.set()


def _load(member: Member) -> float:
    return member.sent.load


def _packed_with(trace: AttemptTrace, item: WorkItem) -> Row:
    return packed_item(item, trace.earlier(item))
