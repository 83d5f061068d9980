"""The engine for ``async def`` workers in processes: each runs an event loop with many messages at once.

Messages wait in one queue here and are sent to the process that has the fewest, at most as many as it may run, so they
begin as soon as they arrive. One that has not begun, because its process computes or the lease is over, can be taken
back (*recalled*). Timeouts and cancelling end a task and leave its process alive. With a process die all messages that
ran there: see ``suspects``. Attempts, retries and order are kept here, a process makes single attempts.
"""

from __future__ import annotations

import asyncio
import pickle
import random
from array import array
from collections import deque
from contextlib import suppress
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Unpack

from pyrallel_consumer.dto import packed_item
from pyrallel_consumer.errors import InvariantViolation, ProcessDiedError
from pyrallel_consumer.execution_plane.engine import RunningAttempt
from pyrallel_consumer.execution_plane.processes import frames
from pyrallel_consumer.execution_plane.processes.parent.members.hung_loops import HungLoops
from pyrallel_consumer.execution_plane.processes.parent.members.loop_member import LoopMember
from pyrallel_consumer.execution_plane.processes.parent.pooled_engine import PooledEngine, PoolOptions
from pyrallel_consumer.execution_plane.processes.parent.process_pool import max_tasks
from pyrallel_consumer.execution_plane.processes.parent.suspecting_engine import SuspectingEngine
from pyrallel_consumer.execution_plane.processes.remote_error import PackedError, restored_error
from pyrallel_consumer.execution_plane.processes.shared_marker import STORES_ARE_SEEN_SECONDS
from pyrallel_consumer.execution_plane.processes.slot_marker import SlotMarker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.attempts import Attempt, Verdict
    from pyrallel_consumer.execution_plane.processes.attempt_trace import AttemptTrace
    from pyrallel_consumer.execution_plane.processes.parent.child_process import ChildProcess, SharedMemory
    from pyrallel_consumer.message import Row


LOOK_SECONDS: Final = 0.05
"""How often busy processes are checked: whether they live, and whether their sent messages begin."""
MAX_FRAME_ITEMS: Final = 256
SET_ASIDE_SECONDS: Final = 10.0
"""The process for suspects is kept this long after the last suspect."""


