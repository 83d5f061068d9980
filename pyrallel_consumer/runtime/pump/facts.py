"""What follows from each fact that the poll thread and the producers tell the loop: assignments, answers, ends.

A revocation begins here and lasts until its answer: see ``revocation``. The work manager decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.events import (
    Assigned,
    CommitAnswered,
    CoordinatorSilent,
    LetterProducerFailed,
    LettersAnswered,
    Lost,
    OffsetWentBack,
    PollerClosed,
    PollerFailed,
    PollThreadFroze,
    PositionAdvanced,
    RecordsAnswered,
    RevokeAsked,
    TransactionAnswered,
)
from pyrallel_consumer.control_plane.offsets.commit_sequence import FATAL, CommitSequence
from pyrallel_consumer.errors import BrokerError
from pyrallel_consumer.runtime.pump.revocation import Revocation

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.control_plane.work_manager import WorkManager
    from pyrallel_consumer.execution_plane.engine import ExecutionEngine
    from pyrallel_consumer.runtime.outcomes.outstanding import Outstanding
    from pyrallel_consumer.runtime.pump.start_lease import StartLease


class Facts:
    """Takes facts, on the loop. ``fail`` is called with the error that ends the consumer.

    ``revocation`` is the revocation that waits for running work, None if there is none.
    """

    def __init__(
        self,
        manager: WorkManager,
        commits: CommitSequence,
        engine: ExecutionEngine,
        lease: StartLease,
        outstanding: Outstanding,
        *,
        fail: Callable[[BaseException], None],
        clock: Callable[[], float],
        revoke_grace_seconds: float,
    ) -> None:
        self._manager = manager
        self._commits = commits
        self._engine = engine
        self._lease = lease
        self._outstanding = outstanding
        self._fail = fail
        self._clock = clock
        self._revoke_grace_seconds = revoke_grace_seconds
        self.has_poller_ended = False
        self.revocation: Revocation | None = None

    def take(self, fact: object) -> None:
        """Any fact but ``Delivered``. Raises TypeError if it is unknown."""
        manager = self._manager
        match fact:
            case Assigned():
                manager.assign(fact)
            case CommitAnswered():  # TransactionAnswered, too
                self._take_answer(fact)
            case PositionAdvanced():
                manager.advance(fact)
            case PollThreadFroze() | CoordinatorSilent():
                self._lease.doubt(fact)
            case RevokeAsked():
                self._begin_revocation(fact)
            case Lost() | OffsetWentBack():
                self._take_loss(fact)
            case LettersAnswered() | RecordsAnswered():
                self._outstanding.take_answers(fact)
            case PollerFailed(error) | LetterProducerFailed(error):
                self.has_poller_ended |= type(fact) is PollerFailed
                self._fail(error)
            case PollerClosed():
                self.has_poller_ended = True
            case _:
                msg = f"unknown fact {fact!r}"
                raise TypeError(msg)

    def _take_loss(self, fact: Lost | OffsetWentBack) -> None:
        manager = self._manager
        if isinstance(fact, Lost):
            manager.end([(fact.tp, fact.epoch)], is_lost=True)
        else:
            manager.go_back(fact)
        self._forget_ended()
        self._engine.cancel(lambda item: not manager.is_current(item))

    def _take_answer(self, answered: CommitAnswered) -> None:
        self._lease.answered(answered)
        errors = self._commits.answer(answered)
        on_outcome = self._outstanding.on_outcome
        if on_outcome is not None and isinstance(answered, TransactionAnswered):
            on_outcome(answered)
        for tp, code in errors.items():
            if code in FATAL:
                message = (
                    f"the broker fenced this consumer off while it committed {tp}: another has its group.instance.id"
                )
                self._fail(BrokerError(message, code=code))
                return

    def _begin_revocation(self, asked: RevokeAsked) -> None:
        deadline = self._clock() + self._revoke_grace_seconds
        self.revocation = Revocation(
            asked,
            self._manager,
            self._engine,
            self._outstanding.exhausted,
            deadline=deadline,
            coming=self._outstanding.coming,
            may_commit=lambda: self._outstanding.on_outcome is None or not self._commits.is_under_way,
        )

    def step_revocation(self) -> None:
        """Go on with the revocation, if there is one. All completions must have been handled."""
        if self.revocation is not None and self.revocation.step(self._clock()):
            self.revocation = None
            self._outstanding.forget_ended()

    def _forget_ended(self) -> None:
        """Withdraw retries of ended assignments, and drop a revocation that the poll thread gave up."""
        is_current = self._manager.is_current
        self._engine.withdraw(lambda item: not is_current(item))
        self._outstanding.forget_ended()
        if self.revocation is not None and self.revocation.is_moot:
            self.revocation = None
