"""The pump on the event loop: facts and completions in, items and commands out, in turns that keep the loop free.

``turn()`` is the only entry point. It handles facts, completions and starts in small chunks within one time budget, and
then gives the loop back to the user's own coroutines and timers. It never waits, and the work manager makes all
decisions. Nothing spins: facts, completions and one ticker ask for turns.
"""

from __future__ import annotations

import asyncio
from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from pyrallel_consumer.control_plane.events import (
    Assigned,
    Commit,
    CommitAnswered,
    CoordinatorSilent,
    Delivered,
    LetterProducerFailed,
    LettersAnswered,
    Lost,
    OffsetWentBack,
    Pause,
    PollerClosed,
    PollerFailed,
    PollThreadFroze,
    PositionAdvanced,
    RecordsAnswered,
    Resume,
    RevokeAsked,
    TransactionAnswered,
)
from pyrallel_consumer.control_plane.membership import Membership
from pyrallel_consumer.control_plane.offsets.commit_sequence import FATAL, CommitSequence
from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.errors import BrokerError, StateError
from pyrallel_consumer.execution_plane.booked_engine import any_item
from pyrallel_consumer.execution_plane.engine import CompletionChannel
from pyrallel_consumer.observability.pictures import Pictures
from pyrallel_consumer.runtime.cut_off import Noted
from pyrallel_consumer.runtime.outcomes.exhausted import ExhaustedMessages
from pyrallel_consumer.runtime.revocation import Revocation
from pyrallel_consumer.runtime.start_lease import StartLease
from pyrallel_consumer.runtime.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextvars import Context

    from pyrallel_consumer.control_plane.events import RecordAnswer
    from pyrallel_consumer.control_plane.work_manager import WorkManager
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.engine import ExecutionEngine
    from pyrallel_consumer.record import OutputFigures
    from pyrallel_consumer.runtime.outcomes.dead_letters import DeadLetters

TURN_SECONDS, LONGEST_TURN_SECONDS = 0.002, 0.01
"""How long one turn may take: usually, and at most, if the loop's other callbacks delay the turn by the same time."""
CHUNK = 128
"""How many completions or starts are handled before the clock is read."""
FACTS_CHUNK = 256
"""How many delivered messages are handled before the clock is read: more, because routing runs no worker."""
FIRST_START_CHUNK = 2
SLOW_CHUNK_SECONDS = 0.001
"""A chunk of starts that takes longer runs the workers' own code: the next chunk is half as large."""


class Output(Protocol):
    """The pump's interface to the records that workers return; no method waits."""

    @property
    def is_full(self) -> bool: ...
    def figures(self, now: float) -> OutputFigures: ...
    @property
    def next_at(self) -> float | None: ...
    def succeed(self, items: Sequence[WorkItem], now: float | None = None) -> None: ...
    def pump(self) -> None: ...
    def take_answers(self, answers: Sequence[RecordAnswer]) -> None: ...
    def coming(self, which: Callable[[WorkItem], bool]) -> int: ...
    def items(self) -> list[WorkItem]: ...
    def forget_ended(self) -> None: ...


class Ingress(Protocol):
    """The pump's interface to the poll thread; no method waits."""

    def grant(self, total: int) -> None: ...
    def commit(self, command: Commit) -> None: ...
    def pause(self, command: Pause) -> None: ...
    def resume(self, command: Resume) -> None: ...


