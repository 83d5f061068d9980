"""The loop's side of records, exactly once: records wait for the transaction that commits their message's offset.

The work manager decides what goes into which transaction, and ``CommitSequence`` when one is sent. This module passes
records and letters to them, and carries out the outcome of a transaction: messages with refused records fail, letters
are answered, and everything else is written again by the next transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pyrallel_consumer.control_plane.events import LetterAnswer, RecordAnswer, Refusal, TransactionAnswered
from pyrallel_consumer.control_plane.failures.letter import Letter
from pyrallel_consumer.control_plane.output.record_queue import RECORDS_OWN, TOPICS_OWN
from pyrallel_consumer.control_plane.output.refusal_search import RefusalSearch
from pyrallel_consumer.control_plane.output.unwritten import Unwritten
from pyrallel_consumer.control_plane.policies import OutputLimits
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.log import Log
from pyrallel_consumer.record import RECORD_OVERHEAD_BYTES, Delivery, OutputFigures, Records, size_bytes
from pyrallel_consumer.runtime.outcomes.refused_records import RefusedRecords

logger = Log("pyrallel_consumer.output")

NOT_SENT: Final = "_PURGE_QUEUE"
"""The answer for letters that were in a transaction with a refused record: they were not the reason."""

NOTHING: Final[tuple[int, Records]] = (1, ())


class TransactionOutput:
    """Records and letters of one consumer. ``is_transacting`` returns whether a transaction is under way.

    ``committed``, ``aborted``, ``written`` and ``rewritten`` (records) only grow. ``take_letter_answers`` gets the
    answers for letters, ``open_since`` says when the open transaction began.
    """

    def __init__(
        self,
        manager: WorkManager,
        returned: dict[WorkItem, tuple[int, Records]],
        refused: RefusedRecords,
        *,
        limits: OutputLimits,
        clock: Callable[[], float],
        is_transacting: Callable[[], bool],
    ) -> None:
        self.refused = refused
        self.committed = 0
        self.aborted = 0
        self.written = 0
        self.rewritten = 0
        self.open_since: Callable[[], float | None] = lambda: None
        self.take_letter_answers: Callable[[Sequence[LetterAnswer]], None] = lambda _: None
        self._manager = manager
        self._returned = returned
        self._limits = limits
        self._clock = clock
        self._is_transacting = is_transacting
        self._search = RefusalSearch()
        self._unwritten: dict[WorkItem, Unwritten] = {}
        self._records = 0
        self._bytes = 0

    @property
    def waiting_records(self) -> int:
        """Records that are in no committed transaction."""
        return self._records

    def figures(self, now: float) -> OutputFigures:
        """The figures for operators."""
        open_since = self.open_since()
        return OutputFigures(
            Delivery.EXACTLY_ONCE,
            written=self.written,
            waiting=self._records,
            refused=self.refused.count,
            transactions=self.committed,
            aborts=self.aborted,
            rewritten=self.rewritten,
            open_seconds=0.0 if open_since is None else max(0.0, now - open_since),
        )

    @property
    def is_full(self) -> bool:
        """Whether no message may start before some of the waiting records are committed."""
        most = max(self._records, len(self._unwritten))
        return most >= self._limits.max_records or self._bytes >= self._limits.max_bytes

    @property
    def next_at(self) -> float | None:
        """When ``pump`` has something to do."""
        return self.refused.next_at

    def succeed(self, items: Sequence[WorkItem], now: float | None = None) -> None:
        """The workers of these items returned: all of them wait for a transaction, with records or without."""
        pop = self._returned.pop
        unwritten = []
        for item in items:
            attempt, records = pop(item, NOTHING)
            held_bytes = RECORD_OVERHEAD_BYTES + len(item.message) + (size_bytes(records) if records else 0)
            unwritten.append(Unwritten(item, records, attempt, size_bytes=held_bytes))
        for each in self._manager.outbox.await_writing(unwritten, now):
            self._unwritten[each.item] = each
            self._records += len(each.records)
            self._bytes += each.size_bytes

    def produce(self, letters: Sequence[Letter]) -> None:
        """These letters go with the next transaction; each one is answered, as by a producer of letters."""
        ended = [
            LetterAnswer(letter, NOT_SENT, "its assignment has ended")
            for letter in letters
            if not self._manager.outbox.write_letter(Unwritten(letter.item, (), letter.attempt, letter=letter))
        ]
        if ended:
            self.take_letter_answers(ended)

    def pump(self) -> None:
        """Run refused messages again whose wait is over."""
        self.refused.run_again(self._clock())

    def take_answers(self, answers: Sequence[RecordAnswer]) -> None:
        """Never called: a transaction has no answers for single records."""

    def take_outcome(self, answered: TransactionAnswered) -> None:
        """A transaction ended, and the work manager has been told which snapshots were committed."""
        for snapshot in answered.snapshots:
            if answered.errors.get(snapshot.tp, NOT_SENT) is None:
                for entry in snapshot.entries:
                    self._forget(entry)
                    self.written += len(entry.records)
        if any(answered.errors.values()):
            self.aborted += 1
            self.rewritten += sum(
                len(entry.records)
                for snapshot in answered.snapshots
                if answered.errors.get(snapshot.tp) is not None
                for entry in snapshot.entries
            )
            self._take_refusals(answered)
        elif answered.errors:
            self.committed += 1
            self._search.committed()
        self._manager.outbox.most_written = self._search.most_written
        letters = [entry.letter for entry in self._manager.outbox.take_written_letters()]
        if letters:
            self.take_letter_answers([LetterAnswer(letter, None, "") for letter in letters if letter is not None])

    def coming(self, which: Callable[[WorkItem], bool]) -> int:
        """How many of these messages may be in the transaction under way; at least one while there is one."""
        return max(1, sum(1 for item in self._unwritten if which(item))) if self._is_transacting() else 0

    def items(self) -> list[WorkItem]:
        """The messages whose records are in no committed transaction."""
        return list(self._unwritten)

    def forget_ended(self) -> None:
        """Assignments have ended: the next owner makes their unwritten records again."""
        is_current = self._manager.is_current
        for each in [each for item, each in self._unwritten.items() if not is_current(item)]:
            self._forget(each)
        self.refused.forget_ended()

    # Inside

    def _forget(self, entry: Unwritten) -> None:
        if self._unwritten.get(entry.item) is entry:
            del self._unwritten[entry.item]
            self._records -= len(entry.records)
            self._bytes -= entry.size_bytes

    def _take_refusals(self, answered: TransactionAnswered) -> None:
        """A broker refuses a batch because of one message: ``RefusalSearch`` finds it."""
        suspects: dict[Unwritten, Refusal] = {}
        letters = []
        for refusal in answered.refusals:
            if refusal.entry.letter is not None:
                self._manager.outbox.keep_letter(refusal.entry)
                letters.append(LetterAnswer(refusal.entry.letter, refusal.code, refusal.said))
            elif refusal.code in RECORDS_OWN:
                if refusal.is_certain or refusal.code in TOPICS_OWN:
                    self._blame(refusal)
                else:
                    suspects.setdefault(refusal.entry, refusal)
        if letters:
            self.take_letter_answers(letters)
        written = [entry for snapshot in answered.snapshots for entry in snapshot.entries if entry.records]
        places = [at for at, entry in enumerate(written) if entry in suspects]
        if places:
            guilty = self._search.aborted(len(written), places)
            if guilty is not None:
                self._blame(suspects[written[guilty]])

    def _blame(self, refusal: Refusal) -> None:
        entry = refusal.entry
        if not entry.is_refused and self._manager.is_current(entry.item):
            entry.is_refused = True
            self._forget(entry)
            self.refused.take(entry, refusal.topic, refusal.code, refusal.said, self._clock())
