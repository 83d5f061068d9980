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
from time import monotonic
from typing import TYPE_CHECKING, Final

from pyrallel_consumer.dto import packed_item
from pyrallel_consumer.errors import InvariantViolation, LifespanError, ProcessDiedError, StateError
from pyrallel_consumer.execution_plane.engine import RunningAttempt
from pyrallel_consumer.execution_plane.processes import frames
from pyrallel_consumer.execution_plane.processes.parent.process_pool import Member, ProcessPool, max_tasks
from pyrallel_consumer.execution_plane.processes.parent.slotted_items import SlottedItems
from pyrallel_consumer.execution_plane.processes.parent.suspecting_engine import SuspectingEngine
from pyrallel_consumer.execution_plane.processes.parent.worker_setup import packed_setup
from pyrallel_consumer.execution_plane.processes.progress_marker import STORES_ARE_SEEN_SECONDS
from pyrallel_consumer.execution_plane.processes.remote_error import PackedError, restored_error
from pyrallel_consumer.execution_plane.processes.setup import is_loading
from pyrallel_consumer.execution_plane.processes.slot_marker import SlotMarker
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

LOOK_SECONDS: Final = 0.05
"""How often busy processes are checked: whether they live, and whether their sent messages begin."""
MAX_FRAME_ITEMS: Final = 256
SET_ASIDE_SECONDS: Final = 10.0
"""The process for suspects is kept this long after the last suspect."""
HUNG_SECONDS: Final = 2.0
"""A loop that has not run for this much longer than a timeout hangs: its process is killed."""


class LoopMember(Member):
    """A process with an event loop, and its sent messages. ``max_tasks`` = 0 is no limit."""

    def __init__(self, child: ChildProcess, marker: SlotMarker, slots: int, max_tasks: int) -> None:
        super().__init__(child)
        self.marker = marker
        self.sent = SlottedItems(slots, marker)
        self.max_tasks = max_tasks
        self.recalled_at: float | None = None
        self.was_unbegun = False
        """Whether the last sent message had not begun at the last look."""
        self.hung_at: float | None = None
        """``turned_at`` when its loop was found to hang."""
        self.why_killed: str | None = None

    @property
    def is_busy(self) -> bool:
        return len(self.sent) > 0

    @property
    def room(self) -> int:
        """How many more it may be sent now."""
        if not self.may_be_sent or self.recalled_at is not None:
            return 0
        return self.sent.room if not self.is_set_aside else 1 - len(self.sent)