def turn_seconds(waited_seconds: float) -> float:
    """How long a turn may take that started ``waited_seconds`` late.

    With thousands of waiting workers an iteration of the loop is long. Short turns could not route and start enough
    messages per iteration, and keys would run dry.
    """
    return min(max(TURN_SECONDS, 2 * waited_seconds), LONGEST_TURN_SECONDS)


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
        self.has_poller_ended = False
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
        self._revoke_grace_seconds = revoke_grace_seconds
        self._loop = loop
        self._thread = get_ident()
        self._base = base
        self._fail = fail
        self._is_timed = manager.policy.is_timed
        self.exhausted = self._exhausted = ExhaustedMessages(manager, fail, self._clock, errors or ErrorText())
        self._output: Output | None = None
        self.on_outcome: Callable[[TransactionAnswered], None] | None = None
        """What hears of transactions, where commits are some."""
        self._succeed = manager.succeed
        self.pictures.add(self._exhausted.tell)
        self._inbox: deque[Any] = deque()
        self._inbox_at = 0
        self._messages_taken = 0
        self._is_announced = False
        self._is_scheduled = False
        self._woken_at = self.heartbeat
        self._is_stopped = False
        self._start_chunk = FIRST_START_CHUNK
        self._revocation: Revocation | None = None
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
        return self._output

    @output.setter
    def output(self, output: Output) -> None:
        self._output = output
        self._succeed = output.succeed

    @property
    def has_facts(self) -> bool:
        """Whether facts wait to be taken."""
        return bool(self._inbox)

    # In from other threads

    def deliver(self, fact: object) -> None:
        """Deliver a fact, from the poll thread. Raises RuntimeError if the loop is closed."""
        self._inbox.append(fact)
        if not self._is_announced:
            self._is_announced = True
            self._loop.call_soon_threadsafe(self._hear, context=self._base)

    def _hear(self) -> None:
        """The loop's end of ``deliver``; it resets the flag before it reads the inbox, so that no fact is missed."""
        self._is_announced = False
        self.wake()

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
        letters = self.dead_letters.queue.items() if self.dead_letters else []
        records = self._output.items() if self._output else []
        return [*noted.items, *filter(self.manager.is_current, [*letters, *records])]

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
            if self._revocation is not None:
                self._step_revocation(self._revocation)
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
        elif self._revocation is not None:
            self._revocation.withdraw()

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
        due = [self.engine.next_sweep_at(), None if self.lease.is_held else self._exhausted.next_at]
        if self._output is not None and not self.lease.is_held:
            due.append(self._output.next_at)
        if self.manager.rate.is_limited:
            due.append(self.manager.rate.next_at(now))
        if self._revocation is not None:
            due.append(self._revocation.next_step_at)
        self._timers.set_alarm(min((at for at in due if at is not None), default=None), now)

    def _has_work(self) -> bool:
        if self._inbox or self.channel.has_items:
            return True
        if self.lease.is_held or self.manager.rate.is_limited or (self._output is not None and self._output.is_full):
            return False
        return self.manager.ready > 0 and self.engine.capacity() > 0

    def _step(self) -> bool:
        has_completions = self.channel.has_items and self._take_completions()
        has_facts = bool(self._inbox) and self._take_facts()
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

    def _take_facts(self) -> bool:
        budget = FACTS_CHUNK
        inbox = self._inbox
        while budget > 0 and inbox:
            fact = inbox[0]
            if type(fact) is not Delivered:
                inbox.popleft()
                self._take_fact(fact)
                budget -= 1
                continue
            at, messages = self._inbox_at, fact.messages
            piece = messages[at : at + budget]
            self.manager.add(fact.tp, fact.epoch, piece)
            self._messages_taken += len(piece)
            budget -= len(piece)
            self._inbox_at = at + len(piece)
            if self._inbox_at >= len(messages):
                inbox.popleft()
                self._inbox_at = 0
        return True

    def _take_fact(self, fact: object) -> None:
        manager = self.manager
        match fact:
            case Assigned():
                manager.assign(fact)
            case CommitAnswered():  # TransactionAnswered, too
                self._take_answer(fact)
            case PositionAdvanced():
                manager.advance(fact)
            case PollThreadFroze() | CoordinatorSilent():
                self.lease.doubt(fact)
            case RevokeAsked():
                self._begin_revocation(fact)
            case Lost() | OffsetWentBack():
                self._take_loss(fact)
            case LettersAnswered() | RecordsAnswered():
                self._take_produced(fact)
            case PollerFailed(error) | LetterProducerFailed(error):
                self.has_poller_ended |= type(fact) is PollerFailed
                self._fail(error)
            case PollerClosed():
                self.has_poller_ended = True
            case _:
                msg = f"unknown fact {fact!r}"
                raise TypeError(msg)

    def _take_produced(self, fact: LettersAnswered | RecordsAnswered) -> None:
        if isinstance(fact, LettersAnswered):
            self._exhausted.take_answers(fact.answers)
        elif self._output is not None:
            self._output.take_answers(fact.answers)

    def _take_loss(self, fact: Lost | OffsetWentBack) -> None:
        manager = self.manager
        if isinstance(fact, Lost):
            manager.end([(fact.tp, fact.epoch)], is_lost=True)
        else:
            manager.go_back(fact)
        self._forget_ended()
        self.engine.cancel(lambda item: not manager.is_current(item))

    def _start_items(self) -> bool:
        capacity = self.engine.capacity()
        if self.channel.has_setbacks:
            return False  # A failure changes which messages may start.
        if not self.lease.may_start() or (self._output is not None and self._output.is_full):
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
        if manager.rate.is_on:
            return manager.take_limited(most, capacity, self._clock(), self.engine.status().retries_total)
        return manager.take(most, capacity, self._clock() if self._is_timed else None)

    def _pump_letters(self) -> None:
        if self.lease.may_start():
            self._exhausted.pump()
            if self._output is not None:
                self._output.pump()

    def _grant(self) -> None:
        if self.ingress is not None:
            # The size of messages is known after the first one; until then bytes cannot be converted into messages.
            taken = self._messages_taken
            self.ingress.grant(self.manager.allowed(taken, free_slots=self.engine.capacity()) if taken else 1)

    # Revocation

    @property
    def is_rebalancing(self) -> bool:
        """Whether a revoke waits for running work."""
        return self._revocation is not None

    def _begin_revocation(self, asked: RevokeAsked) -> None:
        deadline = self._clock() + self._revoke_grace_seconds
        self._revocation = Revocation(
            asked,
            self.manager,
            self.engine,
            self._exhausted,
            deadline=deadline,
            coming=self._coming,
            may_commit=lambda: self.on_outcome is None or not self.commits.is_under_way,
        )

    def _step_revocation(self, revocation: Revocation) -> None:
        revocation.withdraw()
        while self.channel.has_items:  # However many come from other partitions: at most the items in flight.
            self._take_completions()
        if revocation.step(self._clock()):
            self._revocation = None
            self._forget_letters_and_records()

    def _forget_ended(self) -> None:
        """Withdraw retries of ended assignments, and drop a revocation that the poll thread gave up."""
        is_current = self.manager.is_current
        self.engine.withdraw(lambda item: not is_current(item))
        self._forget_letters_and_records()
        if self._revocation is not None and self._revocation.is_moot:
            self._revocation = None

    def _coming(self, which: Callable[[WorkItem], bool]) -> int:
        """How many of these messages will be done soon without a worker: their letters or records are on the way."""
        if self.on_outcome is not None and self._output is not None:
            return self._output.coming(which)  # Letters go with the last transaction.
        coming = self._exhausted.coming(which)
        return coming if self._output is None else coming + self._output.coming(which)

    def _forget_letters_and_records(self) -> None:
        self._exhausted.forget_ended()
        if self._output is not None:
            self._output.forget_ended()

    @property
    def has_records(self) -> bool:
        """Whether records are on their way to the broker, so that a stop waits for them."""
        return self._output is not None and self._output.coming(any_item) > 0

    # Commits and the ticker

    def _take_answer(self, answered: CommitAnswered) -> None:
        self.lease.answered(answered)
        errors = self.commits.answer(answered)
        if self.on_outcome is not None and isinstance(answered, TransactionAnswered):
            self.on_outcome(answered)
        for tp, code in errors.items():
            if code in FATAL:
                message = (
                    f"the broker fenced this consumer off while it committed {tp}: another has its group.instance.id"
                )
                self._fail(BrokerError(message, code=code))
                return

    def hurry(self) -> None:
        """A command must be sent: tick soon, even if the loop is idle."""
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
            self._timers.next_tick(now, may_be_still=self._revocation is None)
        except BaseException as error:
            self._break(error)
            if not isinstance(error, Exception):
                raise
        else:
            self.wake()

    def _send_commands(self, now: float) -> None:
        ingress = self.ingress
        if ingress is None:
            return
        for command in self.manager.take_pause_changes():
            if isinstance(command, Pause):
                ingress.pause(command)
            else:
                ingress.resume(command)
        if self._revocation is not None and self.on_outcome is not None:
            return  # The last transaction of what goes is made when the one under way has ended.
        commit = self.commits.next(now, is_final=self._is_final, is_repeating=self.lease.is_held)
        if commit is not None:
            self._exhausted.sum_up()
            ingress.commit(commit)
