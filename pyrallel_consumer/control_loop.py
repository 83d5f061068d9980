"""The pump on the event loop: facts and completions in, items and commands out, in turns that keep the loop free.

``turn()`` is the only way in. It takes facts, completions and starts in small chunks under one budget of time and then
gives the loop back to the user's own coroutines and timers. It never waits and decides nothing: the work manager does.
Nothing spins: turns are asked for by facts, by completions, and by one ticker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pyrallel_consumer.control_plane.commit_sequence import FATAL, CommitSequence
from pyrallel_consumer.control_plane.drain import Drain, DrainStep
from pyrallel_consumer.control_plane.events import (
    Assigned,
    Commit,
    CommitAnswered,
    Delivered,
    Lost,
    OffsetWentBack,
    Pause,
    PollerClosed,
    PollerFailed,
    PositionAdvanced,
    Resume,
    RevokeAsked,
)
from pyrallel_consumer.dto import OnExhausted
from pyrallel_consumer.errors import BrokerError, MessageExhaustedError
from pyrallel_consumer.execution_plane.engine import CompletionChannel

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from pyrallel_consumer.control_plane.work_manager import WorkManager
    from pyrallel_consumer.dto import TopicPartition, WorkItem
    from pyrallel_consumer.execution_plane.engine import ExecutionEngine, Failed

logger = logging.getLogger("pyrallel_consumer.control_loop")

TURN_SECONDS = 0.002
"""How long one turn may keep the loop."""
CHUNK = 32
"""Facts' messages, completions, or starts that are taken before the clock is looked at."""
FIRST_START_CHUNK = 8
SLOW_CHUNK_SECONDS = 0.001
"""A chunk of starts that took longer runs the workers' own code: the next one is half as large."""
TICK_SECONDS = 0.05
MIN_TICK_SECONDS = 0.001


class Ingress(Protocol):
    """What the pump asks of the poll thread; none of it waits."""

    def grant(self, total: int) -> None: ...
    def commit(self, command: Commit) -> None: ...
    def pause(self, command: Pause) -> None: ...
    def resume(self, command: Resume) -> None: ...


class DeadLetters(Protocol):
    """Where exhausted messages go; ``settle`` of the work manager follows each acknowledgement."""

    def send(self, item: WorkItem, error: BaseException, attempt: int) -> None: ...


@dataclass(slots=True)
class _Revocation:
    asked: RevokeAsked
    tps: frozenset[TopicPartition]
    drain: Drain


