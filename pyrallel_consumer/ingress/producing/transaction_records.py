"""``TransactionRecords``: produces the records and letters of one transaction, and notes which of them are refused.

For the producer's thread. The client reports every record: ``delivery.report.only.error`` would spare those calls, but
then a producer that was fenced raises SystemError when it is purged (confluent-kafka 2.16).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pyrallel_consumer.control_plane.events import Refusal
from pyrallel_consumer.control_plane.failures.letter import UNREADABLE, record_of
from pyrallel_consumer.control_plane.output.unwritten import Unwritten
from pyrallel_consumer.ingress.client.client_errors import advice_for
from pyrallel_consumer.ingress.producing.transaction import Transaction
from pyrallel_consumer.record import Record

FLUSH_SECONDS: Final = 0.1
FENCED: Final = frozenset({"_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"})
_NOT_THE_RECORDS: Final = FENCED | {"_FATAL", "_MSG_TIMED_OUT", "_STATE"}
PURGED: Final = frozenset({"_PURGE_QUEUE", "_PURGE_INFLIGHT"})
"""Errors of records that were not sent, or not waited for, since their transaction is aborted."""
BY_KEY: Final = -1


class TransactionRecords:
    """``is_over``: the wait for the transaction was given up."""

    def __init__(self, client: Producer, transaction: Transaction, is_over: Callable[[], bool]) -> None:
        self._client = client
        self._transaction = transaction
        self._is_over = is_over
        self._left = 0

    def write(self) -> None:
        """Produce all records, and wait for the broker's answer to each, or until the transaction must be aborted."""
        transaction, flush = self._transaction, self._client.flush
        for snapshot in transaction.snapshots:
            for entry in snapshot.entries:
                if entry.letter is None:
                    for record in entry.records:
                        self._produce(entry, record)
                else:
                    self._produce_letter(entry)
                if transaction.is_disowned or transaction.failure is not None:
                    return
        while self._left and not transaction.is_failing:
            if self._is_over():
                transaction.disown()
            flush(FLUSH_SECONDS)

    def _produce_letter(self, entry: Unwritten) -> None:
        letter = entry.letter
        assert letter is not None, "only an entry with a letter comes here"
        try:
            made = record_of(letter)
        except Exception as error:  # noqa: BLE001 -- a message with parts that cannot be read; the others must go on
            said = f"the message cannot be read: {type(error).__name__}"
            self._transaction.refusals.append(Refusal(entry, letter.topic, UNREADABLE, said, is_certain=True))
        else:
            self._produce(entry, Record(letter.topic, made.value, made.key, made.headers))

    def _produce(self, entry: Unwritten, record: Record) -> None:
        topic, value, key, headers, partition, timestamp = record

        def note(error: KafkaError | None, _: Message) -> None:
            self._left -= 1
            if error is not None and error.name() not in PURGED:
                self._note_failure(entry, topic, error, is_certain=False)

        while True:
            try:
                self._client.produce(
                    topic,
                    value=value,
                    key=key,
                    headers=[*headers] if headers else None,
                    partition=BY_KEY if partition is None else partition,
                    timestamp=timestamp or 0,
                    on_delivery=note,
                )
            except BufferError:
                if self._transaction.is_disowned or self._transaction.failure is not None or self._is_over():
                    return
                self._client.poll(FLUSH_SECONDS)
            except KafkaException as error:
                self._note_failure(entry, topic, error.args[0], is_certain=True)
                return
            else:
                self._left += 1
                return

    def _note_failure(self, entry: Unwritten, topic: str, error: KafkaError, *, is_certain: bool) -> None:
        """The loop handles errors about the record; after other errors the transaction is written again."""
        if error.fatal() or error.retriable() or error.name() in _NOT_THE_RECORDS:
            self._transaction.failure = error
        else:
            said = f"{error.str()}{advice_for(error.name())}"
            self._transaction.refusals.append(Refusal(entry, topic, error.name(), said, is_certain))
