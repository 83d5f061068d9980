"""The producers of a kit: every record is acknowledged, and kept for the test to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

from pyrallel_consumer.control_plane.events import (
    CommitSnapshot,
    LetterAnswer,
    LettersAnswered,
    RecordAnswer,
    RecordsAnswered,
)
from pyrallel_consumer.control_plane.failures.letter import Letter, record_of
from pyrallel_consumer.control_plane.output.unwritten import Outgoing
from pyrallel_consumer.record import Record
from pyrallel_consumer.testing.kit.clock import KitTimers
from pyrallel_consumer.testing.written_record import WrittenRecord


class MemoryProducer:
    """The interface of ``DeadLetterProducer``. ``letters`` and ``records`` collect the written records."""

    def __init__(
        self,
        timers: KitTimers,
        deliver: Callable[[object], None],
        *,
        letters: list[WrittenRecord],
        records: list[WrittenRecord],
    ) -> None:
        self.is_alive = False
        self.ended: Future[None] = Future()
        self._timers = timers
        self._deliver = deliver
        self._letters = letters
        self._records = records

    def start(self) -> Future[None]:
        self.is_alive = True
        started: Future[None] = Future()
        started.set_result(None)
        return started

    def produce(self, letters: Sequence[Letter | Outgoing]) -> None:
        """Each is written and answered in a moment."""
        self._timers.call_soon(self._write, tuple(letters))

    def abandon(self) -> None:
        self.is_alive = False
        if not self.ended.done():
            self.ended.set_result(None)

    def get_metrics(self) -> dict[str, Any]:
        return {"clients_made": 1, "client_errors": {}}

    def _write(self, sent: Sequence[Letter | Outgoing]) -> None:
        if not self.is_alive:
            return
        letter_answers: list[LetterAnswer] = []
        record_answers: list[RecordAnswer] = []
        for each in sent:
            if isinstance(each, Outgoing):
                self._records.append(written_record(each.record))
                record_answers.append(RecordAnswer(each, None, ""))
            else:
                self._letters.append(written_letter(each))
                letter_answers.append(LetterAnswer(each, None, ""))
        if letter_answers:
            self._deliver(LettersAnswered(tuple(letter_answers)))
        if record_answers:
            self._deliver(RecordsAnswered(tuple(record_answers)))


class MemoryTransactions:
    """Like ``Transactions``, but without a queue: each transaction of a kit is one step of its poller."""

    open_since: float | None = None

    def __init__(self, *, letters: list[WrittenRecord], records: list[WrittenRecord]) -> None:
        self.is_alive = False
        self.ended: Future[None] = Future()
        self.transactional_id = "kit"
        self.committed = 0
        self.aborted = 0
        self.clients_made = 1
        self.client_errors: Counter[str] = Counter()
        self._letters = letters
        self._records = records

    def start(self) -> Future[None]:
        self.is_alive = True
        started: Future[None] = Future()
        started.set_result(None)
        return started

    def abandon(self) -> None:
        self.is_alive = False
        if not self.ended.done():
            self.ended.set_result(None)

    def write(self, snapshots: Iterable[CommitSnapshot]) -> None:
        """A transaction with these offsets is committed: its records are visible from now on."""
        self.committed += 1
        for entry in (entry for snapshot in snapshots for entry in snapshot.entries):
            if entry.letter is None:
                self._records += [written_record(record) for record in entry.records]
            else:
                self._letters.append(written_letter(entry.letter))


def written_letter(letter: Letter) -> WrittenRecord:
    """The record of a dead letter."""
    record = record_of(letter)
    return WrittenRecord(letter.topic, record.value, record.key, record.headers)


def written_record(record: Record) -> WrittenRecord:
    """A worker's record in its written form."""
    topic, value, key, headers, partition, timestamp = record
    assert not isinstance(key, str)  # serialized where the worker ran
    return WrittenRecord(topic, value, key, list(headers), partition, timestamp)
