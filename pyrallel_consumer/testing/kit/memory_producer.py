"""The producer of a kit: whatever is produced is acknowledged, and kept to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from pyrallel_consumer.control_plane.events import LetterAnswer, LettersAnswered, RecordAnswer, RecordsAnswered
from pyrallel_consumer.control_plane.failures.letter import Letter, record_of
from pyrallel_consumer.control_plane.output.unwritten import Outgoing
from pyrallel_consumer.testing.kit.clock import KitTimers
from pyrallel_consumer.testing.written_record import WrittenRecord


class MemoryProducer:
    """Has what ``DeadLetterProducer`` has. ``letters`` and ``records`` get what was written."""

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
                self._records.append(_written_record(each))
                record_answers.append(RecordAnswer(each, None, ""))
            else:
                record = record_of(each)
                self._letters.append(WrittenRecord(each.topic, record.value, record.key, record.headers))
                letter_answers.append(LetterAnswer(each, None, ""))
        if letter_answers:
            self._deliver(LettersAnswered(tuple(letter_answers)))
        if record_answers:
            self._deliver(RecordsAnswered(tuple(record_answers)))


def _written_record(outgoing: Outgoing) -> WrittenRecord:
    topic, value, key, headers, partition, timestamp = outgoing.record
    assert not isinstance(key, str)  # serialized where the worker ran
    return WrittenRecord(topic, value, key, list(headers), partition, timestamp)
