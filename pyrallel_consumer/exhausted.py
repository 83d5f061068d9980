"""What becomes of messages whose last attempt failed: dead letter, skip, stop, or a paused partition; never silence.

The work manager decides and keeps the books; here it is carried out and told to the user, once per burst of one kind,
with the traceback of the first: what fails thousands of times a second must not fill a disk.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Final, Protocol

from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import OnExhausted, WorkItem
from pyrallel_consumer.errors import MessageExhaustedError
from pyrallel_consumer.execution_plane.engine import Failed

logger = logging.getLogger("pyrallel_consumer.exhausted")

BURST_SECONDS: Final = 10.0
"""Failures of one kind within so long are told together."""
LONGEST_ERROR_SHOWN: Final = 300

_NO_DEAD_LETTERS: Final = (
    "it is held, for this version does not produce dead letters yet: its offset stays uncommitted, its key waits, and "
    "it runs again after a restart; choose ExecutionConfig.on_exhausted = skip, stop or pause_partition"
)
_OUTCOMES: Final = {
    OnExhausted.SKIP: "it is skipped and its offset counts as done (on_exhausted is skip)",
    OnExhausted.PAUSE_PARTITION: (
        "its partition fetches no more (on_exhausted is pause_partition): mend the cause, then call "
        "resume_partition(), which runs it again"
    ),
}


class DeadLetters(Protocol):
    """Where exhausted messages go; ``settle`` of the work manager follows each acknowledgement."""

    def send(self, item: WorkItem, error: BaseException, attempt: int) -> None: ...


class ExhaustedMessages:
    """Carries out ``on_exhausted``. ``fail`` is called with the error that ends the consumer where it is ``stop``."""

    def __init__(self, manager: WorkManager, fail: Callable[[BaseException], None], clock: Callable[[], float]) -> None:
        self.dead_letters: DeadLetters | None = None
        self._manager = manager
        self._fail = fail
        self._clock = clock
        self._told_at: dict[tuple[OnExhausted, type], float] = {}
        self._untold: dict[tuple[OnExhausted, type], int] = {}

    def take(self, failed: Failed) -> None:
        """The last attempt of a message failed."""
        outcome = self._manager.exhaust(failed.item)
        if outcome is None:
            return
        if outcome is OnExhausted.STOP:
            message = (
                f"{_what(failed)}; on_exhausted is stop, so the consumer stops: the offset stays uncommitted, and the "
                "message runs again after a restart"
            )
            error = MessageExhaustedError(message)
            error.__cause__ = failed.error
            self._fail(error)
        elif outcome is OnExhausted.DLQ and self.dead_letters is not None:
            self.dead_letters.send(failed.item, failed.error, failed.attempt)
        else:
            self._tell(failed, outcome)

    def _tell(self, failed: Failed, outcome: OnExhausted) -> None:
        kind = (outcome, type(failed.error))
        now = self._clock()
        if now - self._told_at.get(kind, float("-inf")) < BURST_SECONDS:
            self._untold[kind] = self._untold.get(kind, 0) + 1
            return
        self._told_at[kind] = now
        more = self._untold.pop(kind, 0)
        item, error = failed.item, failed.error
        logger.error(
            "%s; %s%s\n%s",
            _what(failed),
            _OUTCOMES.get(outcome, _NO_DEAD_LETTERS),
            f" (and {more} more like it since this was last told)" if more else "",
            "".join(traceback.format_exception(error)).rstrip(),
            extra={"topic": item.topic, "partition": item.partition, "offset": item.offset, "epoch": item.epoch},
        )


def _what(failed: Failed) -> str:
    return f"{failed.item.id} failed its last attempt, number {failed.attempt}: {_shown(failed.error)}"


def _shown(error: BaseException) -> str:
    """Type and text of a worker's error; its ``__str__`` is the user's code and may fail, too."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 -- the user's code, at the edge where it is looked at
        text = "(its text cannot be had)"
    if len(text) > LONGEST_ERROR_SHOWN:
        text = text[:LONGEST_ERROR_SHOWN] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
