"""Logs failed attempts that are followed by another one: the first of each kind of error, at WARNING.

Thousands of failures a second must not fill a disk, and a failure must not stay unseen until the last attempt.
Belongs to the engine's loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pyrallel_consumer.dto import place_of
from pyrallel_consumer.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.error_text import ErrorText
    from pyrallel_consumer.execution_plane.attempts import Attempt, RetryAt

logger = Log("pyrallel_consumer.execution_plane")

FIRST_TOLD: Final = 3
"""How many failures of one kind are logged within an interval."""
INTERVAL_SECONDS: Final = 60.0
MOST_KINDS: Final = 1000
"""How many kinds are remembered; beyond that number all counters start again."""
LONGEST_ERROR_SHOWN: Final = 300


class _Kind:
    __slots__ = ("began_at", "left_out", "told")

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.told = 0
        self.left_out = 0


class AttemptLog:
    """The logged failures of each kind of error. Times are the engine's."""

    def __init__(self, errors: ErrorText) -> None:
        self.heard: Callable[[WorkItem, RetryAt], None] = _unheard
        """Told of every failure that another attempt follows."""
        self._errors = errors
        self._kinds: dict[type, _Kind] = {}

    def failed(self, root: WorkItem, retry: RetryAt, now: float) -> None:
        """An attempt failed, and another one follows. An attempt that does not count is not logged."""
        self.heard(root, retry)
        error = retry.error
        if error is None or not retry.is_charged:
            return
        left_out = self._left_out(type(error), now)
        if left_out is not None:
            logger.warning(
                "attempt %d of %s failed with %s; the next one follows in %.1f s%s",
                retry.attempt,
                root.id,
                self._errors.reason(error, LONGEST_ERROR_SHOWN),
                retry.due_at - now,
                _more(left_out),
                extra=place_of(root),
            )

    def searched(self, batch: WorkItem, size: int, error: BaseException, now: float) -> None:
        """A batch failed as a whole, and the message at fault is searched."""
        left_out = self._left_out(type(error), now)
        if left_out is not None:
            logger.warning(
                "a batch of %d messages (%s) failed with %s: it is tried again by halves to find the message at fault, "
                "and none of the others is charged%s",
                size,
                batch.id,
                self._errors.reason(error, LONGEST_ERROR_SHOWN),
                _more(left_out),
                extra=place_of(batch),
            )

    def overdue(self, attempt: Attempt, timeout_ms: int, now: float) -> None:
        """An attempt passed its timeout and cannot be stopped."""
        left_out = self._left_out(TimeoutError, now)
        if left_out is not None:
            logger.warning(
                "attempt %d of %s runs longer than task_timeout_ms (%d ms) in a thread, which cannot be stopped: it "
                "keeps its thread and its key until it returns%s",
                attempt.number,
                attempt.root.id,
                timeout_ms,
                _more(left_out),
                extra=place_of(attempt.root),
            )

    def _left_out(self, kind: type, now: float) -> int | None:
        """How many of the kind were left out since the last logged one; None if this one is left out too."""
        seen = self._kinds.get(kind)
        if seen is None or now >= seen.began_at + INTERVAL_SECONDS:
            if len(self._kinds) >= MOST_KINDS:
                self._kinds.clear()
            left_out = 0 if seen is None else seen.left_out
            seen = self._kinds[kind] = _Kind(now)
            seen.told = 1
            return left_out
        if seen.told < FIRST_TOLD:
            seen.told += 1
            return 0
        seen.left_out += 1
        return None


def _more(left_out: int) -> str:
    return f" (and {left_out} more like it since this was last told)" if left_out else ""


def _unheard(_: WorkItem, __: RetryAt) -> None:
    pass
