"""The process engine, for plain functions that compute: each process runs one after another on its own core.

Items wait in one backlog here, and are sent to processes some milliseconds of work ahead. The run of one key goes to
one process: it works in order, and gives back the items behind a failure. Sent items that have not begun can be
recalled: when an item turns out slow while other processes are idle, and when items are cancelled. A process that must
not go on (a timeout, a cancelled item) is killed. Only the running item loses an attempt; items sent behind it do not.
"""

from __future__ import annotations

import os
import pickle
import random
from operator import attrgetter
from time import monotonic
from typing import TYPE_CHECKING, Final, Unpack

from pyrallel_consumer.dto import packed_item
from pyrallel_consumer.errors import ProcessDiedError
from pyrallel_consumer.execution_plane.attempts import RetryAt
from pyrallel_consumer.execution_plane.processes import frames
from pyrallel_consumer.execution_plane.processes.parent.backlog import Backlog
from pyrallel_consumer.execution_plane.processes.parent.key_order import KeyOrder
from pyrallel_consumer.execution_plane.processes.parent.members.sent_items import MAX_FRAME_BYTES
from pyrallel_consumer.execution_plane.processes.parent.members.serial_member import SerialMember
from pyrallel_consumer.execution_plane.processes.parent.pooled_engine import PooledEngine, PoolOptions
from pyrallel_consumer.execution_plane.processes.parent.process_pool import ProcessPool, max_tasks
from pyrallel_consumer.execution_plane.processes.progress_marker import ProgressMarker
from pyrallel_consumer.execution_plane.processes.remote_error import PackedError, restored_error
from pyrallel_consumer.execution_plane.processes.shared_marker import STORES_ARE_SEEN_SECONDS
from pyrallel_consumer.execution_plane.processes.unsendable import unsendable
from pyrallel_consumer.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.attempts import Attempt, Verdict
    from pyrallel_consumer.execution_plane.processes.attempt_trace import AttemptTrace
    from pyrallel_consumer.execution_plane.processes.parent.child_process import ChildProcess, SharedMemory
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


