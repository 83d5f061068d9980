"""The process engine, for plain functions that compute: each process runs one after another on its own core.

Items wait in one backlog here, and are sent to processes some milliseconds of work ahead. The run of one key goes to
one process: it works in order, and gives back the items behind a failure. Sent items that have not begun can be
recalled: when an item turns out slow while other processes are idle, and when items are cancelled. A process that must
not go on (a timeout, a cancelled item) is killed. Only the running item loses an attempt; items sent behind it do not.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import random
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from pyrallel_consumer.dto import packed_item
from pyrallel_consumer.errors import LifespanError, ProcessDiedError, StateError
from pyrallel_consumer.execution_plane.attempts import RetryAt
from pyrallel_consumer.execution_plane.booked_engine import BookedEngine
from pyrallel_consumer.execution_plane.processes import frames
from pyrallel_consumer.execution_plane.processes.parent.backlog import Backlog
from pyrallel_consumer.execution_plane.processes.parent.key_order import KeyOrder
from pyrallel_consumer.execution_plane.processes.parent.process_pool import Member, ProcessPool, max_tasks
from pyrallel_consumer.execution_plane.processes.parent.sent_items import MAX_FRAME_BYTES, SentItems
from pyrallel_consumer.execution_plane.processes.parent.worker_setup import packed_setup
from pyrallel_consumer.execution_plane.processes.progress_marker import STORES_ARE_SEEN_SECONDS, ProgressMarker
from pyrallel_consumer.execution_plane.processes.remote_error import PackedError, restored_error
from pyrallel_consumer.execution_plane.processes.setup import is_loading
from pyrallel_consumer.execution_plane.processes.unsendable import unsendable
from pyrallel_consumer.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.attempts import Attempt, Verdict
    from pyrallel_consumer.execution_plane.engine import CompletionChannel
    from pyrallel_consumer.execution_plane.processes.attempt_trace import AttemptTrace
    from pyrallel_consumer.execution_plane.processes.parent.child_process import ChildProcess, SharedMemory
    from pyrallel_consumer.execution_plane.worker.lifespan import Lifespan
    from pyrallel_consumer.message import Row

logger = Log("pyrallel_consumer.execution_plane")

LOOK_SECONDS: Final = 0.01
"""How often the markers of busy processes are read: a slow item delays the report of its predecessors by this time."""
SLOW_SECONDS: Final = 0.01
"""If an item takes longer and another process is idle, the items sent behind it are recalled."""
LONGEST_RUN: Final = 256
RUN_SECONDS: Final = 0.009
"""A run holds about this much work: with less, a hot key's process waits for more; with more, it occupies slots."""


