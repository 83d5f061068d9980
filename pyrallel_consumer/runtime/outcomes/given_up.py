"""Logs every message that is given up. Of very many at once, those beyond a limit are logged together by their offsets.

Up to ``MOST_LINES`` messages of an interval have a line each, the first of each kind of error with its traceback. When
there are more, the log says so at once, and the others are summed up. That happens before a commit completes their
offsets, so that no name is lost with the process.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final

from pyrallel_consumer.dto import OnExhausted, TopicPartition, WorkItem, place_of
from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.log import Log

logger = Log("pyrallel_consumer.exhausted")

INTERVAL_SECONDS: Final = 10.0
MOST_LINES: Final = 1000
"""Lines per interval: some hundred KB."""
MOST_RANGES: Final = 100
"""Ranges of offsets in one summary line."""
LONGEST_ERROR_SHOWN: Final = 300

_OUTCOMES: Final = {
    OnExhausted.DLQ: "it goes to the dead-letter topic, and its offset counts as done once it is there",
    OnExhausted.SKIP: "it is skipped and its offset counts as done (on_exhausted is skip)",
    OnExhausted.PAUSE_PARTITION: (
        "its partition fetches no more (on_exhausted is pause_partition): fix the cause, then call "
        "resume_partition(), which runs it again"
    ),
}
_OUTCOMES_OF_MANY: Final = {
    OnExhausted.DLQ: "they go to the dead-letter topic",
    OnExhausted.SKIP: "they are skipped (on_exhausted is skip)",
    OnExhausted.PAUSE_PARTITION: "their partition fetches no more (on_exhausted is pause_partition)",
}


class GivenUp:
    """The lines of this interval, and the messages still to be summed up. Belongs to the loop."""

    def __init__(self, errors: ErrorText) -> None:
        self._errors = errors
        self._began_at = float("-inf")
        self._lines = 0
        self._shown: set[type] = set()
        self._untold: dict[tuple[OnExhausted, TopicPartition], list[int]] = {}
        self._last_error = ""

    def tell(self, item: WorkItem, error: BaseException, attempt: int, outcome: OnExhausted, now: float) -> None:
        """``item`` failed its last attempt, number ``attempt``; 0 if it was not tried."""
        if now >= self._began_at + INTERVAL_SECONDS:
            self.sum_up()
            self._began_at = now
            self._lines = 0
            self._shown.clear()
        reason = self._errors.reason(error, LONGEST_ERROR_SHOWN)
        self._lines += 1
        if self._lines > MOST_LINES:
            self._leave_for_the_sum(item, outcome, reason)
            return
        is_new = attempt > 0 and type(error) not in self._shown
        self._shown.add(type(error))
        logger.error(
            "%s; %s%s",
            failed_last(item, attempt, reason),
            _OUTCOMES[outcome],
            f"\n{self._errors.trace(error)}" if is_new else "",
            extra=place_of(item),
        )

    def look(self, now: float) -> None:
        """Sum up at the end of the interval, if no commit came before."""
        if self._untold and now >= self._began_at + INTERVAL_SECONDS:
            self.sum_up()

    def sum_up(self) -> None:
        """Log all messages that had no line of their own yet."""
        untold, self._untold = self._untold, {}
        for (outcome, tp), offsets in untold.items():
            ranges = _ranges(sorted(offsets))
            for first in range(0, len(ranges), MOST_RANGES):
                part = ranges[first : first + MOST_RANGES]
                logger.error(
                    "%d more messages of %s failed their last attempt, one of the latest with %s; %s: offsets %s",
                    sum(last - first + 1 for first, last in part),
                    tp,
                    self._last_error,
                    _OUTCOMES_OF_MANY[outcome],
                    ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in part),
                    extra={"topic": tp.topic, "partition": tp.partition},
                )

    def _leave_for_the_sum(self, item: WorkItem, outcome: OnExhausted, reason: str) -> None:
        if self._lines == MOST_LINES + 1:
            logger.error(
                "more than %d messages failed their last attempt within %.0f s: until that time is over, further ones "
                "are named together, by their offsets",
                MOST_LINES,
                INTERVAL_SECONDS,
            )
        self._last_error = reason
        self._untold.setdefault((outcome, item.tp), []).append(item.offset)


def failed_last(item: WorkItem, attempt: int, reason: str) -> str:
    """The first half of a sentence: which message failed, and why."""
    if attempt == 0:
        return f"{item.id} is not tried: {reason}"
    return f"{item.id} failed its last attempt, number {attempt}: {reason}"


def _ranges(offsets: list[int]) -> list[tuple[int, int]]:
    """Runs of consecutive numbers as (first, last)."""
    runs = (list(run) for _, run in groupby(enumerate(offsets), lambda numbered: numbered[1] - numbered[0]))
    return [(run[0][1], run[-1][1]) for run in runs]
