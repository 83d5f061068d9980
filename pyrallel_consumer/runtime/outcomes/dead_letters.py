"""The loop's side of dead letters: sends them, takes the broker's answers, completes offsets, and logs.

``LetterQueue`` decides, and the producer has its own thread. A message counts as done only after its letter's
acknowledgement; an answer for a message whose assignment has ended changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from pyrallel_consumer.control_plane.events import LetterAnswer
from pyrallel_consumer.control_plane.failures.error_trace import error_trace
from pyrallel_consumer.control_plane.failures.letter import Letter, LetterForm
from pyrallel_consumer.control_plane.failures.letter_queue import LetterNotice, LetterPolicy, LetterQueue, NoticeKind
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import DlqPayloadMode, Headers, WorkItem
from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.log import Log

logger = Log("pyrallel_consumer.dead_letters")

_FAILS: Final = (
    "dead letters cannot be produced to %s: %s (%s)%s; %d messages keep their offsets uncommitted and their keys "
    "waiting; it is tried again until it works"
)
_REFUSES: Final = "a dead letter is refused by %s: %s (%s)%s; it is tried again, the others go on (%d wait)"
_SHRINKS: Final = (
    "a dead letter is refused by %s: %s (%s)%s; it is sent with less of its message, or with a key that is added, and "
    "says so in the headers x-payload-omitted, x-headers-omitted and x-key-added (%d wait)"
)
_SENTENCES: Final = {
    NoticeKind.FAILS: (logging.ERROR, _FAILS),
    NoticeKind.REFUSES: (logging.ERROR, _REFUSES),
    NoticeKind.SHRINKS: (logging.WARNING, _SHRINKS),
}


class LetterProducer(Protocol):
    """Produces letters, and returns ``LettersAnswered`` through the loop's inbox; no method waits."""

    def produce(self, letters: Sequence[Letter]) -> None: ...


class DeadLetters:
    """Dead letters of one consumer, to ``<topic><suffix>``. ``clock`` is the loop's.

    ``trace_headers`` returns the headers with which a letter continues its message's trace. Letters name ``group`` and
    the time of the failure, by ``wall_clock`` in seconds since 1970.
    """

    def __init__(
        self,
        manager: WorkManager,
        producer: LetterProducer,
        *,
        suffix: str,
        payload_mode: DlqPayloadMode,
        clock: Callable[[], float],
        policy: LetterPolicy | None = None,
        trace_headers: Callable[[WorkItem], Headers] | None = None,
        group: str = "",
        errors: ErrorText | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.queue = LetterQueue(policy)
        self._manager = manager
        self._producer = producer
        self._suffix = suffix
        self._form = LetterForm.FULL if payload_mode is DlqPayloadMode.FULL else LetterForm.METADATA_ONLY
        self._clock = clock
        self._trace_headers = trace_headers
        self._group = group
        self._errors = errors or ErrorText()
        self._wall_clock = wall_clock

    def __len__(self) -> int:
        """Letters that are not acknowledged."""
        return len(self.queue)

    @property
    def next_at(self) -> float | None:
        """When ``pump`` must be called at the latest, None if that depends on answers only."""
        return self.queue.next_at

    def send(self, item: WorkItem, error: BaseException, attempt: int) -> None:
        """A held message failed permanently in this attempt, 0 if it was not tried: send its letter."""
        letter = Letter(
            item,
            f"{item.topic}{self._suffix}",
            self._errors.reason(error),
            attempt,
            self._form,
            trace=None if self._trace_headers is None else self._trace_headers(item),
            group=self._group,
            failed_at_ms=int(self._wall_clock() * 1000),
            traceback=error_trace(error),
        )
        self.queue.add(letter)

    def pump(self) -> None:
        """Produce the letters that are due."""
        letters = self.queue.take(self._clock(), self._manager.is_current)
        if letters:
            self._producer.produce(letters)

    def take_answers(self, answers: Sequence[LetterAnswer]) -> None:
        """The broker's answers for sent letters."""
        now = self._clock()
        for letter, code, said in answers:
            if code is None:
                self.queue.acknowledged(letter)
                self._manager.settle(letter.item)
            else:
                self.queue.failed(letter, code, said, now, is_wanted=self._manager.is_current(letter.item))
        for notice in self.queue.take_notices():
            _tell(notice)

    def drop_ended(self) -> None:
        """Assignments have ended: the next owner sends their unsent letters."""
        self.queue.drop_ended(self._manager.is_current)


def _tell(notice: LetterNotice) -> None:
    extra = {"topic": notice.topic, "code": notice.code}
    if notice.kind is NoticeKind.RECOVERED:
        logger.info("dead letters go to %s again; %d wait", notice.topic, notice.waiting, extra=extra)
        return
    level, sentence = _SENTENCES[notice.kind]
    more = f", {notice.more} more times since this was last told" if notice.more else ""
    logger.log(level, sentence, notice.topic, notice.said, notice.code, more, notice.waiting, extra=extra)
