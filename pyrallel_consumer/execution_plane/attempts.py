"""Attempts, slots, due times and timeouts of one engine: pure, the same for all engines, driven by the simulator too.

No clock and no randomness: ``now`` (seconds, never going back) and ``jitter`` are passed in. An item goes

    start -> running -> ended_* -> gone, or waiting for its next attempt -> due (holds a free slot) -> running ...

and is identified by its *root*, the object that was submitted first. Invariant: running + due <= slots. A free
slot goes to a retry whose time has come before it goes to new work. But retries never take the last quarter of the
slots: messages that always fail, however slowly and however many, cannot stop the others from running.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from pyrallel_consumer.errors import InvariantViolation, TaskTimeoutError
from pyrallel_consumer.execution_plane.retry import Wait, backoff_ms, next_wait
from pyrallel_consumer.execution_plane.worker.named_failures import NamedFailures
from pyrallel_consumer.foreign_errors import is_a

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem


@dataclass(slots=True)
class RetryAt:
    """The attempt failed with ``error``; the item waits until ``due_at``, and then ``due`` returns it.

    ``attempt`` is its number; if it does not count, the next attempt has the same number.
    """

    due_at: float
    error: BaseException | None = field(default=None, compare=False)
    attempt: int = field(default=0, compare=False)
    is_charged: bool = field(default=True, compare=False)


@dataclass(slots=True)
class Exhausted:
    """The attempt failed and was the last one. ``attempt`` is its number."""

    error: BaseException
    attempt: int


@dataclass(slots=True)
class Uncharged:
    """The attempt was cancelled by us, or interrupted by Ctrl-C: it does not count, and its number is used again."""

    attempt: int


Verdict: TypeAlias = "RetryAt | Exhausted | Uncharged"


class Attempt:
    """One attempt under way. ``marked_at`` is None, or when it was first found timed out or told to stop.

    ``handle`` belongs to the engine, which ends the attempt by it. ``is_withdrawn`` is for engines where attempts begin
    later than they start: the attempt is given back unless it has begun. ``uncharged`` is how often it was put off
    uncharged.
    """

    __slots__ = (
        "handle",
        "is_cancelled",
        "is_timed_out",
        "is_withdrawn",
        "item",
        "marked_at",
        "root",
        "started_at",
        "uncharged",
    )

    def __init__(self, root: WorkItem, item: WorkItem, started_at: float, handle: Any = None) -> None:
        self.root = root
        self.item = item
        self.started_at = started_at
        self.handle = handle
        self.marked_at: float | None = None
        self.is_timed_out = False
        self.is_cancelled = False
        self.is_withdrawn = False
        self.uncharged = 0

    @property
    def number(self) -> int:
        return self.item.attempt


@dataclass(order=True, slots=True)
class _Waiting:
    """A retry in the queue, ordered by time, then by arrival."""

    due_at: float
    sequence: int
    root: WorkItem
    item: WorkItem
    uncharged: int


class Attempts:
    """The attempts of one engine. ``slots`` is the number of attempts that may run at once, at least 1.

    ``is_timing`` is False for engines where attempts begin later than they start: those know when to ``time_out``.
    """

    def __init__(self, policy: RetryPolicy, slots: int, jitter: Callable[[], float], *, is_timing: bool = True) -> None:
        self.retries_total = 0
        self.timeouts_total = 0
        self._policy = policy
        self._slots = slots
        self._retry_slots = slots - slots // 4
        self._jitter = jitter
        self._timeout_seconds = policy.timeout_ms / 1000 if policy.timeout_ms and is_timing else None
        self.running: dict[WorkItem, Attempt] = {}
        """Attempts under way by root, oldest start first, so that the first to expire stands first. Only to be read."""
        self._running_retries: set[WorkItem] = set()
        self._waiting: list[_Waiting] = []
        self._due: deque[_Waiting] = deque()
        self._held: dict[WorkItem, _Waiting] = {}
        """Retries that wait for their time, and also for a call of ``release``."""
        self._sequence = 0
        self._now = float("-inf")

    # Slots

    @property
    def capacity(self) -> int:
        """Free slots, without those reserved for retries whose time had come at the last look."""
        return self._slots - len(self.running) - len(self._due)

    @property
    def waiting_count(self) -> int:
        """How many items wait for another attempt, including due ones."""
        return len(self._waiting) + len(self._due) + len(self._held)

    def waiting(self) -> list[WorkItem]:
        """The roots of all items that wait for another attempt, including due ones; in no order."""
        return [waiting.root for waiting in (*self._waiting, *self._due, *self._held.values())]

    @property
    def due_count(self) -> int:
        return len(self._due)

    # One attempt: started, then ended once

    def start(self, root: WorkItem, now: float, handle: Any = None) -> Attempt:
        """The first attempt of ``root`` runs in a free slot since ``now``; later ones are started by ``due``.

        If a retry has taken a slot since the caller asked for capacity, the retry gives it back.
        """
        free = self._slots - len(self.running)
        if root in self.running or free <= 0:
            raise InvariantViolation(f"{root!r} was submitted twice or without capacity")
        if len(self._due) >= free:
            heapq.heappush(self._waiting, self._due.pop())
        attempt = self.running[root] = Attempt(root, root, now, handle)
        return attempt

    def start_all(self, roots: Sequence[WorkItem], now: float) -> list[Attempt]:
        """``start`` each of ``roots``, in this order; there is capacity for all of them."""
        running = self.running
        before = len(running)
        free = self._slots - before - len(roots)
        started = [Attempt(root, root, now) for root in roots]
        running.update(zip(roots, started, strict=True))
        if free < 0 or len(running) < before + len(roots):
            raise InvariantViolation(f"of {roots!r} some were submitted twice or without capacity")
        while len(self._due) > free:
            heapq.heappush(self._waiting, self._due.pop())
        return started

    def ended_ok(self, root: WorkItem, now: float) -> None:
        """The worker returned: a success, even after its timeout or a cancel that did not reach it."""
        self._end(root)
        if self._waiting:
            self._reserve(now)

    def all_ended_ok(self, attempts: Sequence[Attempt], now: float) -> None:
        """The workers of these attempts returned: each is a success."""
        running, retries = self.running, self._running_retries
        for attempt in attempts:
            root = attempt.root
            del running[root]
            if attempt.item is not root:
                retries.discard(root)
        if self._waiting:
            self._reserve(now)

    def ended_failed(self, root: WorkItem, error: BaseException, now: float) -> Verdict:
        """The worker raised ``error``, or its process died. KeyboardInterrupt is Ctrl-C, and not its failure."""
        attempt = self._end(root)
        verdict = self._judge(attempt, error, now)
        self._reserve(now)
        return verdict

    def ended_by_death(
        self, root: WorkItem, error: BaseException, now: float, *, may_give_up: bool, is_held: bool
    ) -> Verdict:
        """The process of the attempt died. Where it ``may_give_up`` not, the last attempt gets its number once more.

        ``is_held``: the retry waits for ``release`` besides its time, and takes no slot meanwhile.
        """
        attempt = self._end(root)
        verdict = self._judge(attempt, error, now, may_give_up=may_give_up, is_held=is_held)
        self._reserve(now)
        return verdict

    def release(self, root: WorkItem) -> None:
        """The held retry of ``root`` may start when its time comes; no effect if it was withdrawn."""
        if (held := self._held.pop(root, None)) is not None:
            heapq.heappush(self._waiting, held)

    def ended_cancelled(self, root: WorkItem, now: float) -> Uncharged:
        """A shutdown interrupted the attempt; whether it failed or succeeded is unknown."""
        attempt = self._end(root)
        self._reserve(now)
        return Uncharged(attempt.number)

    # Time

    def due(self, now: float, limit: int | None = None) -> list[Attempt]:
        """Start retries whose time has come, in the order of their times, up to ``limit`` and the free slots."""
        self._reserve(now)
        started: list[Attempt] = []
        while self._due and (limit is None or len(started) < limit):
            waiting = self._due.popleft()
            self._running_retries.add(waiting.root)
            self.retries_total += 1
            attempt = self.running[waiting.root] = Attempt(waiting.root, waiting.item, now)
            attempt.uncharged = waiting.uncharged
            started.append(attempt)
        return started

    def expired(self, now: float) -> list[Attempt]:
        """Mark and return the attempts whose timeout passed since the last look: the engine cancels them."""
        found: list[Attempt] = []
        if self._timeout_seconds is None:
            return found
        for attempt in self.running.values():
            if attempt.started_at + self._timeout_seconds > now:
                break
            if attempt.marked_at is None:
                attempt.marked_at = now
                attempt.is_timed_out = True
                found.append(attempt)
        self.timeouts_total += len(found)
        return found

    def time_out(self, attempt: Attempt, now: float) -> None:
        """Mark a running attempt as timed out, for engines that keep the time themselves."""
        attempt.is_timed_out = True
        if attempt.marked_at is None:
            attempt.marked_at = now
        self.timeouts_total += 1

    def next_due_at(self, *, with_retries: bool = True) -> float | None:
        """When ``due`` or ``expired`` must be called; in the past if a retry has a reserved slot.

        Without ``with_retries`` only ``expired`` is asked about.

        None = not before an attempt ends or one more starts: retries that find no slot wait for an end, not for a time.
        """
        moments = []
        if with_retries and self._due:
            moments.append(self._due[0].due_at)
        elif with_retries and self._waiting and self._may_retry():
            moments.append(self._waiting[0].due_at)
        if self._timeout_seconds is not None:
            for attempt in self.running.values():
                if attempt.marked_at is None:
                    moments.append(attempt.started_at + self._timeout_seconds)
                    break
        return min(moments, default=None)

    # Giving up

    def withdraw(self, which: Callable[[WorkItem], bool]) -> list[tuple[WorkItem, Uncharged]]:
        """Forget the waiting and due retries whose root is in ``which``; returns them in the order of their times."""
        kept, gone = _split(self._waiting, which)
        kept_due, gone_due = _split(self._due, which)
        _, gone_held = _split(self._held.values(), which)
        for waiting in gone_held:
            del self._held[waiting.root]
        self._waiting = kept
        heapq.heapify(self._waiting)
        self._due = deque(kept_due)
        # Slots that were reserved for withdrawn retries go to retries that found none.
        self._reserve(self._now)
        return [(waiting.root, Uncharged(waiting.item.attempt)) for waiting in sorted(gone_due + gone + gone_held)]

    def cancel(self, which: Callable[[WorkItem], bool], now: float) -> list[Attempt]:
        """Mark the running attempts of ``which`` as cancelled; returns the newly marked ones.

        If a marked attempt raises, it does not count; if it returns, it is a success all the same.
        """
        found = [attempt for attempt in self.running.values() if not attempt.is_cancelled and which(attempt.root)]
        for attempt in found:
            attempt.is_cancelled = True
            if attempt.marked_at is None:
                attempt.marked_at = now
        return found

    # Inside

    def _end(self, root: WorkItem) -> Attempt:
        attempt = self.running.pop(root, None)
        if attempt is None:
            raise InvariantViolation(f"an attempt of {root!r} ended that does not run")
        if attempt.item is not root:
            self._running_retries.discard(root)
        return attempt

    def _judge(
        self, attempt: Attempt, error: BaseException, now: float, *, may_give_up: bool = True, is_held: bool = False
    ) -> Verdict:
        number = attempt.number
        if type(error) is NamedFailures:
            return Exhausted(
                error, number
            )  # It counts as returned, even after a timeout or a cancel: it names the done messages.
        if attempt.is_cancelled or is_a(error, KeyboardInterrupt):
            return Uncharged(number)
        if attempt.is_timed_out:
            timeout = TaskTimeoutError(
                f"attempt {number} of {attempt.root.id} ran longer than {self._policy.timeout_ms} ms"
            )
            timeout.__cause__ = error
            error = timeout
        wait = next_wait(self._policy, number, error, self._jitter(), attempt.uncharged)
        if wait is None and not may_give_up:
            wait = Wait(backoff_ms(self._policy, number, self._jitter()), is_charged=False)
        if wait is None:
            return Exhausted(error, number)
        due_at = now + wait.milliseconds / 1000
        item = attempt.item.next_attempt() if wait.is_charged else attempt.item.same_attempt()
        uncharged = attempt.uncharged + (not wait.is_charged)
        self._sequence += 1
        waiting = _Waiting(due_at, self._sequence, attempt.root, item, uncharged)
        if is_held:
            self._held[attempt.root] = waiting
        else:
            heapq.heappush(self._waiting, waiting)
        return RetryAt(due_at, error, number, wait.is_charged)

    def _may_retry(self) -> bool:
        return (
            len(self.running) + len(self._due) < self._slots
            and len(self._running_retries) + len(self._due) < self._retry_slots
        )

    def _reserve(self, now: float) -> None:
        """Reserve free slots for the retries whose time has come."""
        self._now = max(self._now, now)
        while self._waiting and self._waiting[0].due_at <= self._now and self._may_retry():
            self._due.append(heapq.heappop(self._waiting))


def _split(queue: Iterable[_Waiting], which: Callable[[WorkItem], bool]) -> tuple[list[_Waiting], list[_Waiting]]:
    kept: list[_Waiting] = []
    gone: list[_Waiting] = []
    for waiting in queue:
        (gone if which(waiting.root) else kept).append(waiting)
    return kept, gone
