"""The pump on the event loop: facts and completions in, items and commands out, in turns that keep the loop free.

``turn()`` is the only entry point. It handles facts, completions and starts in small chunks within one time budget, and
then gives the loop back to the user's own coroutines and timers. It never waits, and the work manager makes all
decisions. Nothing spins: facts, completions and one ticker ask for turns.
"""

from __future__ import annotations

import asyncio
from threading import get_ident
from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.events import Pause
from pyrallel_consumer.control_plane.membership import Membership
from pyrallel_consumer.control_plane.offsets.commit_sequence import CommitSequence
from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.errors import StateError
from pyrallel_consumer.execution_plane.booked_engine import any_item
from pyrallel_consumer.execution_plane.engine import CompletionChannel
from pyrallel_consumer.observability.pictures import Pictures
from pyrallel_consumer.runtime.life.cut_off import Noted
from pyrallel_consumer.runtime.outcomes.exhausted import ExhaustedMessages
from pyrallel_consumer.runtime.outcomes.outstanding import Outstanding
from pyrallel_consumer.runtime.pump.facts import Facts
from pyrallel_consumer.runtime.pump.inbox import Inbox
from pyrallel_consumer.runtime.pump.start_lease import StartLease
from pyrallel_consumer.runtime.pump.timers import Timers, turn_seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from pyrallel_consumer.control_plane.work_manager import WorkManager
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.engine import ExecutionEngine
    from pyrallel_consumer.runtime.outcomes.dead_letters import DeadLetters
    from pyrallel_consumer.runtime.pump.ports import Ingress, Output
    from pyrallel_consumer.runtime.pump.revocation import Revocation

CHUNK = 128
"""How many completions or starts are handled before the clock is read."""
FIRST_START_CHUNK = 2
SLOW_CHUNK_SECONDS = 0.001
"""A chunk of starts that takes longer runs the workers' own code: the next chunk is half as large."""


