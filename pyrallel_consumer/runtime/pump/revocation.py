"""Partitions that are being revoked: wait for running work and dead letters within the grace, then fence.

Until the answer the poll thread waits in its callback, and so does the whole group. So only running work is waited for.
Retries are withdrawn, also those that become due during the wait: the next owner makes them.
"""

from __future__ import annotations

from collections.abc import Callable

from pyrallel_consumer.control_plane.drain import Drain, DrainStep
from pyrallel_consumer.control_plane.events import RevokeAsked
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.execution_plane.engine import ExecutionEngine
from pyrallel_consumer.log import Log
from pyrallel_consumer.runtime.life.cut_off import Noted, names_of
from pyrallel_consumer.runtime.outcomes.exhausted import ExhaustedMessages

logger = Log("pyrallel_consumer")


class Revocation:
    """One question of the poll thread, from its arrival to its answer. First it stops all starts.

    ``coming`` counts the messages that will be done without a worker: their letters and records are on their way.
    ``may_commit`` is False while the outcome of an earlier transaction is unknown: then nothing is committed.
    """

    def __init__(
        self,
        asked: RevokeAsked,
        manager: WorkManager,
        engine: ExecutionEngine,
        exhausted: ExhaustedMessages,
        *,
        deadline: float,
        coming: Callable[[Callable[[WorkItem], bool]], int] | None = None,
        may_commit: Callable[[], bool] = lambda: True,
    ) -> None:
        self._may_commit = may_commit
        self._asked = asked
        self._manager = manager
        self._engine = engine
        self._exhausted = exhausted
        self._coming = coming or exhausted.coming
        self._tps = frozenset(tp for tp, _ in asked.partitions)
        self._drain = Drain(deadline)
        manager.stop_dispatching(self._tps)
        self.withdraw()  # At once: what comes with the question must not be joined to a batch of what waits there.

    @property
    def next_step_at(self) -> float:
        """When ``step`` must be called again at the latest."""
        return self._drain.next_step_at

    @property
    def is_moot(self) -> bool:
        """Whether none of its partitions is assigned any more: the poll thread gave up waiting."""
        return not any(work.tp in self._tps for work in self._manager)

    def withdraw(self) -> None:
        """Withdraw what has not begun; the completions must be handled before ``step``."""
        self._engine.withdraw(self._concerns)

    def step(self, now: float) -> bool:
        """Wait, cancel or answer; returns whether it is over. All completions must have been handled."""
        unfinished = self._engine.running(self._is_waited_for) + self._coming(self._is_waited_for)
        match self._drain.step(unfinished, now):
            case DrainStep.CANCEL:
                self._tell_cut_off()
                self._engine.cancel(self._concerns)
            case DrainStep.DONE:
                self._exhausted.sum_up()
                self._asked.answer(self._manager.end(self._asked.partitions, is_lost=not self._may_commit()))
                return True
            case DrainStep.WAIT:
                pass
        return False

    def _tell_cut_off(self) -> None:
        noted = Noted(self._is_waited_for)
        self._engine.running(noted)
        self._coming(noted)
        logger.warning(
            "%d partitions are revoked, and %d messages did not end within the grace (max_revoke_grace_ms): they are "
            "cancelled, and run again where their partitions go: %s",
            len(self._tps),
            len(noted.items),
            names_of(noted.items),
            extra={"cut_off": len(noted.items)},
        )

    def _concerns(self, item: WorkItem) -> bool:
        return item.origin.work.tp in self._tps

    def _is_waited_for(self, item: WorkItem) -> bool:
        """Whether ``item`` is waited for: not if it is left from an earlier assignment, which already had its grace."""
        return item.origin.work.tp in self._tps and self._manager.is_current(item)
