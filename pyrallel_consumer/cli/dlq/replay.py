"""A replay of one dead-letter topic: partition by partition, each in order, in batches.

A batch is sent, acknowledged letter by letter, and then committed, before the next one begins. So a replay that is
killed repeats one batch at most, and one that is stopped repeats nothing. With a ``TransactionalSender`` batch and
commit are one transaction, and a killed replay repeats nothing either. An unsent letter is never committed as done:
filtered, skipped and refused letters stay for another replay of the same group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pyrallel_consumer.cli.dlq.bookmark import Bookmark, bookmark_of
from pyrallel_consumer.cli.dlq.filter import LetterFilter
from pyrallel_consumer.cli.dlq.letter import StoredLetter, letter_of
from pyrallel_consumer.cli.dlq.outcome import Outcome
from pyrallel_consumer.cli.dlq.progress import Display
from pyrallel_consumer.control_plane.failures.letter_queue import LETTERS_OWN
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.errors import BrokerError, StateError
from pyrallel_consumer.ingress.admin.dead_letter_reader import DeadLetterReader
from pyrallel_consumer.ingress.admin.record_sender import RecordSender
from pyrallel_consumer.ingress.admin.transactional_sender import TransactionalSender
from pyrallel_consumer.ingress.producing.transaction_records import PURGED

LOT: Final = 200
"""Letters in a batch; with a rate at most one second's worth."""
SERVE_SECONDS: Final = 0.1
ONE_LETTERS: Final = LETTERS_OWN
"""Errors about one letter. Any other error ends the replay, because it would hit the next letter too."""


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """The options. ``rate`` is in letters per second; ``limit`` counts sent letters.

    ``allowed_topics`` are those to which letters may go back: anybody who writes to a dead-letter topic can name any.
    """

    dlq_topic: str
    group: str
    letter_filter: LetterFilter
    max_replays: int
    is_dry_run: bool
    rate: float | None
    limit: int | None
    allowed_topics: frozenset[str]


class _Stop(Exception):  # noqa: N818 -- no error: the way out of a replay that shall not go on
    """The replay ends before its end."""


