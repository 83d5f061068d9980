"""What is produced while everything breaks: keyed messages, some of which tell the worker to fail, hang or die.

An id begins with the making of the log that it belongs to (``work-7``, ``anew2-7``), so a log that took the place of
another is told from it. ``anew`` and ``unclean`` lose messages by design: what counts is what stands in the log.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaError, Message, Producer

from tests.chaos.site import Topics
from tests.kafka.told_worker import ALWAYS, told

INTERVAL_SECONDS: Final = 0.05
FLUSH_SECONDS: Final = 60.0
KEYS: Final = 150
HANG_SECONDS: Final = 3.0


class Stream:
    """The producer for one incarnation of one topic's log."""

    def __init__(
        self, bootstrap_servers: str, topic: str, making: str, per_second: int, seed: str, *, safe: bool
    ) -> None:
        self.making = making
        self.failures: list[KafkaError] = []
        self._topic = topic
        self._batch = max(1, int(per_second * INTERVAL_SECONDS))
        self._chance = random.Random(f"{seed} {making}")
        self._count = 0
        acks = {"enable.idempotence": True} if safe else {"acks": 1, "message.timeout.ms": 5000}
        self._producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 5, "log_level": 0, **acks})

    def feed(self, *, may_die: bool) -> None:
        for _ in range(self._batch):
            key = None if self._chance.random() < 0.03 else b"key-%d" % self._chance.randrange(KEYS)
            value = self._value(f"{self.making}-{self._count}", may_die=may_die)
            self._count += 1
            self._producer.produce(self._topic, key=key, value=value, on_delivery=self._note)
        self._producer.poll(0)

    def flush(self) -> None:
        """Returns when every message is acknowledged or given up."""
        self._producer.flush(FLUSH_SECONDS)

    def end(self) -> int:
        """Sends the messages that it can, then closes; returns how many were not acknowledged."""
        left = self._producer.flush(FLUSH_SECONDS)
        self._producer.purge()
        self._producer.flush(FLUSH_SECONDS)
        return max(left, len(self.failures))

    def _value(self, name: str, *, may_die: bool) -> bytes:
        roll = self._chance.random()
        if roll < 0.015:
            return told(name, "fail", 1)
        if roll < 0.018:
            return told(name, "fail", ALWAYS)
        if roll < 0.021:
            return told(name, "hang", HANG_SECONDS)
        return told(name, "die") if may_die and roll < 0.023 else told(name)

    def _note(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self.failures.append(error)


class ChaosLoad:
    """Produces to all topics until the block ends; ``anew_stands_still`` pauses this while its topic is made again."""

    def __init__(self, bootstrap_servers: str, topics: Topics, seed: int, *, may_die: bool) -> None:
        self.unsent = 0
        self._bootstrap_servers = bootstrap_servers
        self._topics = topics
        self._seed = str(seed)
        self._may_die = may_die
        self._making = 1
        self._lock = threading.Lock()
        self._work = Stream(bootstrap_servers, topics.work, "work", 120, self._seed, safe=True)
        self._anew = self._new_anew()
        self._unclean = (
            Stream(bootstrap_servers, topics.unclean, "unclean", 40, self._seed, safe=False) if topics.unclean else None
        )
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
        self.unsent = sum(stream.end() for stream in (self._work, self._anew, self._unclean) if stream is not None)

    @contextmanager
    def anew_stands_still(self) -> Iterator[None]:
        """Produces nothing to ``anew`` in this block; afterwards its messages belong to the new log."""
        with self._lock:
            self._anew.flush()
            yield
            self._making += 1
            self._anew = self._new_anew()

    def _new_anew(self) -> Stream:
        making = f"anew{self._making}"
        return Stream(self._bootstrap_servers, self._topics.anew, making, 40, self._seed, safe=True)

    def _produce(self) -> None:
        while not self._ended.wait(INTERVAL_SECONDS):
            self._work.feed(may_die=self._may_die)
            if self._unclean is not None:
                self._unclean.feed(may_die=self._may_die)
            if self._lock.acquire(blocking=False):
                try:
                    self._anew.feed(may_die=self._may_die)
                finally:
                    self._lock.release()