class ProcessEngine(PooledEngine[SerialMember]):
    """Runs a plain ``worker``, one item at a time in each process."""

    is_keeping_order = True
    has_loop = False
    look_seconds = LOOK_SECONDS

    def __init__(
        self,
        worker: Callable[[WorkItem], object],
        policy: RetryPolicy,
        slots: int,
        processes: int,
        *,
        trace: AttemptTrace | None = None,
        pack: Callable[..., Row] = packed_item,
        jitter: Callable[[], float] = random.random,
        is_recording: bool = False,
        **pool: Unpack[PoolOptions],
    ) -> None:
        super().__init__(policy, slots, jitter=jitter, is_timing=False, is_recording=is_recording)
        self._plan_pool(worker, policy, processes, **pool)
        self._trace = trace
        self._pack = pack
        self._random = jitter
        self._packed_item = self._pack if self._trace is None else _packing(self._pack, self._trace)
        self._runs = KeyOrder()
        self._backlog = Backlog(self._runs)

    def _made_pool(self) -> ProcessPool[SerialMember]:
        pool = super()._made_pool()
        self._backlog.takers = pool.members
        return pool

    def run_length(self) -> int:
        """As many items as a process does during one round trip to the engine."""
        quickest = min((member.sent.seconds_each for member in self._members), default=RUN_SECONDS)
        return max(1, min(LONGEST_RUN, int(RUN_SECONDS / quickest)))

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
                if len(member.sent) and member.sent.head_since + self._timeout_seconds <= now:
                    self._look(member)
        super().sweep(now)

    def next_sweep_at(self) -> float | None:
        sweep_at = super().next_sweep_at()
        if self._timeout_seconds is not None:
            for member in self._members:
                if len(member.sent) and not member.child.is_killed:
                    expires_at = member.sent.head_since + self._timeout_seconds
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
            if member.sent.withdraw(concerned, max(marker.running, marker.done)) and member.recalled_at is None:
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
        member: SerialMember | None = attempt.handle
        if member is not None and member.recalled_at is None:
            self._recall(member)

    async def _wait_ended(self, timeout_seconds: float) -> None:
        await self._close_pool(timeout_seconds)

    # To the processes

    def _dispatch(self) -> None:
        """Send queued items to the processes with the least work."""
        if self._now() > self._channel.starts_until:
            return
        queue = self._backlog.queue
        self._send_bound()
        takers = [member for member in self._members if member.may_be_sent and member.sent.room > 0]
        while queue and takers:
            taker = min(takers, key=attrgetter("seconds_ahead"))
            sent = taker.sent
            share = -(-len(queue) // len(takers))
            self._send_some(taker, min(share, sent.room, sent.frame_items))
            if not taker.may_be_sent or sent.room <= 0:
                takers.remove(taker)
        self._send_bound()
        self._tick_later()

    def _send_bound(self) -> None:
        """Send the bound items: each may go to one process only, which has begun its predecessors."""
        for member in list(self._members):
            sent = member.sent
            while member.bound and member.may_be_sent and sent.room > 0:
                self._send_some(member, min(len(member.bound), sent.room, sent.frame_items))

    def _send_some(self, member: SerialMember, count: int) -> None:
        attempts, runs, sizes = self._backlog.take_for(member, count, MAX_FRAME_BYTES)
        if not attempts:
            return
        sent, packed = member.sent, self._packed_item
        first = sent.sent_total + 1
        try:
            rows = [packed(attempt.item) for attempt in attempts]
            body = frames.packed_items(first, sent.generation, member.failures_seen, runs, rows)
        except Exception as error:  # noqa: BLE001 -- a message of a third party's may hold anything
            logger.debug("a frame cannot be pickled: %s", error)
            self._fail_unpicklable(member, attempts)
            return
        for attempt in attempts:
            attempt.handle = member
        sent.add(attempts, sizes, self._now())
        member.marker.let_start(self._channel.starts_until_boot)
        member.child.send(frames.ITEMS, body)
        if member.max_tasks and sent.sent_total >= member.max_tasks and self._pool is not None:
            self._pool.retire(member)

    def _fail_unpicklable(self, member: SerialMember, attempts: list[Attempt]) -> None:
        """Find out whose fault it is; the others are sent in another frame."""
        failures = [(attempt, unsendable(attempt.item, self._pack)) for attempt in attempts]
        self._requeue(member, [attempt for attempt, failure in failures if failure is None])
        for attempt, failure in failures:
            if failure is not None:
                self._end(attempt.root, failure)

    # From the processes: see process_pool.Crew

    def enlisted(self, start: Callable[[SharedMemory], ChildProcess]) -> SerialMember:
        marker = ProgressMarker()
        return SerialMember(start(marker), marker, max_tasks(self._max_tasks_per_child, self._random()))

    def arrived(self) -> None:
        if self._backlog:
            self._dispatch_soon()

    def told(self, member: SerialMember, kind: int, body: bytes) -> None:
        sent = member.sent
        if kind == frames.PROGRESS:
            done, seconds_each = frames.parsed_progress(body)
            sent.learn(seconds_each)
            self._end_to(member, done)
        elif kind == frames.FAILED:
            member.failures_seen += 1
            number, packed = pickle.loads(body)  # noqa: S301 -- from our own process
            self._end_to(member, number - 1)
            if sent.head is not None and sent.head[0] == number:
                [attempt] = sent.end_to(number, self._now())
                self._note_progress()
                failure = PackedError(*packed)
                if self._trace is not None:
                    self._trace.failed(attempt.item, failure.carrier)
                self._end(attempt.root, restored_error(failure))
        elif kind == frames.RETURNED:
            number, result = pickle.loads(body)  # noqa: S301 -- from our own process
            self._end_to(member, number - 1)
            if sent.head is not None and sent.head[0] == number:
                self._keep(sent.head[1].root, sent.head[1].number, result)
        elif kind == frames.SKIPPED:
            first, last = frames.parsed_skipped(body)
            self._end_to(member, first - 1)
            self._requeue(member, sent.end_to(last, self._now()))
        if not self._is_dispatch_due and self._backlog:
            self._dispatch()

    def died(self, member: SerialMember) -> WorkItem | None:
        """All its frames were read. By its marker more items returned, one was running, the others never began."""
        marker, sent = member.marker, member.sent
        running, done = marker.running, marker.done
        self._end_to(member, done)
        victim: Attempt | None = None
        if sent.head is not None and sent.head[0] == running:
            [victim] = sent.end_to(running, self._now())
        self._requeue(member, sent.reclaim(0))
        if self._is_stopped:
            if victim is not None:
                self._give_back(victim.root)
            return None
        self._dispatch_soon()
        if victim is None:
            return None
        if victim.marked_at is None and member.child.is_killed:
            self._requeue(member, [victim])  # It was killed because of an item that had ended just before.
            return None
        how = member.child.how_it_ended
        if self._trace is not None:
            self._trace.died(victim.item, monotonic() - marker.since, how, is_timed_out=victim.is_timed_out)
        self._end(victim.root, ProcessDiedError(f"the worker process died ({how}) while it ran {victim.root.id}"))
        return None if member.child.is_killed else victim.root

    def _end_to(self, member: SerialMember, number: int) -> None:
        """All up to ``number`` returned."""
        now = self._now()
        ended = member.sent.end_to(number, now)
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

    def _report(self, root: WorkItem, verdict: Verdict | None) -> None:
        super()._report(root, verdict)
        if verdict is None:
            self._runs.succeeded(root)
        elif self._runs.broke(root, is_final=not isinstance(verdict, RetryAt)):
            self._give_back_queued(self._is_over)

    def _requeue(self, member: SerialMember, attempts: list[Attempt]) -> None:
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

    def _tick(self) -> None:
        now = self._now()
        for member in list(self._members):
            if len(member.sent):
                self._look(member)
                self._take_back(member, now)
        if self._backlog:
            self._dispatch()

    @property
    def _is_ticking(self) -> bool:
        return bool(self._backlog) or any(len(member.sent) for member in self._members)

    def _look(self, member: SerialMember) -> None:
        """Take in ended items, and check how long the head has been running and whether that is too long."""
        child, sent = member.child, member.sent
        done = member.marker.done
        child.read_all()  # Failures up to there come before success is believed.
        if child.has_ended():
            return
        self._end_to(member, done)
        child.look()
        if child.has_ended() or sent.head is None or child.is_killed:
            return
        now = self._now()
        number, attempt = sent.head
        if member.marker.running != number:
            sent.head_since = now
            return
        seconds = max(0.0, monotonic() - member.marker.since)
        sent.head_since = attempt.started_at = now - seconds
        if self._timeout_seconds is not None and seconds >= self._timeout_seconds:
            self._attempts.time_out(attempt, now)
            child.kill()
        elif seconds > SLOW_SECONDS and member.recalled_at is None:
            sent.learn(seconds)
            if len(sent) > 1 and any(other.may_be_sent and not len(other.sent) for other in self._members):
                self._recall(member)

    def _recall(self, member: SerialMember) -> None:
        """No item that was sent so far begins any more, once the process has seen this."""
        member.marker.recall(member.sent.recall())
        member.recalled_at = self._now()
        self._loop.call_later(STORES_ARE_SEEN_SECONDS, self._guarded, lambda: self._recall_was_seen(member))

    def _recall_was_seen(self, member: SerialMember) -> None:
        self._take_back(member, self._now())
        if self._backlog:
            self._dispatch()

    def _take_back(self, member: SerialMember, now: float) -> None:
        """After a recall: take back items that certainly have not begun, and kill the process of a cancelled one."""
        if member.recalled_at is None or now < member.recalled_at + STORES_ARE_SEEN_SECONDS * 0.9:
            return
        child, sent = member.child, member.sent
        if child.has_ended():
            return
        member.recalled_at = None
        running, done = member.marker.running, member.marker.done
        child.read_all()
        if child.has_ended():
            return
        self._end_to(member, done)
        self._requeue(member, sent.reclaim(max(running, done)))
        if sent.head is None:
            sent.is_held = False
            if member.is_retired:
                child.close()
        elif sent.head[0] == running and sent.head[1].is_cancelled:
            child.kill()


def _packing(pack: Callable[..., Row], trace: AttemptTrace) -> Callable[[WorkItem], Row]:
    return lambda item: pack(item, trace.earlier(item))