def fitting_processes() -> int:
    """How many processes fit this machine: one for each core that we may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LaneMember(Member):
    """A process that runs one item after another, and its sent items. ``max_tasks`` = 0 is no limit."""

    def __init__(self, child: ChildProcess, marker: ProgressMarker, max_tasks: int) -> None:
        super().__init__(child)
        self.marker = marker
        self.max_tasks = max_tasks
        self.lane = SentItems()
        self.bound: deque[Attempt] = deque()
        """Attempts that wait for this process and may go to no other; see ``Backlog``."""
        self.failures_seen = 0
        self.recalled_at: float | None = None

    @property
    def is_busy(self) -> bool:
        return len(self.lane) > 0


class ProcessEngine(BookedEngine):
    """Runs a picklable plain ``worker`` in ``processes`` processes.

    ``initializer`` is called once in each process before its first item: a picklable callable without arguments, or
    ``"package.module:function"``. ``lifespan`` is entered after it, and left when the process ends. Each attempt gets a
    copy of the context in which both ran. A process is replaced after about ``max_tasks_per_child`` items
    (0 = never), not all of them at the same time. ``pack`` makes the row that an item travels as.
    """

    is_keeping_order = True

    def __init__(
        self,
        worker: Callable[[WorkItem], object],
        policy: RetryPolicy,
        slots: int,
        processes: int,
        *,
        initializer: Callable[[], object] | str | None = None,
        lifespan: Lifespan | None = None,
        max_tasks_per_child: int = 0,
        trace: AttemptTrace | None = None,
        pack: Callable[..., Row] = packed_item,
        jitter: Callable[[], float] = random.random,
        is_recording: bool = False,
    ) -> None:
        super().__init__(policy, slots, jitter=jitter, is_timing=False, is_recording=is_recording)
        self._trace = trace
        self._pack = pack
        self._packed_item = pack if trace is None else _packing(pack, trace)
        self._worker = worker
        self._initializer = initializer
        self._lifespan = lifespan
        self._processes = processes
        self._timeout_seconds = policy.timeout_ms / 1000 if policy.timeout_ms else None
        self._max_tasks_per_child = max_tasks_per_child
        self._random = jitter
        self._runs = KeyOrder()
        self._backlog = Backlog(self._runs)
        self._pool: ProcessPool[LaneMember] | None = None
        self._members: list[LaneMember] = []
        self._is_dispatch_due = False
        self._ticker: asyncio.TimerHandle | None = None

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        await super().start(channel, now)
        if is_loading():
            raise StateError(
                "a worker process imports the program's main file, and that starts a consumer again: start it under "
                '`if __name__ == "__main__":`'
            )
        self._loop = asyncio.get_running_loop()
        setup = packed_setup(self._worker, self._initializer, self._lifespan)
        pool = self._pool = ProcessPool(self._processes, setup, self, has_lifespan=self._lifespan is not None)
        self._members = self._backlog.takers = pool.members
        await pool.open()

    def run_length(self) -> int:
        """As many items as a process does during one round trip to the engine."""
        quickest = min((member.lane.seconds_each for member in self._members), default=RUN_SECONDS)
        return max(1, min(LONGEST_RUN, int(RUN_SECONDS / quickest)))

    def submit(self, item: WorkItem) -> None:
        self.submit_all((item,))

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        add_to_run, queue = self._runs.add, self._backlog.queue
        for item, attempt in zip(items, self._attempts.start_all(items, self._now()), strict=True):
            if add_to_run(item):
                queue.append(attempt)
            else:
                self._give_back(item)
        if not self._is_dispatch_due:
            self._dispatch_soon()

    def sweep(self, now: float) -> None:
        if self._timeout_seconds is not None:
            for member in self._members:
                if len(member.lane) and member.lane.head_since + self._timeout_seconds <= now:
                    self._look(member)
        super().sweep(now)

    def next_sweep_at(self) -> float | None:
        sweep_at = super().next_sweep_at()
        if self._timeout_seconds is not None:
            for member in self._members:
                if len(member.lane) and not member.child.is_killed:
                    expires_at = member.lane.head_since + self._timeout_seconds
                    sweep_at = expires_at if sweep_at is None else min(sweep_at, expires_at)
        return sweep_at

    def withdraw(self, which: Callable[[WorkItem], bool]) -> None:
        """Queued items have not begun; of the sent ones the processes report after a recall which have not."""
        super().withdraw(which)

        def concerned(attempt: Attempt) -> bool:
            return which(attempt.root)

        self._give_back_queued(concerned)
        for member in self._members:
            marker = member.marker
            if member.lane.withdraw(concerned, max(marker.running, marker.done)) and member.recalled_at is None:
                self._recall(member)

    def cancel(self, which: Callable[[WorkItem], bool]) -> None:
        super().cancel(which)
        self._give_back_queued(lambda attempt: attempt.is_cancelled)

    def heed_lease(self) -> None:
        for member in self._members:
            if not member.child.has_ended():
                member.marker.let_start(self._channel.starts_until_boot)
        if self._backlog and not self._is_dispatch_due:
            self._dispatch_soon()

    # What the base asks for

    def _start_due(self, now: float) -> None:
        if due := self._attempts.due(now):
            self._backlog.add_retries(due)
            self._dispatch_soon()

    def _stop_attempt(self, attempt: Attempt) -> None:
        """A recall shows whether it has begun; if it has, its process is killed."""
        member: LaneMember | None = attempt.handle
        if member is not None and member.recalled_at is None:
            self._recall(member)

    async def _wait_ended(self, timeout_seconds: float) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        if self._pool is not None:
            await self._pool.close(timeout_seconds)
            if self._pool.unleft:
                raise LifespanError(f"in {len(self._pool.unleft)} worker processes: {self._pool.unleft[-1]}")

    # To the processes

    def _dispatch_soon(self) -> None:
        if not self._is_dispatch_due:
            self._is_dispatch_due = True
            self._loop.call_soon(self._guarded, self._dispatch_now)

    def _dispatch_now(self) -> None:
        self._is_dispatch_due = False
        self._dispatch()

    def _dispatch(self) -> None:
        """Send queued items to the processes with the least work."""
        if self._now() > self._channel.starts_until:
            return
        queue = self._backlog.queue
        self._send_bound()
        takers = [member for member in self._members if member.may_be_sent and member.lane.room > 0]
        while queue and takers:
            taker = min(takers, key=_seconds_ahead)
            lane = taker.lane
            share = -(-len(queue) // len(takers))
            self._send_some(taker, min(share, lane.room, lane.frame_items))
            if not taker.may_be_sent or lane.room <= 0:
                takers.remove(taker)
        self._send_bound()
        self._tick_later()

    def _send_bound(self) -> None:
        """Send the bound items: each may go to one process only, which has begun its predecessors."""
        for member in list(self._members):
            lane = member.lane
            while member.bound and member.may_be_sent and lane.room > 0:
                self._send_some(member, min(len(member.bound), lane.room, lane.frame_items))

    def _send_some(self, member: LaneMember, count: int) -> None:
        attempts, runs, sizes = self._backlog.take_for(member, count, MAX_FRAME_BYTES)
        if not attempts:
            return
        lane, packed = member.lane, self._packed_item
        first = lane.sent_total + 1
        try:
            rows = [packed(attempt.item) for attempt in attempts]
            body = frames.packed_items(first, lane.generation, member.failures_seen, runs, rows)
        except Exception as error:  # noqa: BLE001 -- a message of a third party's may hold anything
            logger.debug("a frame cannot be pickled: %s", error)
            self._fail_unpicklable(member, attempts)
            return
        for attempt in attempts:
            attempt.handle = member
        lane.add(attempts, sizes, self._now())
        member.marker.let_start(self._channel.starts_until_boot)
        member.child.send(frames.ITEMS, body)
        if member.max_tasks and lane.sent_total >= member.max_tasks and self._pool is not None:
            self._pool.retire(member)

    def _fail_unpicklable(self, member: LaneMember, attempts: list[Attempt]) -> None:
        """Find out whose fault it is; the others are sent in another frame."""
        failures = [(attempt, unsendable(attempt.item, self._pack)) for attempt in attempts]
        self._requeue(member, [attempt for attempt, failure in failures if failure is None])
        for attempt, failure in failures:
            if failure is not None:
                self._end(attempt.root, failure)

    # From the processes: see process_pool.Crew

    def enlisted(self, start: Callable[[SharedMemory], ChildProcess]) -> LaneMember:
        marker = ProgressMarker()
        return LaneMember(start(marker), marker, max_tasks(self._max_tasks_per_child, self._random()))

    def arrived(self) -> None:
        if self._backlog:
            self._dispatch_soon()

    def told(self, member: LaneMember, kind: int, body: bytes) -> None:
        lane = member.lane
        if kind == frames.PROGRESS:
            done, seconds_each = frames.parsed_progress(body)
            lane.learn(seconds_each)
            self._end_to(member, done)
        elif kind == frames.FAILED:
            member.failures_seen += 1
            number, packed = pickle.loads(body)  # noqa: S301 -- from our own process
            self._end_to(member, number - 1)
            if lane.head is not None and lane.head[0] == number:
                [attempt] = lane.end_to(number, self._now())
                self._note_progress()
                failure = PackedError(*packed)
                if self._trace is not None:
                    self._trace.failed(attempt.item, failure.carrier)
                self._end(attempt.root, restored_error(failure))
        elif kind == frames.RETURNED:
            number, result = pickle.loads(body)  # noqa: S301 -- from our own process
            self._end_to(member, number - 1)
            if lane.head is not None and lane.head[0] == number:
                self._keep(lane.head[1].root, lane.head[1].number, result)
        elif kind == frames.SKIPPED:
            first, last = frames.parsed_skipped(body)
            self._end_to(member, first - 1)
            self._requeue(member, lane.end_to(last, self._now()))
        if not self._is_dispatch_due and self._backlog:
            self._dispatch()

    def died(self, member: LaneMember) -> WorkItem | None:
        """All its frames were read. By its marker more items returned, one was running, the others never began."""
        marker, lane = member.marker, member.lane
        running, done = marker.running, marker.done
        self._end_to(member, done)
        victim: Attempt | None = None
        if lane.head is not None and lane.head[0] == running:
            [victim] = lane.end_to(running, self._now())
        self._requeue(member, lane.reclaim(0))
        if self._is_stopped:
            if victim is not None:
                self._give_back(victim.root)
            return None
        self._dispatch_soon()
        if victim is None:
            return None
        if victim.marked_at is None and member.child.is_killed:
            self._requeue(member, [victim])  # We killed it for the sake of one that ended just before.
            return None
        how = member.child.how_it_ended
        if self._trace is not None:
            self._trace.died(victim.item, monotonic() - marker.since, how, is_timed_out=victim.is_timed_out)
        self._end(victim.root, ProcessDiedError(f"the worker process died ({how}) while it ran {victim.root.id}"))
        return None if member.child.is_killed else victim.root

    def broke(self, error: BaseException) -> None:
        self._channel.crashed(error)

    def _end_to(self, member: LaneMember, number: int) -> None:
        """All up to ``number`` returned."""
        now = self._now()
        ended = member.lane.end_to(number, now)
        if not ended:
            return
        self._note_progress()
        self._attempts.all_ended_ok(ended, now)
        left = self._runs.left
        roots = [attempt.root for attempt in ended]
        for root in roots:
            left(root)
        self._channel.successes += roots
        self._channel.notify()

    def _note_progress(self) -> None:
        if self._pool is not None:
            self._pool.note_progress()

    def _report(self, root: WorkItem, verdict: Verdict | None) -> None:
        super()._report(root, verdict)
        if verdict is None:
            self._runs.succeeded(root)
        elif self._runs.broke(root, is_final=not isinstance(verdict, RetryAt)):
            self._give_back_queued(self._is_over)

    def _requeue(self, member: LaneMember, attempts: list[Attempt]) -> None:
        """These items never began. Cancelled or withdrawn ones, and those behind a failure, are over."""
        if attempts or member.bound:
            self._backlog.put_back(member, attempts)
            self._give_back_queued(self._is_over)

    def _is_over(self, attempt: Attempt) -> bool:
        return attempt.is_cancelled or attempt.is_withdrawn or self._runs.is_doomed(attempt.root)

    def _give_back_queued(self, which: Callable[[Attempt], bool]) -> None:
        for attempt in self._backlog.take_out(which):
            self._give_back(attempt.root)

    # Looking at the markers

    def _tick_later(self) -> None:
        if self._ticker is None and not self._is_stopped:
            self._ticker = self._loop.call_later(LOOK_SECONDS, self._guarded, self._tick)

    def _tick(self) -> None:
        self._ticker = None
        now = self._now()
        for member in list(self._members):
            if len(member.lane):
                self._look(member)
                self._settle(member, now)
        if self._backlog:
            self._dispatch()
        if self._backlog or any(len(member.lane) for member in self._members):
            self._tick_later()

    def _look(self, member: LaneMember) -> None:
        """Take in ended items, and check how long the head has been running and whether that is too long."""
        child, lane = member.child, member.lane
        done = member.marker.done
        child.read_all()  # Failures up to there come before success is believed.
        if child.has_ended():
            return
        self._end_to(member, done)
        child.look()
        if child.has_ended() or lane.head is None or child.is_killed:
            return
        now = self._now()
        number, attempt = lane.head
        if member.marker.running != number:
            lane.head_since = now
            return
        seconds = max(0.0, monotonic() - member.marker.since)
        lane.head_since = attempt.started_at = now - seconds
        if self._timeout_seconds is not None and seconds >= self._timeout_seconds:
            self._attempts.time_out(attempt, now)
            child.kill()
        elif seconds > SLOW_SECONDS and member.recalled_at is None:
            lane.learn(seconds)
            if len(lane) > 1 and any(other.may_be_sent and not len(other.lane) for other in self._members):
                self._recall(member)

    def _recall(self, member: LaneMember) -> None:
        """No item that was sent so far begins any more, once the process has seen this."""
        member.recalled_at = self._now()
        member.lane.is_recalled = member.lane.is_held = True
        member.lane.generation += 1
        member.marker.recall(member.lane.generation)
        self._loop.call_later(STORES_ARE_SEEN_SECONDS, self._guarded, lambda: self._settle_recalled(member))

    def _settle_recalled(self, member: LaneMember) -> None:
        self._settle(member, self._now())
        if self._backlog:
            self._dispatch()

    def _settle(self, member: LaneMember, now: float) -> None:
        """After a recall: take back items that certainly have not begun, and kill the process of a cancelled one."""
        if member.recalled_at is None or now < member.recalled_at + STORES_ARE_SEEN_SECONDS * 0.9:
            return
        child, lane = member.child, member.lane
        if child.has_ended():
            return
        member.recalled_at = None
        lane.is_recalled = False
        running, done = member.marker.running, member.marker.done
        child.read_all()
        if child.has_ended():
            return
        self._end_to(member, done)
        self._requeue(member, lane.reclaim(max(running, done)))
        if lane.head is None:
            lane.is_held = False
            if member.is_retired:
                child.close()
        elif lane.head[0] == running and lane.head[1].is_cancelled:
            child.kill()


def _packing(pack: Callable[..., Row], trace: AttemptTrace) -> Callable[[WorkItem], Row]:
    return lambda item: pack(item, trace.earlier(item))


def _seconds_ahead(member: LaneMember) -> float:
    lane = member.lane
    return lane.seconds_ahead + len(member.bound) * lane.seconds_each
