"""Messages with a record that the broker refused permanently: they failed, as if their worker had raised.

Each runs again after the usual wait, behind the messages that its key has started meanwhile. After its last attempt it
is dead-lettered or skipped, as ``on_exhausted`` says. An offset never completes while one of its records is dropped.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from pyrallel_consumer.control_plane.output.unwritten import Unwritten
from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import WorkItem, place_of
from pyrallel_consumer.errors import RecordRefusedError
from pyrallel_consumer.execution_plane.engine import Failed
from pyrallel_consumer.execution_plane.retry import next_wait
from pyrallel_consumer.log import Log
from pyrallel_consumer.runtime.outcomes.exhausted import ExhaustedMessages

logger = Log("pyrallel_consumer.output")


class RefusedRecords:
    """``count`` only grows. ``jitter`` is a number in [0, 1)."""

    def __init__(
        self,
        manager: WorkManager,
        exhausted: ExhaustedMessages,
        retry: RetryPolicy,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.count = 0
        self._manager = manager
        self._exhausted = exhausted
        self._retry = retry
        self._jitter = jitter
        self._waiting: list[tuple[float, int, Unwritten]] = []

    @property
    def next_at(self) -> float | None:
        """When ``run_again`` must be called."""
        return self._waiting[0][0] if self._waiting else None

    def take(self, owner: Unwritten, topic: str, code: str, said: str, now: float) -> None:
        """A record of ``owner`` for ``topic`` was refused, with this error."""
        self.count += 1
        error = RecordRefusedError(f"the record for {topic} was refused: {said} ({code})", code=code)
        wait = next_wait(self._retry, owner.attempt, error, self._jitter())
        if wait is not None:
            logger.warning(
                "attempt %d of %s failed: %s; it runs again in %.0f ms",
                owner.attempt,
                owner.item.id,
                error,
                wait.milliseconds,
                extra={**place_of(owner.item), "code": code},
            )
            heapq.heappush(self._waiting, (now + wait.milliseconds / 1000, self.count, owner))
            return
        again = self._manager.outbox.take_back(owner.item, owner.attempt)
        if again is not None:
            self._exhausted.take(Failed(again, error, owner.attempt), is_timed=False)

    def run_again(self, now: float) -> None:
        """Run the messages again whose wait is over."""
        while self._waiting and self._waiting[0][0] <= now:
            owner = heapq.heappop(self._waiting)[2]
            again = self._manager.outbox.take_back(owner.item, owner.attempt + 1)
            if again is not None:
                self._manager.cancel(again)

    def is_waiting(self, item: WorkItem) -> bool:
        """Whether the message waits for its next attempt."""
        return any(owner.item is item for _, _, owner in self._waiting)

    def forget_ended(self) -> None:
        """Assignments have ended."""
        self._waiting = [each for each in self._waiting if self._manager.is_current(each[2].item)]
        heapq.heapify(self._waiting)