class ControlLoop:
    """Moves facts, completions and items between the poll thread, the work manager and the engine.

    Made on the loop's thread, and all methods but ``deliver`` belong to it; what engines report through ``channel`` may
    come from any. ``fail`` is called with the error that ends the consumer. ``clock`` must tell parts of a millisecond
    apart, as ``time.monotonic`` does: uvloop's own time counts whole ones. ``boot_clock`` (by default the same) goes on
    while the machine is suspended, so that this is noticed.
    """

    def __init__(
        self,
        *,
        manager: WorkManager,
        commits: CommitSequence,
        engine: ExecutionEngine,
        revoke_grace_seconds: float,
        loop: asyncio.AbstractEventLoop,
        base: Context,
        fail: Callable[[BaseException], None],
        clock: Callable[[], float] | None = None,
        errors: ErrorText | None = None,
        boot_clock: Callable[[], float] | None = None,
        membership: Membership | None = None,
    ) -> None:
        self.manager = manager
        self.commits = commits
        self.engine = engine
        self.channel = CompletionChannel(self._wake_for_report)
        self.ingress: Ingress | None = None
        self.is_broken = False
        self.on_tick: list[Callable[[float], None]] = []
        """Necessary work at each tick: an error in it ends the consumer."""
        self.pictures = Pictures()
        self.on_interrupt: Callable[[], None] = lambda: None
        """Called when Ctrl-C interrupted a worker, before any more messages start."""
        self._clock = clock or loop.time
        self.heartbeat = self._clock()
        self.lease = StartLease(
            membership or Membership(),
            commits,
            engine,
            self.channel,
            clock=self._clock,
            boot_clock=boot_clock or self._clock,
        )
        self._loop = loop
        self._thread = get_ident()
        self._base = base
        self._fail = fail
        self._is_timed = manager.policy.is_timed
        self.exhausted = self._exhausted = ExhaustedMessages(manager, fail, self._clock, errors or ErrorText())
        self.outstanding = Outstanding(self._exhausted)
        self._succeed = manager.succeed
        self.pictures.add(self._exhausted.tell)
        self._inbox = Inbox(loop, base, self.wake)
        self.deliver = self._inbox.deliver
        self._facts = Facts(
            manager,
            commits,
            engine,
            self.lease,
            self.outstanding,
            fail=fail,
            clock=self._clock,
            revoke_grace_seconds=revoke_grace_seconds,
        )
        self._is_scheduled = False
        self._woken_at = self.heartbeat
        self._is_stopped = False
        self._start_chunk = FIRST_START_CHUNK
        self._timers = Timers(loop, base, tick=self._tick, ring=self.wake, now=self.heartbeat)
        self._changed = asyncio.Event()
        self._is_draining = False
        self._is_final = False

    @property
    def dead_letters(self) -> DeadLetters | None:
        """Where exhausted messages are sent, None if they are only held."""
        return self._exhausted.dead_letters

    @dead_letters.setter
    def dead_letters(self, letters: DeadLetters | None) -> None:
        self._exhausted.dead_letters = letters

    @property
    def output(self) -> Output | None:
        """The output for records of workers, None if they return none."""
        return self.outstanding.output

    @output.setter
    def output(self, output: Output) -> None:
        self.outstanding.output = output
        self._succeed = output.succeed

    @property
    def has_poller_ended(self) -> bool:
        """Whether the poll thread has said that it ended."""
        return self._facts.has_poller_ended

    @property
    def is_rebalancing(self) -> bool:
        """Whether a revoke waits for running work."""
        return self._facts.revocation is not None

    @property
    def has_facts(self) -> bool:
        """Whether facts wait to be taken."""
        return bool(self._inbox)

    def _wake_for_report(self) -> None:
        if get_ident() == self._thread:
            self.wake()
        elif not self._is_stopped:
            self._loop.call_soon_threadsafe(self.wake, context=self._base)

    # Life

    def start(self, ingress: Ingress | None = None) -> None:
        """Begin to tick. Begin to grant too, if there is an ``ingress`` already."""
        if ingress is not None:
            self.connect(ingress)
        self._tick()

    def connect(self, ingress: Ingress) -> None:
        """Begin to grant: no message comes before this."""
        self.ingress = ingress
        self._grant()

    def stop(self) -> None:
        """Turn and tick no more. Later facts and completions are ignored."""
        self._exhausted.sum_up()
        self._is_stopped = True
        self._is_scheduled = True
        self._timers.cancel()
        self._changed.set()

    async def until(self, holds: Callable[[], bool], deadline: float) -> bool:
        """Wait until ``holds()`` after some turn or tick, or the deadline; returns whether it held.

        Also returns soon after ``stop``, and when the pump has broken.
        """
        while not holds():
            now = self._clock()
            if self._is_stopped or now >= deadline:
                return False
            self._timers.note_movement(now)
            self._changed.clear()
            await self._changed.wait()  # Every tick sets it: no wait is longer than that.
        return True

    def begin_draining(self) -> None:
        """From now on no message starts, and no retry: the consumer stops."""
        self._is_draining = True
        self.manager.stop_all_dispatching()
        self.wake()

    def unfinished(self) -> list[WorkItem]:
        """Items that have started and not ended: they run, or their dead letters are not acknowledged."""
        noted = Noted(self.manager.is_current)
        self.engine.running(noted)
        return [*noted.items, *filter(self.manager.is_current, self.outstanding.items())]

    def begin_final_commits(self) -> None:
        """From now on commit at every tick, not at the interval: the consumer stops."""
        self._is_final = True
        self.wake()

    def wake(self) -> None:
        """Have a turn soon, but only one: several in a row would block all other users of the loop."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._woken_at = self._clock()
            self._loop.call_soon(self.turn, context=self._base)

    # Turns

    def turn(self) -> None:
        """Handle facts, completions and starts within the budget; another turn is asked for at once for the rest."""
        if self._is_stopped:
            return
        try:
            self._is_scheduled = True
            started_at = self.heartbeat = self._clock()
            self.lease.renew(started_at)
            self._withdraw()  # Before the sweep: messages that failed meanwhile are not tried again here.
            sweep_at = self.engine.next_sweep_at()
            if sweep_at is not None and sweep_at <= started_at:
                self.engine.sweep(started_at)
            if self._step():
                self._timers.note_movement(started_at)
                ends_at = started_at + turn_seconds(started_at - self._woken_at)
                while self._clock() < ends_at and self._step():
                    pass
            if self._facts.revocation is not None:
                self._step_revocation(self._facts.revocation)
            self._pump_letters()
            self._grant()
            self._is_scheduled = False
            self.channel.is_notified = False  # Engines also notify of events without a completion.
            if self._has_work():
                self.wake()
            elif self.engine.is_joining and (self.engine.capacity() <= 0 or self.manager.room <= 0):
                self.engine.nothing_follows()
            self._set_alarm(started_at)
            self._changed.set()
        except BaseException as error:
            self._break(error)
            if not isinstance(error, Exception):
                raise

    def _withdraw(self) -> None:
        """Withdraw unstarted items of partitions that are being revoked."""
        if self._is_draining:
            self.engine.withdraw(any_item)
        elif self._facts.revocation is not None:
            self._facts.revocation.withdraw()

    def _break(self, error: BaseException) -> None:
        """The state may be wrong: nothing more is taken, started or committed."""
        self.is_broken = True
        self.stop()
        if not isinstance(
            error, Exception
        ):  # Ctrl-C while no handler was in place: not ours to keep or to raise again.
            cut = StateError(f"the consumer was cut short by {type(error).__name__}: what is uncommitted runs again")
            cut.__cause__ = error
            error = cut
        self._fail(error)

    def _set_alarm(self, now: float) -> None:
        """Have a turn when engine, dead letters or a revocation are next due, if that is before the next tick."""
        due = [self.engine.next_sweep_at(), None if self.lease.is_held else self.outstanding.next_at]
        if self.manager.rate.is_limited:
            due.append(self.manager.rate.next_at(now))
        if self._facts.revocation is not None:
            due.append(self._facts.revocation.next_step_at)
        self._timers.set_alarm(min((at for at in due if at is not None), default=None), now)

    def _has_work(self) -> bool:
        if self._inbox or self.channel.has_items:
            return True
        if self.lease.is_held or self.manager.rate.is_limited or self.outstanding.is_full:
            return False
        return self.manager.ready > 0 and self.engine.capacity() > 0

    def _step(self) -> bool:
        has_completions = self.channel.has_items and self._take_completions()
        if has_facts := bool(self._inbox):
            self._inbox.take(self.manager, self._facts.take)
        return self._start_items() or has_completions or has_facts

    def _take_completions(self) -> bool:
        if self.channel.is_interrupted:
            self.channel.is_interrupted = False
            self.on_interrupt()
        finished = self.channel.drain(CHUNK)
        manager = self.manager
        self._succeed(finished.successes, self._clock() if self._is_timed else None)
        for failed in finished.failures:
            self._exhausted.take(failed)
        for cancelled in finished.cancellations:
            manager.cancel(cancelled.item)
        return True

    def _start_items(self) -> bool:
        capacity = self.engine.capacity()
        if self.channel.has_setbacks:
            return False  # A failure changes which messages may start.
        if not self.lease.may_start() or self.outstanding.is_full:
            return False
        self.manager.allow_runs(self.engine.run_length(), are_whole=self.engine.is_joining)
        items = self._take(min(capacity, self._start_chunk), capacity)
        self._exhausted.take_condemned()
        if not items:
            return False
        started_at = self._clock()
        self.engine.submit_all(items)
        if self._clock() - started_at > SLOW_CHUNK_SECONDS:
            self._start_chunk = max(1, self._start_chunk // 2)
        else:
            self._start_chunk = min(CHUNK, self._start_chunk * 2)
        return True

    def _take(self, most: int, capacity: int) -> list[WorkItem]:
        manager = self.manager
        if manager.circuit.is_open:
            manager.circuit.observe(self._clock())  # The last tick may be long ago: the wait begins with the probe.
        if manager.rate.is_on:
            return manager.take_limited(most, capacity, self._clock(), self.engine.status().retries_total)
        return manager.take(most, capacity, self._clock() if self._is_timed else None)

    def _pump_letters(self) -> None:
        if self.lease.may_start():
            self.outstanding.pump()

    def _grant(self) -> None:
        if self.ingress is not None:
            # The size of messages is known after the first one; until then bytes cannot be converted into messages.
            taken = self._inbox.messages_taken
            self.ingress.grant(self.manager.allowed(taken, free_slots=self.engine.capacity()) if taken else 1)

    def _step_revocation(self, revocation: Revocation) -> None:
        revocation.withdraw()
        while self.channel.has_items:  # However many come from other partitions: at most the items in flight.
            self._take_completions()
        self._facts.step_revocation()

    # The ticker

    def send_pauses(self) -> None:
        """Send the user's pauses and resumes at once, even if the event loop is blocked next."""
        self._send_pauses()
        self._timers.note_movement(self._clock())

    def _tick(self) -> None:
        if self._is_stopped:
            return
        try:
            now = self._clock()
            self.lease.tick(now)
            self.manager.note_failing(self.engine.waiting())
            self.manager.observe(now)
            self.manager.review_shares()
            self._send_commands(now)
            for call in self.on_tick:
                call(now)
            self.pictures.draw(now)
            self._timers.next_tick(now, may_be_still=self._facts.revocation is None)
        except BaseException as error:
            self._break(error)
            if not isinstance(error, Exception):
                raise
        else:
            self.wake()

    def _send_pauses(self) -> None:
        if (ingress := self.ingress) is None:
            return
        for command in self.manager.take_pause_changes():
            ingress.pause(command) if isinstance(command, Pause) else ingress.resume(command)

    def _send_commands(self, now: float) -> None:
        if (ingress := self.ingress) is None:
            return
        self._send_pauses()
        if self._facts.revocation is not None and self.outstanding.on_outcome is not None:
            return  # The last transaction of the revoked partitions follows the open one.
        commit = self.commits.next(now, is_final=self._is_final, is_repeating=self.lease.is_held)
        if commit is not None:
            self._exhausted.sum_up()
            ingress.commit(commit)