class AsyncProcessEngine(SuspectingEngine):
    """Runs a picklable ``async def`` worker in ``processes`` processes, each with its share of the ``slots``.

    ``initializer``, ``lifespan``, ``max_tasks_per_child`` and ``pack`` as in ``ProcessEngine``.
    """

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
        super().__init__(policy, slots, trace=trace, pack=pack, jitter=jitter, is_recording=is_recording)
        self._worker = worker
        self._initializer = initializer
        self._lifespan = lifespan
        self._processes = processes
        self._slots_each = -(-slots // processes)
        self._timeout_seconds = policy.timeout_ms / 1000 if policy.timeout_ms else None
        self._max_tasks_per_child = max_tasks_per_child
        self._random = jitter
        self._pool: ProcessPool[LoopMember] | None = None
        self._members: list[LoopMember] = []
        self._is_dispatch_due = False
        self._ticker: asyncio.TimerHandle | None = None
        self._dismissal: asyncio.TimerHandle | None = None
        self._look_at: float | None = None
        self._all_ended: asyncio.Event | None = None

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        await super().start(channel, now)
        if is_loading():
            raise StateError(
                "a worker process imports the program's main file, and that starts a consumer again: start it under "
                '`if __name__ == "__main__":`'
            )
        self._loop = asyncio.get_running_loop()
        setup = packed_setup(
            self._worker, self._initializer, self._lifespan, has_loop=True, timeout_seconds=self._timeout_seconds
        )
        pool = self._pool = ProcessPool(self._processes, setup, self, has_lifespan=self._lifespan is not None)
        self._members = pool.members
        await pool.open()

    def submit(self, item: WorkItem) -> None:
        self.submit_all((item,))

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self._queue += self._attempts.start_all(items, self._now())
        self._dispatch_soon()

    def sweep(self, now: float) -> None:
        if self._look_at is not None and self._look_at <= now:
            self._look_for_hung(now)
        super().sweep(now)

    def next_sweep_at(self) -> float | None:
        moments = (super().next_sweep_at(), self._look_at if self._attempts.running else None)
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
        begun.sort(key=_started_at)
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
        await self._pool.close(max(0.0, stop_at - self._now()))
        if self._pool.unleft:
            raise LifespanError(f"in {len(self._pool.unleft)} worker processes: {self._pool.unleft[-1]}")

    # To the processes

    def _dispatch_soon(self) -> None:
        if not self._is_dispatch_due:
            self._is_dispatch_due = True
            self._loop.call_soon(self._guarded, self._dispatch)

    def _dispatch(self) -> None:
        """Send queued messages to the processes that run the fewest."""
        self._is_dispatch_due = False
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
        if self._look_at is None and self._timeout_seconds is not None:
            self._look_at = now + self._timeout_seconds
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

    def broke(self, error: BaseException) -> None:
        self._channel.crashed(error)

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

    def _note_progress(self) -> None:
        if self._pool is not None:
            self._pool.note_progress()

    # Suspects

    def _call_suspects(self) -> None:
        """Have a process for suspects while there are any, and call the next one to it."""
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
        self._ticker = None
        for member in list(self._members):
            member.child.look()
            is_unbegun = member.sent.is_last_unbegun
            if is_unbegun and member.was_unbegun and not self._queue and self._has_room_beside(member):
                self._recall(member)
            member.was_unbegun = is_unbegun
        self._dispatch()
        self._tick_later()

    def _tick_later(self) -> None:
        if self._ticker is None and not self._is_stopped and any(member.is_busy for member in self._members):
            self._ticker = self._loop.call_later(LOOK_SECONDS, self._guarded, self._tick)

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
            self._loop.call_later(STORES_ARE_SEEN_SECONDS, self._guarded, lambda: self._settle(member))

    def _settle(self, member: LoopMember) -> None:
        """After a recall: take back messages that certainly have not begun."""
        member.recalled_at = None
        if not member.child.has_ended():
            self._take_back(member.sent.end_all(member.sent.unbegun()))
            if self._queue or self._alone:
                self._dispatch_soon()

    def _look_for_hung(self, now: float) -> None:
        """Kill a process whose loop has not gone round for longer than an attempt may take.

        Twice in a row: after a pause of the whole machine the processes need a moment as well.
        """
        timeout_seconds = self._timeout_seconds or 0.0
        looks = []
        for member in self._members:
            oldest = member.sent.oldest_begun()
            if oldest is None or member.child.is_killed:
                member.hung_at = None
                if member.is_busy:
                    looks.append(now + timeout_seconds)
                continue
            due_at = oldest.started_at + timeout_seconds
            turned_at = member.marker.turned_at
            still_seconds = monotonic() - turned_at
            if due_at > now or still_seconds < timeout_seconds + HUNG_SECONDS:
                member.hung_at = None
                looks.append(max(due_at, now + HUNG_SECONDS / 4))
            elif member.hung_at != turned_at:
                member.hung_at = turned_at
                looks.append(now + HUNG_SECONDS / 4)
            else:
                member.why_killed = f"killed: its event loop had been kept busy for {still_seconds:.1f} s"
                logger.warning("worker process %d is %s", member.child.pid, member.why_killed)
                member.child.kill()
        self._look_at = min(looks, default=None)


def _sent_count(member: LoopMember) -> int:
    return len(member.sent)


def _started_at(attempt: Attempt) -> float:
    return attempt.started_at
