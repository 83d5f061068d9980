"""Messages whose last attempt failed: dead letter, skip, stop, or a paused partition, and always a log line.

The work manager decides and keeps the state; this module carries the decision out and logs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pyrallel_consumer.control_plane.events import LetterAnswer
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import OnExhausted, WorkItem, place_of
from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.errors import DecodeError, MessageExhaustedError, PoisonKeyError
from pyrallel_consumer.execution_plane.engine import Failed
from pyrallel_consumer.foreign_errors import is_a
from pyrallel_consumer.log import Log
from pyrallel_consumer.runtime.outcomes.dead_letters import DeadLetters
from pyrallel_consumer.runtime.outcomes.given_up import LONGEST_ERROR_SHOWN, GivenUp, failed_last

logger = Log("pyrallel_consumer.exhausted")

REMIND_SECONDS: Final = 60.0
"""How often the log says that the circuit is open."""

_POISONED: Final = "several messages of its key in a row failed their last attempt"


class ExhaustedMessages:
    """Carries out ``on_exhausted``. For ``stop``, ``fail`` is called with the error that ends the consumer."""

    def __init__(
        self,
        manager: WorkManager,
        fail: Callable[[BaseException], None],
        clock: Callable[[], float],
        errors: ErrorText,
    ) -> None:
        self.dead_letters: DeadLetters | None = None
        self.heard: Callable[[Failed], None] = _unheard
        """Called for each message whose last attempt failed, before any action."""
        self.given_up: Callable[[Failed], None] = _unheard
        """Called for each message that is given up, before any action; attempt 0 if it was not tried."""
        self._manager = manager
        self._fail = fail
        self._errors = errors
        self._clock = clock
        self._last_error = ""
        self._circuit_told_at = 0.0
        self._given_up = GivenUp(errors)

    def take(self, failed: Failed, *, is_timed: bool = True) -> None:
        """The last attempt of a message failed. Not ``is_timed``: its duration was counted when its worker returned."""
        self._last_error = self._errors.reason(failed.error, LONGEST_ERROR_SHOWN)
        self.heard(failed)
        manager = self._manager
        now = self._clock() if is_timed and manager.policy.is_timed else None
        outcome = manager.exhaust(failed.item, now, is_hopeless=is_a(failed.error, DecodeError))
        if outcome is None:
            return
        self.given_up(failed)
        if outcome is OnExhausted.STOP:
            message = (
                f"{failed_last(failed.item, failed.attempt, self._last_error)}; on_exhausted is stop, so the consumer "
                "stops: the offset stays uncommitted, and the message runs again after a restart"
            )
            error = MessageExhaustedError(message, place_of(failed.item))
            if self._errors.is_shown:
                error.__cause__ = failed.error
            self._fail(error)
            return
        if outcome is OnExhausted.DLQ and self.dead_letters is not None:
            self.dead_letters.send(failed.item, failed.error, failed.attempt)
        self._given_up.tell(failed.item, failed.error, failed.attempt, outcome, self._clock())

    def take_condemned(self) -> None:
        """Dead-letter messages of poisoned keys untried."""
        for item in self._manager.take_condemned():
            error = PoisonKeyError(_POISONED)
            self.given_up(Failed(item, error, 0))
            if self.dead_letters is not None:
                self.dead_letters.send(item, error, 0)
            self._given_up.tell(item, error, 0, OnExhausted.DLQ, self._clock())

    def sum_up(self) -> None:
        """Log given-up messages that had no line of their own: before they are committed, and at the end."""
        self._given_up.sum_up()

    def tell(self, now: float) -> None:
        """A tick: log that the circuit opened or closed, now and then that it is still open, and summaries."""
        self._given_up.look(now)
        circuit = self._manager.circuit
        for change in circuit.take_changes():
            self._circuit_told_at = now
            if change.is_open:
                logger.error(
                    "the circuit is open: %d of the last %d messages failed permanently, the latest of them with %s. "
                    "Nothing more is read and started but a probe now and then, and nothing is dead-lettered or "
                    "skipped, until a probe succeeds",
                    change.failures,
                    change.outcomes,
                    self._last_error,
                )
            else:
                logger.warning(
                    "the circuit is closed after %.1f s and %d failed probes: consuming goes on",
                    change.open_seconds,
                    change.failed_probes,
                )
        if circuit.is_open and now - self._circuit_told_at >= REMIND_SECONDS:
            self._circuit_told_at = now
            logger.error(
                "the circuit still is open: %d probes failed, the latest with %s",
                circuit.failed_probes,
                self._last_error,
            )

    @property
    def next_at(self) -> float | None:
        """When ``pump`` must be called at the latest, None if that depends on answers only."""
        return None if self.dead_letters is None else self.dead_letters.next_at

    def pump(self) -> None:
        """Send the dead letters that are due."""
        if self.dead_letters:
            self.dead_letters.pump()

    def coming(self, which: Callable[[WorkItem], bool]) -> int:
        """How many dead letters of these items will probably be acknowledged soon."""
        return 0 if self.dead_letters is None else self.dead_letters.queue.coming(which)

    def take_answers(self, answers: Sequence[LetterAnswer]) -> None:
        """The broker's answers for dead letters."""
        if self.dead_letters is not None:
            self.dead_letters.take_answers(answers)

    def forget_ended(self) -> None:
        """Assignments have ended."""
        if self.dead_letters:
            self.dead_letters.drop_ended()


def _unheard(_: Failed) -> None:
    pass