class ControlLoop:
    """Moves facts, completions and items between the poll thread, the work manager and the engine.

    ``fail`` is called once with the error that ends the consumer. All methods but ``deliver`` belong to the loop.
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
    ) -> None:
        self.manager = manager
        self.commits = commits
        self.engine = engine
        self.channel = CompletionChannel(self._wake)
        self.ingress: Ingress | None = None
        self.dead_letters: DeadLetters | None = None
        self.is_closed_by_poller = False
        self.is_broken = False
        self.heartbeat = loop.time()
        self.on_tick: list[Callable[[float], None]] = []
        self._revoke_grace_seconds = revoke_grace_seconds
        self._loop = loop
        self._base = base
        self._fail = fail
        self._inbox: deque[Any] = deque()
        self._inbox_at = 0
        self._messages_taken = 0
        self._is_scheduled = False
        self._start_chunk = FIRST_START_CHUNK
        self._revocation: _Revocation | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._is_final = False

    # In from other threads

    def deliver(self, fact: object) -> None:
        """Hand a fact over, from the poll thread. Raises RuntimeError when the loop is closed."""
        self._inbox.append(fact)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon_threadsafe(self.turn, context=self._base)

    # Life

    def start(self, ingress: Ingress) -> None:
        """Begin to grant and to tick."""
        self.ingress = ingress
        self._grant()
        self._tick()

    def stop(self) -> None:
        """Tick no more. What still arrives is ignored."""
        if self._ticker is not None:
            self._ticker.cancel()
        self._ticker = None
        self._is_scheduled = True

    async def until(self, holds: Callable[[], bool], deadline: float) -> bool:
        """Wait until ``holds()`` after some turn or tick, or the deadline; returns whether it held."""
        while not holds():
            if self.is_broken or self._loop.time() >= deadline:
                return False
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
        return True

    def begin_final_commits(self) -> None:
        """From now on commit at every tick, not by interval: the consumer stops."""
        self._is_final = True
        self._wake()

    # Turns

    def turn(self) -> None:
        """Take what has come, within the budget; the rest waits for a turn that is asked for at once."""
        try:
            self._is_scheduled = True
            started_at = self.heartbeat = self._loop.time()
            self._sweep(started_at)
            while self._step():
                if self._loop.time() - started_at >= TURN_SECONDS:
                    break
            self._step_revocation()
            self._grant()
            self._is_scheduled = False
            if self._has_work():
                self._wake()
            self._changed.set()
        except Exception as error:  # noqa: BLE001 -- the edge of the pump: whatever escapes it ends the consumer
            self._break(error)

    def _break(self, error: Exception) -> None:
        """The books may be wrong: nothing more is taken, started or committed."""
        self.is_broken = True
        self.stop()
        self._changed.set()
        self._fail(error)

    def _sweep(self, now: float) -> None:
        if self._revocation is not None:
            # What failed since the revoke began is not tried again here: the next owner does it.
            tps = self._revocation.tps
            self.engine.withdraw(lambda item: item.tp in tps)
        at = self.engine.next_sweep_at()
        if at is None:
            return
        if at <= now:
            self.engine.sweep(now)
        elif self._ticker is not None and at < self._ticker.when():
            self._ticker.cancel()
            self._ticker = self._loop.call_at(at, self._tick, context=self._base)

    def _has_work(self) -> bool:
        return bool(self._inbox) or self.channel.has_items or (self.manager.ready > 0 and self.engine.capacity() > 0)

    def _wake(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self.turn, context=self._base)

    def _step(self) -> bool:
        has_completions = self.channel.has_items and self._take_completions()
        has_facts = bool(self._inbox) and self._take_facts()
        return self._start_items() or has_completions or has_facts

    def _take_completions(self) -> bool:
        finished = self.channel.drain(CHUNK)
        manager = self.manager
        manager.succeed(finished.successes)
        for failed in finished.failures:
            self._exhaust(failed)
        for cancelled in finished.cancellations:
            manager.cancel(cancelled.item)
        return True

    def _exhaust(self, failed: Failed) -> None:
        outcome = self.manager.exhaust(failed.item)
        if outcome is None:
            return
        item = failed.item
        extra = {"topic": item.topic, "partition": item.partition, "offset": item.offset, "epoch": item.epoch}
        text = f"{item.id} failed after {failed.attempt} attempts: {type(failed.error).__name__}"
        if outcome is OnExhausted.DLQ and self.dead_letters is not None:
            self.dead_letters.send(item, failed.error, failed.attempt)
        elif outcome is OnExhausted.STOP:
            msg = f"{text}; on_exhausted is 'stop', so the consumer stops and the offset stays uncommitted"
            error = MessageExhaustedError(msg)
            error.__cause__ = failed.error
            self._fail(error)
        else:
            logger.error("%s; on_exhausted is %r", text, outcome.value, extra=extra)

    def _take_facts(self) -> bool:
        budget = CHUNK
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
            case CommitAnswered():
                self._take_answer(fact)
            case PositionAdvanced():
                manager.advance(fact)
            case RevokeAsked():
                self._begin_revocation(fact)
            case Lost(tp, epoch):
                manager.end([(tp, epoch)], is_lost=True)
                self._forget_ended()
                self.engine.cancel(lambda item: not manager.is_current(item))
            case OffsetWentBack():
                manager.go_back(fact)
                self._forget_ended()
                self.engine.cancel(lambda item: not manager.is_current(item))
            case PollerFailed(error):
                self._fail(error)
            case PollerClosed():
                self.is_closed_by_poller = True
            case _:
                msg = f"unknown fact {fact!r}"
                raise TypeError(msg)

    def _start_items(self) -> bool:
        capacity = self.engine.capacity()
        if capacity <= 0:
            return False
        items = self.manager.take(min(capacity, self._start_chunk), capacity)
        if not items:
            return False
        submit = self.engine.submit
        started_at = self._loop.time()
        for item in items:
            submit(item)
        if self._loop.time() - started_at > SLOW_CHUNK_SECONDS:
            self._start_chunk = max(1, self._start_chunk // 2)
        else:
            self._start_chunk = min(CHUNK, self._start_chunk * 2)
        return True

    def _grant(self) -> None:
        if self.ingress is not None:
            self.ingress.grant(self._messages_taken + self.manager.room)

    # Revocation

    @property
    def is_rebalancing(self) -> bool:
        """Whether a revoke waits for running work."""
        return self._revocation is not None

    def _begin_revocation(self, asked: RevokeAsked) -> None:
        tps = frozenset(tp for tp, _ in asked.partitions)
        self.manager.stop_dispatching(tps)
        self.engine.withdraw(lambda item: item.tp in tps)
        drain = Drain(self._loop.time() + self._revoke_grace_seconds)
        self._revocation = _Revocation(asked, tps, drain)

    def _step_revocation(self) -> None:
        revocation = self._revocation
        if revocation is None or self.channel.has_items:
            return
        tps = revocation.tps
        running = self.engine.running(lambda item: item.tp in tps)
        match revocation.drain.step(running, self._loop.time()):
            case DrainStep.CANCEL:
                self.engine.cancel(lambda item: item.tp in tps)
            case DrainStep.DONE:
                self._revocation = None
                revocation.asked.answer(self.manager.end(revocation.asked.partitions, is_lost=False))
            case DrainStep.WAIT:
                pass

    def _forget_ended(self) -> None:
        """Retries of ended assignments are withdrawn; a revocation that the poll thread gave up is dropped."""
        is_current = self.manager.is_current
        self.engine.withdraw(lambda item: not is_current(item))
        if self._revocation is not None:
            gone = {work.tp for work in self.manager}
            if not self._revocation.tps & gone:
                self._revocation = None

    # Commits and the ticker

    def _take_answer(self, answered: CommitAnswered) -> None:
        for tp, code in self.commits.answer(answered).items():
            if code in FATAL:
                msg = f"the broker fenced this consumer off while it committed {tp}: another has its group.instance.id"
                self._fail(BrokerError(msg, code=code))
                return
            logger.warning("commit of %s failed with %s; the next commit tries again", tp, code)

    def _tick(self) -> None:
        try:
            now = self._loop.time()
            self.manager.note_failing(self.engine.waiting())
            self.manager.observe(now)
            self.manager.review_shares()
            self._send_commands(now)
            for call in self.on_tick:
                call(now)
            self.turn()
            if not self.is_broken:
                self._ticker = self._loop.call_at(self._next_tick_at(now), self._tick, context=self._base)
        except Exception as error:  # noqa: BLE001 -- the edge of the pump: whatever escapes it ends the consumer
            self._break(error)

    def _send_commands(self, now: float) -> None:
        ingress = self.ingress
        if ingress is None:
            return
        for command in self.manager.take_pause_changes():
            if isinstance(command, Pause):
                ingress.pause(command)
            else:
                ingress.resume(command)
        commit = self.commits.next(now, is_final=self._is_final)
        if commit is not None:
            ingress.commit(commit)

    def _next_tick_at(self, now: float) -> float:
        due = [now + TICK_SECONDS, self.engine.next_sweep_at()]
        if self._revocation is not None:
            due.append(self._revocation.drain.next_step_at)
        return max(now + MIN_TICK_SECONDS, min(at for at in due if at is not None))