class AsyncProcessEngine(PooledEngine[LoopMember], SuspectingEngine):
    """Runs an ``async def`` worker; each process has its share of the ``slots``."""

    has_loop = True
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
        SuspectingEngine.__init__(self, policy, slots, trace=trace, pack=pack, jitter=jitter, is_recording=is_recording)
        self._plan_pool(worker, policy, processes, **pool)
        self._random = jitter
        self._slots_each = -(-slots // processes)
        self._hung_loops = HungLoops(self._timeout_seconds)
        self._dismissal: asyncio.TimerHandle | None = None
        self._all_ended: asyncio.Event | None = None

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self._queue += self._attempts.start_all(items, self._now())
        self._dispatch_soon()

    def sweep(self, now: float) -> None:
        self._hung_loops.look(self._members, now)
        super().sweep(now)

    def next_sweep_at(self) -> float | None:
        moments = (super().next_sweep_at(), self._hung_loops.look_at if self._attempts.running else None)
        return min((moment for moment in moments if moment is not None), default=None)

    def withdraw(self, which: Callable[[WorkItem], bool]) -> None:
        """Queued messages have not begun; a recall shows which of the sent ones have not."""
        super().withdraw(which)

        def concerned(attempt: Attempt) -> bool:
            return which(attempt.root)

        self._give_back_queued(concerned)
        for member in self._members:
            sent = member.sent
            found = [attempt for slot in sent.unbegun() if concerned(attempt := sent.by_slot[slot])]
            for attempt in found:
                attempt.is_withdrawn = True
            if found:
                self._recall(member)

    def cancel(self, which: Callable[[WorkItem], bool]) -> None:
        """Unbegun messages never begin; their processes cancel the others."""
        stopping = set(self._attempts.cancel(which, self._now()))
        if not stopping:
            return
        self._give_back_queued(stopping.__contains__)
        for member in self._members:
            sent = member.sent
            slots = array(frames.SLOT_TYPE, (slot for slot, each in sent.by_slot.items() if each in stopping))
            if slots:
                member.child.send(frames.CANCEL, slots.tobytes())
                if sent.has_unbegun_of(stopping.__contains__):
                    self._recall(member)

    def longest_running(self, most: int) -> Sequence[RunningAttempt]:
        begun = [
            attempt
            for member in self._members
            for slot, attempt in member.sent.by_slot.items()
            if member.sent.has_begun(slot)
        ]
        begun.sort(key=attrgetter("started_at"))
        return [RunningAttempt(each.root, each.number, each.started_at) for each in begun[:most]]

    def heed_lease(self) -> None:
        for member in self._members:
            if not member.child.has_ended():
                member.marker.let_start(self._channel.starts_until_boot)
        if self._queue or self._alone:
            self._dispatch_soon()

    # What the base asks for

    def _stop_attempt(self, attempt: Attempt) -> None:
        """Never called: the processes keep the timeouts, and ``cancel`` is another one here."""
        raise InvariantViolation(f"{attempt.root!r} is stopped by its engine")

    async def _wait_ended(self, timeout_seconds: float) -> None:
        for timer in (self._ticker, self._dismissal):
            if timer is not None:
                timer.cancel()
        if self._pool is None:
            return
        stop_at = self._now() + timeout_seconds
        if self._attempts.running:
            self._all_ended = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await self._all_ended.wait()
        await self._close_pool(max(0.0, stop_at - self._now()))

    # To the processes

    def _dispatch(self) -> None:
        """Send queued messages to the processes that run the fewest."""
        if self._now() > self._channel.starts_until or self._is_stopped:
            return
        takers = [member for member in self._members if member.room > 0]
        if self._alone:
            for member in takers:
                if member.is_set_aside:
                    self._send_some(member, self._alone, 1)
        takers = [member for member in takers if not member.is_set_aside]
        queue = self._queue
        while queue and takers:
            taker = min(takers, key=_sent_count)
            self._send_some(taker, queue, min(-(-len(queue) // len(takers)), taker.room, MAX_FRAME_ITEMS))
            if taker.room <= 0:
                takers.remove(taker)
        self._tick_later()

    def _send_some(self, member: LoopMember, queue: deque[Attempt], most: int) -> None:
        attempts, packed = self._frame_of(queue, most)
        if not attempts:
            return
        now = self._now()
        for attempt in attempts:
            attempt.started_at = now
        sent = member.sent
        first, slots = sent.add(attempts)
        member.marker.let_start(self._channel.starts_until_boot)
        member.child.send(frames.ITEMS, frames.packed_slots(sent.generation, first, slots, packed))
        self._hung_loops.note_sent(now)
        if member.max_tasks and sent.sent_total >= member.max_tasks and self._pool is not None:
            self._pool.retire(member)

    # From the processes: see process_pool.Crew

    def enlisted(self, start: Callable[[SharedMemory], ChildProcess]) -> LoopMember:
        marker = SlotMarker(self._slots_each)
        limit = max_tasks(self._max_tasks_per_child, self._random())
        return LoopMember(start(marker), marker, self._slots_each, limit)

    def arrived(self) -> None:
        if self._queue or self._alone:
            self._dispatch_soon()

    def told(self, member: LoopMember, kind: int, body: bytes) -> None:
        if kind == frames.ENDED:
            self._all_returned(member.sent.end_all(array(frames.SLOT_TYPE, body)))
        elif kind == frames.FAILED:
            slot, packed = pickle.loads(body)  # noqa: S301 -- from our own process
            attempt = member.sent.end(slot)
            failure = PackedError(*packed)
            if self._trace is not None:
                self._trace.failed(attempt.item, failure.carrier)
            self._note_progress()
            self._end(attempt.root, restored_error(failure))
        elif kind == frames.RETURNED:
            slot, result = pickle.loads(body)  # noqa: S301 -- from our own process
            attempt = member.sent.by_slot[slot]
            self._keep(attempt.root, attempt.number, result)
        elif kind == frames.OVERDUE:
            now = self._now()
            for slot in array(frames.SLOT_TYPE, body):
                self._attempts.time_out(member.sent.by_slot[slot], now)
        elif kind == frames.SKIPPED:
            slot, number = frames.parsed_skipped(body)
            if member.sent.is_number(slot, number):
                self._take_back([member.sent.end(slot)])
        if self._queue and not self._is_dispatch_due:
            self._dispatch_soon()

    def died(self, member: LoopMember) -> WorkItem | None:
        """All that it sent was read: what its marker says beyond that returned or ran, the others never began."""
        sent, now = member.sent, self._now()
        self._all_returned(sent.end_all([slot for slot in sent.by_slot if sent.has_returned(slot)]))
        self._take_back(sent.end_all(sent.unbegun()))
        victims = sent.end_all(list(sent.by_slot))
        if self._is_stopped:
            for victim in victims:
                self._give_back(victim.root)
            return None
        how = member.why_killed or member.child.how_it_ended
        for victim in victims:
            if self._trace is not None:
                seconds = now - victim.started_at
                self._trace.died(victim.item, seconds, how, is_timed_out=victim.is_timed_out)
            among = f", with {len(victims) - 1} others" if len(victims) > 1 else ""
            error = ProcessDiedError(f"the worker process died ({how}) while it ran {victim.root.id}{among}")
            self._end_by_death(victim, error, was_alone=member.is_set_aside)
        self._call_suspects()
        self._dispatch_soon()
        return victims[0].root if victims and not member.child.is_killed else None

    # How attempts end

    def _all_returned(self, ended: list[Attempt]) -> None:
        if not ended:
            return
        self._note_progress()
        self._end_all_ok(ended)
        if self._all_ended is not None:
            self._note_end()

    def _report(self, root: WorkItem, verdict: Verdict | None) -> None:
        super()._report(root, verdict)
        if self._all_ended is not None:
            self._note_end()

    def _note_end(self) -> None:
        if self._all_ended is not None and not self._attempts.running:
            self._all_ended.set()

    # Suspects

    def _call_suspects(self) -> None:
        """Keep one process for suspects while there are any, and give it the next one."""
        suspects, pool = self._suspects, self._pool
        if pool is None or self._is_stopped:
            return
        if suspects.are_waiting:
            if self._dismissal is not None:
                self._dismissal.cancel()
                self._dismissal = None
            pool.set_aside(is_wished=True)
            self._call_next()
        elif self._dismissal is None and any(member.is_set_aside for member in self._members):
            self._dismissal = self._loop.call_later(SET_ASIDE_SECONDS, self._guarded, self._dismiss)

    def _dismiss(self) -> None:
        self._dismissal = None
        if self._pool is not None and not self._suspects.are_waiting:
            self._pool.set_aside(is_wished=False)

    # Looking at the processes

    def _tick(self) -> None:
        for member in list(self._members):
            member.child.look()
            is_unbegun = member.sent.is_last_unbegun
            if is_unbegun and member.was_unbegun and not self._queue and self._has_room_beside(member):
                self._recall(member)
            member.was_unbegun = is_unbegun
        self._dispatch()

    @property
    def _is_ticking(self) -> bool:
        return any(member.is_busy for member in self._members)

    def _has_room_beside(self, member: LoopMember) -> bool:
        return any(
            each is not member and each.room > 0 and not each.is_set_aside and not each.sent.is_last_unbegun
            for each in self._members
        )

    def _recall(self, member: LoopMember) -> None:
        """No message that was sent so far begins any more, once the process has seen this."""
        if member.recalled_at is None:
            member.recalled_at = self._now()
            member.sent.generation += 1
            member.marker.recall(member.sent.generation)
            self._loop.call_later(STORES_ARE_SEEN_SECONDS, self._guarded, lambda: self._recall_was_seen(member))

    def _recall_was_seen(self, member: LoopMember) -> None:
        """After a recall: take back messages that certainly have not begun."""
        member.recalled_at = None
        if not member.child.has_ended():
            self._take_back(member.sent.end_all(member.sent.unbegun()))
            if self._queue or self._alone:
                self._dispatch_soon()


def _sent_count(member: LoopMember) -> int:
    return len(member.sent)
