"""Sends records in transactions that also commit a group's progress: replayed letters come back exactly once.

A transaction holds the records that were sent since the last ``commit`` or ``abort``. The transactional id is that of
the group, so a replay that starts again ends the transaction of its killed predecessor first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.control_plane.failures.letter import Record
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.admin.group_reader import translating
from pyrallel_consumer.ingress.admin.record_sender import RecordSender

PATIENCE_SECONDS: Final = 60.0
CALL_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 0.05
TIMEOUT_MS: Final = 60_000
"""After this the broker aborts a transaction that is not committed. With ``--rate`` a transaction takes a second."""


class TransactionalSender(RecordSender):
    """As ``RecordSender``, in transactions of ``group``. Raises BrokerError if the broker does not allow them."""

    def __init__(self, config: KafkaConfig, group: str) -> None:
        super().__init__(config, {"transactional.id": f"{group}-replay", "transaction.timeout.ms": TIMEOUT_MS})
        self._group = group
        self._is_open = False
        self._start()

    def _start(self) -> None:
        self._insist(lambda: self._client.init_transactions(CALL_SECONDS), f"starting transactions of {self._group!r}")

    def send(self, token: int, topic: str, partition: int, record: Record) -> None:
        if not self._is_open:
            with translating("beginning a transaction"):
                self._client.begin_transaction()
            self._is_open = True
        super().send(token, topic, partition, record)

    def commit(self, tp: TopicPartition, offset: int, metadata: str, group_metadata: Any) -> None:
        """Commit the sent records together with the group's ``offset`` of ``tp``."""
        place = ClientPartition(tp.topic, tp.partition, offset, metadata or "")
        doing = f"committing what was done of {tp}"
        self._insist(lambda: self._client.send_offsets_to_transaction([place], group_metadata, CALL_SECONDS), doing)
        self._insist(lambda: self._client.commit_transaction(CALL_SECONDS), doing)
        self._is_open = False

    def abort(self) -> None:
        """None of the records that were sent since the last commit becomes visible.

        After a refused batch the sequence numbers of the client's records have a gap, for which the broker refuses the
        next batch, or the client sends no more (librdkafka 2.16). So a new client goes on.
        """
        if self._is_open:
            self._insist(lambda: self._client.abort_transaction(CALL_SECONDS), "aborting a transaction")
            self._is_open = False
            self.take_answers()
            self._client = self._made()
            self._start()

    def _insist(self, call: Callable[[], object], doing: str) -> None:
        """Call until it is done, as long as the client says that calling again may help."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with translating(doing):
            while True:
                try:
                    call()
                except KafkaException as error:
                    if not error.args[0].retriable() or time.monotonic() >= deadline:
                        raise
                    time.sleep(AGAIN_SECONDS)
                else:
                    return
