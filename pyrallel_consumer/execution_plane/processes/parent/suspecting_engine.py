"""The common part of engines whose messages run side by side in a process, or an actor, and die with it.

After a death one of the process's messages may be to blame, but it is unknown which one: see ``suspects``. Each of them
loses an attempt, and none is given up before it has died alone. An engine adds how a message is sent, and where one
runs alone.
"""

from __future__ import annotations

import pickle
import random
from abc import abstractmethod
from collections import deque
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from pyrallel_consumer.dto import packed_item, value_bytes
from pyrallel_consumer.execution_plane.attempts import RetryAt
from pyrallel_consumer.execution_plane.booked_engine import BookedEngine
from pyrallel_consumer.execution_plane.processes.frames import PICKLE_PROTOCOL
from pyrallel_consumer.execution_plane.processes.parent.suspects import Suspects
from pyrallel_consumer.execution_plane.processes.unsendable import unsendable
from pyrallel_consumer.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.attempts import Attempt, Verdict
    from pyrallel_consumer.execution_plane.processes.attempt_trace import AttemptTrace
    from pyrallel_consumer.message import Row

logger = Log("pyrallel_consumer.execution_plane")

MAX_FRAME_BYTES: Final = 256 * 1024


class SuspectingEngine(BookedEngine):
    """``slots`` and ``is_recording`` as in ``BookedEngine``. The engine itself knows when attempts begin.

    ``pack`` makes the row that an item travels as.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        slots: int,
        *,
        trace: AttemptTrace | None = None,
        pack: Callable[..., Row] = packed_item,
        jitter: Callable[[], float] = random.random,
        is_recording: bool = False,
    ) -> None:
        super().__init__(policy, slots, jitter=jitter, is_timing=False, is_recording=is_recording)
        self._max_attempts = policy.max_attempts
        self._trace = trace
        self._pack = pack
        self._bytes_of: Callable[[WorkItem], int] = value_bytes if pack is packed_item else attrgetter("size_bytes")
        self._suspects = Suspects()
        self._queue: deque[Attempt] = deque()
        """Attempts that wait to be sent."""
        self._alone: deque[Attempt] = deque()
        """The attempt of the suspect whose turn it is, until it is sent."""

    # What an engine adds

    @abstractmethod
    def _dispatch_soon(self) -> None:
        """Send waiting attempts in the next turn of the event loop."""

    @abstractmethod
    def _call_suspects(self) -> None:
        """Have the next suspect run alone, unless one does: ``_call_next`` names it."""

    def _queues(self) -> Sequence[deque[Attempt]]:
        """All queues of attempts that wait to be sent."""
        return self._queue, self._alone

    def _queue_of(self, root: WorkItem) -> deque[Attempt]:
        """Where a retry of ``root`` waits to be sent."""
        return self._alone if root is self._suspects.current else self._queue

    # Waiting attempts

    def _start_due(self, now: float) -> None:
        if due := self._attempts.due(now):
            self._put_first(due)

    def _put_first(self, attempts: Sequence[Attempt]) -> None:
        """These attempts have not begun; they go before all others that wait."""
        for attempt in reversed(attempts):
            attempt.started_at = inf
            self._queue_of(attempt.root).appendleft(attempt)
        self._dispatch_soon()

    def _take_back(self, attempts: Sequence[Attempt]) -> None:
        """These attempts were sent and never began: they wait again, unless they were cancelled or withdrawn."""
        waiting = []
        for attempt in attempts:
            if attempt.is_cancelled or attempt.is_withdrawn or self._is_stopped:
                self._give_back(attempt.root)
            else:
                waiting.append(attempt)
        if waiting:
            self._put_first(waiting)

    def _give_back_queued(self, which: Callable[[Attempt], bool]) -> None:
        for queue in self._queues():
            gone = [attempt for attempt in queue if which(attempt)]
            if gone:
                kept = [attempt for attempt in queue if not which(attempt)]
                queue.clear()
                queue.extend(kept)
                for attempt in gone:
                    self._give_back(attempt.root)

    def _frame_of(self, queue: deque[Attempt], most: int) -> tuple[list[Attempt], bytes]:
        """Take up to ``most`` attempts off ``queue``; returns the attempts to send, and their pickled rows."""
        attempts: list[Attempt] = []
        size_bytes, pack, bytes_of = 0, self._pack, self._bytes_of
        while queue and len(attempts) < most and size_bytes < MAX_FRAME_BYTES:
            attempt = queue.popleft()
            size_bytes += bytes_of(attempt.item)
            attempts.append(attempt)
        try:
            if (trace := self._trace) is None:
                rows = [pack(attempt.item) for attempt in attempts]
            else:
                rows = [pack(attempt.item, trace.earlier(attempt.item)) for attempt in attempts]
            return attempts, pickle.dumps(rows, PICKLE_PROTOCOL)
        except Exception as error:  # noqa: BLE001 -- a message of a third party's may hold anything
            logger.debug("a frame cannot be pickled: %s", error)
            self._fail_unpicklable(attempts)
            return [], b""

    def _fail_unpicklable(self, attempts: list[Attempt]) -> None:
        """Find out whose fault it is; the others are sent in another frame."""
        failures = [(attempt, unsendable(attempt.item, self._pack)) for attempt in attempts]
        self._put_first([attempt for attempt, failure in failures if failure is None])
        for attempt, failure in failures:
            if failure is not None:
                self._end(attempt.root, failure)

    # How attempts end

    def _end_all_ok(self, ended: Sequence[Attempt]) -> None:
        """The workers of these attempts returned."""
        self._attempts.all_ended_ok(ended, self._now())
        roots = [attempt.root for attempt in ended]
        if self._suspects:
            for root in roots:
                self._suspects.cleared(root)
            self._call_suspects()
        self._channel.successes += roots
        self._channel.notify()

    def _end_by_death(self, victim: Attempt, error: BaseException, *, was_alone: bool) -> None:
        """The attempt may have run when its process died, alone or with others."""
        root, now = victim.root, self._now()
        if victim.is_cancelled:
            self._end(root, error)
            return
        is_held = self._suspects.was_present(root, self._max_attempts - victim.number)
        verdict = self._attempts.ended_by_death(root, error, now, may_give_up=was_alone, is_held=is_held)
        self._channel.returned.pop(root, None)  # The process had reported the worker's result, and not yet the end.
        if isinstance(verdict, RetryAt):
            self.attempt_log.failed(root, verdict, now)
        super()._report(root, verdict)
        if not isinstance(verdict, RetryAt):
            self._clear(root)

    def _report(self, root: WorkItem, verdict: Verdict | None) -> None:
        super()._report(root, verdict)
        if self._suspects:
            self._clear(root)

    def _clear(self, root: WorkItem) -> None:
        self._suspects.cleared(root)
        self._call_suspects()

    def _call_next(self) -> bool:
        """Let the next suspect's retry start when its time comes, if no other's turn lasts; returns whether so."""
        root = self._suspects.next()
        if root is None:
            return False
        self._attempts.release(root)
        self._channel.notify()  # The next sweep may be nearer.
        return True