class Replay:
    """One replay; ``run`` may be called once, and fills ``outcome`` even if it raises.

    ``stop_reason`` is called between letters. When it returns a reason, letters under way are awaited and committed.
    """

    def __init__(
        self,
        plan: ReplayPlan,
        reader: DeadLetterReader,
        sender: RecordSender,
        progress: Display,
        *,
        stop_reason: Callable[[], str | None],
        clock: Callable[[], float],
    ) -> None:
        self.outcome = Outcome(plan.dlq_topic, plan.group, plan.is_dry_run)
        self._plan = plan
        self._reader = reader
        self._sender = sender
        self._progress = progress
        self._stop_reason = stop_reason
        self._clock = clock
        self._lot = min(LOT, max(1, int(plan.rate))) if plan.rate else LOT
        self._next_at = clock()
        self._offsets_behind = 0
        self._chosen = 0

    def run(self, partitions: int) -> None:
        """Replay the present letters; letters that arrive meanwhile are for another run.

        Raises a BrokerError where the broker ends it, and a StateError where a commit has no room for more.
        """
        marks = []
        for number in range(partitions):
            tp = TopicPartition(self._plan.dlq_topic, number)
            low, end = self._reader.ends(tp)
            bookmark = self._bookmark(tp, low, end)
            start, _ = bookmark.commit()
            self.outcome.next_offsets[number] = start
            marks.append((bookmark, start, end))
        offsets = sum(end - start for _, start, end in marks)
        self._progress.begin(offsets)
        try:
            for bookmark, start, end in marks:
                self._replay_partition(bookmark, start, end)
        except _Stop as stop:
            self.outcome.stopped_because = str(stop)
        finally:
            self.outcome.not_read = offsets - self._offsets_behind

    def _bookmark(self, tp: TopicPartition, low: int, end: int) -> Bookmark:
        noted = self._reader.noted(tp)
        try:
            return bookmark_of(tp, noted.offset, noted.metadata, low, end)
        except ValueError as error:
            raise StateError(f"{error}; name another --replay-group to begin anew") from error

    def _replay_partition(self, bookmark: Bookmark, start: int, end: int) -> None:
        position = start
        lot: list[StoredLetter] = []
        self._raise_if_stopped()
        for stored in self._reader.read(bookmark.tp, start, end):
            if stored is not None:
                letter = letter_of(bookmark.tp, stored.offset, stored.record)
                self._pass(stored.offset + 1 - position)
                position = stored.offset + 1
                if self._is_to_go(bookmark, letter):
                    lot.append(letter)
                    self._chosen += 1
            is_enough = self._chosen == self._plan.limit
            if len(lot) >= self._lot or is_enough or stored is None:
                self._send_all(bookmark, lot)
                lot = []
            if is_enough:
                raise _Stop("--limit is reached")
            self._raise_if_stopped(len(lot))
        self._send_all(bookmark, lot)
        self._pass(end - position)
        if bookmark.read_to_end(end):
            self._commit(bookmark, 0)

    def _is_to_go(self, bookmark: Bookmark, letter: StoredLetter) -> bool:
        """Count the letter, unless it must be sent."""
        outcome = self.outcome
        outcome.read += 1
        is_waiting = bookmark.read(letter.offset)
        if not is_waiting:
            outcome.already_replayed += 1
        elif not self._plan.letter_filter.selects(letter):
            outcome.not_selected += 1
        elif why := self._why_not(letter):
            outcome.not_replayable += 1
            outcome.name(f"{letter.tp}@{letter.offset}", why)
        elif letter.replays >= self._plan.max_replays:
            outcome.over_max_replays += 1
        else:
            return True
        return False

    def _why_not(self, letter: StoredLetter) -> str | None:
        why = letter.why_not_replayable
        if why is not None or letter.source is None:
            return why
        topic = letter.source.topic
        if topic not in self._plan.allowed_topics:
            return f"it names {topic!r} as its topic, and lies in {letter.tp.topic}: --allow-topic allows that"
        if not self._sender.partitions(topic):
            return f"there is no topic {topic!r}, or it may not be seen"
        return None

    # One lot

    def _send_all(self, bookmark: Bookmark, letters: Sequence[StoredLetter]) -> None:
        """Send the letters, in batches small enough for the commit's metadata."""
        while letters:
            count = len(letters)
            while count and not bookmark.has_room_for([letter.offset for letter in letters[:count]]):
                count //= 2
            if not count:
                raise StateError(
                    f"the commit of {bookmark.tp} has no room to tell of more letters among those that were left out; "
                    f"replay the ones from offset {bookmark.commit()[0]} on first, with a wider --filter"
                )
            lot, letters = letters[:count], letters[count:]
            if self._plan.is_dry_run:
                for letter in lot:
                    self._count_replayed(letter)
            else:
                self._send(bookmark, lot, len(letters))

    def _send(self, bookmark: Bookmark, lot: Sequence[StoredLetter], rest: int) -> None:
        sent: dict[int, StoredLetter] = {}
        stop = None
        for letter in lot:
            stop = self._wait_turn()
            if stop:
                break
            assert letter.source is not None, "only letters with a source are sent"
            self._sender.send(letter.offset, letter.source.topic, letter.source.partition, letter.replayed())
            sent[letter.offset] = letter
            self._sender.serve(0)
        while self._sender.under_way:
            self._sender.serve(SERVE_SECONDS)
        rest += len(lot) - len(sent)
        if isinstance(self._sender, TransactionalSender):
            refusal = self._commit_together(self._sender, bookmark, sent, rest)
        else:
            refusal = self._take_answers(bookmark, sent)
        if stop or refusal:
            self.outcome.not_sent += rest
        if refusal:
            raise refusal
        if stop:
            raise _Stop(stop)

    def _commit_together(
        self, sender: TransactionalSender, bookmark: Bookmark, sent: dict[int, StoredLetter], rest: int
    ) -> BrokerError | None:
        """Commit the sent letters and the progress in one transaction; as ``_take_answers``.

        The broker refuses a batch for one letter in it. Then the letters are sent in two halves, and so on down to it.
        """
        refused = [answer for answer in sender.take_answers() if answer.code is not None]
        if not refused:
            self._commit_sent(sender, bookmark, sent)
            return None
        sender.abort()
        # Letters that the client still had to send when another one was refused are not to blame.
        token, code, said = next((answer for answer in refused if answer.code not in PURGED), refused[0])
        if len(sent) == 1 or code not in ONE_LETTERS:
            self.outcome.not_sent += len(sent) - 1
            return self._refused(sent[token], str(code), said)
        letters = [*sent.values()]
        middle = len(letters) // 2
        self._send(bookmark, letters[:middle], len(letters) - middle + rest)
        self._send(bookmark, letters[middle:], rest)
        return None

    def _commit_sent(self, sender: TransactionalSender, bookmark: Bookmark, sent: dict[int, StoredLetter]) -> None:
        if not sent:
            return
        for offset in sent:
            bookmark.replayed(offset)
        offset, metadata = bookmark.commit()
        try:
            sender.commit(bookmark.tp, offset, metadata, self._reader.group_metadata())
        except BrokerError:
            self.outcome.not_sent += len(sent)
            raise
        self.outcome.next_offsets[bookmark.tp.partition] = offset
        for letter in sent.values():
            self._count_replayed(letter)

    def _refused(self, letter: StoredLetter, code: str, said: str) -> BrokerError | None:
        """Note it; returns the error that ends the replay, if it is not about this letter alone."""
        self.outcome.failed += 1
        self.outcome.name(f"{letter.tp}@{letter.offset}", said)
        if code in ONE_LETTERS:
            return None
        return BrokerError(f"replaying to {letter.source.topic if letter.source else ''!r}: {said}", code=code)

    def _take_answers(self, bookmark: Bookmark, sent: dict[int, StoredLetter]) -> BrokerError | None:
        """Note the acknowledged letters, and return the error that ends the replay, if there is one."""
        refusal, arrived = None, 0
        for offset, code, said in self._sender.take_answers():
            letter = sent[offset]
            if code is None:
                bookmark.replayed(offset)
                self._count_replayed(letter)
                arrived += 1
                continue
            refusal = self._refused(letter, code, said) or refusal
        if arrived:
            self._commit(bookmark, arrived)
        return refusal

    def _count_replayed(self, letter: StoredLetter) -> None:
        self.outcome.replayed += 1
        self.outcome.replayed_to[letter.source.topic if letter.source else ""] += 1

    def _commit(self, bookmark: Bookmark, arrived: int) -> None:
        if self._plan.is_dry_run:
            return
        offset, metadata = bookmark.commit()
        try:
            self._reader.note(bookmark.tp, offset, metadata)
        except BrokerError:
            self.outcome.uncommitted += arrived
            raise
        self.outcome.next_offsets[bookmark.tp.partition] = offset

    # Time

    def _wait_turn(self) -> str | None:
        """Wait until the next letter may be sent; returns the reason if it must not be sent any more."""
        rate = self._plan.rate
        while not (stop := self._stop_reason()):
            now = self._clock()
            if rate is None or now >= self._next_at:
                self._next_at = now + 1 / rate if rate else now
                break
            self._sender.serve(min(SERVE_SECONDS, self._next_at - now))
        return stop

    def _raise_if_stopped(self, chosen: int = 0) -> None:
        if stop := self._stop_reason():
            self.outcome.not_sent += chosen
            raise _Stop(stop)

    def _pass(self, offsets: int) -> None:
        self._offsets_behind += offsets
        self._progress.advance(offsets, f"{self.outcome.replayed:,} replayed")
