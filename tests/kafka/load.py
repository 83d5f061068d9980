"""A steady producer beside the consumers under test, so that members come and go under load."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, Message, Producer

from tests.kafka_cluster import TIMEOUT_SECONDS, KafkaCluster, Record

INTERVAL_SECONDS = 0.05


class Load:
    """Produces ``per_second`` messages until the block ends; ``count`` says how many.

    By default they go round robin over ``keys``, and values number the messages of their key from 0; ``record`` makes
    others of their number.
    """

    def __init__(
        self,
        kafka: KafkaCluster,
        topic: str,
        *,
        keys: int = 1,
        per_second: int,
        record: Callable[[int], Record] | None = None,
    ) -> None:
        self.count = 0
        self._topic = topic
        self._record = record or (lambda number: (b"key-%d" % (number % keys), b"%d" % (number // keys)))
        self._batch = max(1, int(per_second * INTERVAL_SECONDS))
        self._producer = Producer(
            {"bootstrap.servers": kafka.bootstrap_servers, "enable.idempotence": True, "linger.ms": 5}
        )
        self._failures: list[KafkaError] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        unsent = self._producer.flush(TIMEOUT_SECONDS)
        if error is None:
            assert not unsent, f"{unsent} messages were not acknowledged"
            assert not self._failures, f"{len(self._failures)} messages failed, the first by: {self._failures[0]}"

    def _produce(self) -> None:
        while not self._ended.wait(INTERVAL_SECONDS):
            for number in range(self.count, self.count + self._batch):
                key, value = self._record(number)
                self._producer.produce(self._topic, key=key, value=value, on_delivery=self._note)
            self.count += self._batch
            self._producer.poll(0)

    def _note(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failures.append(error)
