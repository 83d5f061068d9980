"""Kafka in memory: the logs of topics, the group's commits, and the written records.

It outlives consumers, as a broker does: the next consumer finds the commits of a crashed one.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable

from pyrallel_consumer.control_plane.events import CommitSnapshot
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.reading.start_offset import Committed, LogRange, Position, Reset, Start, resolve
from pyrallel_consumer.testing.messages import PlainMessage


class MemoryKafka:
    """Topics with logs that begin at 0. ``on_change`` is called when there is something new to read."""

    def __init__(self, topics: Iterable[str], partitions: int) -> None:
        self._partitions = partitions
        self._logs: dict[TopicPartition, list[PlainMessage]] = {}
        self._keyless = 0
        self.committed: dict[TopicPartition, Committed] = {}
        self.on_change: Callable[[], None] = _nothing
        for topic in topics:
            self.create(topic)

    @property
    def topics(self) -> list[str]:
        return list(dict.fromkeys(tp.topic for tp in self._logs))

    @property
    def places(self) -> list[TopicPartition]:
        return list(self._logs)

    @property
    def messages(self) -> list[PlainMessage]:
        """All there are, by partition, in the order of their offsets."""
        return [message for log in self._logs.values() for message in log]

    def create(self, topic: str) -> None:
        """Create a topic, unless there is one."""
        for partition in range(self._partitions):
            self._logs.setdefault(TopicPartition(topic, partition), [])

    def append(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        *,
        headers: Iterable[tuple[str | bytes, bytes | None]] | None = None,
        partition: int | None = None,
        timestamp: int | None = None,
    ) -> PlainMessage:
        """Append a message to a log; its key chooses the partition, as in librdkafka.

        Messages without a key go to the partitions in turn.
        """
        if partition is None:
            partition = self._next_keyless() if key is None else zlib.crc32(key) % self._partitions
        log = self._logs[TopicPartition(topic, partition)]
        if timestamp is None:
            timestamp = int(time.time() * 1000)
        message = PlainMessage(topic, partition, len(log), key, value, headers=headers, timestamp=timestamp)
        log.append(message)
        self.on_change()
        return message

    def read(self, tp: TopicPartition, offset: int, most: int) -> list[PlainMessage]:
        """Up to ``most`` messages from ``offset`` on."""
        return self._logs[tp][offset : offset + most]

    def end_of(self, tp: TopicPartition) -> int:
        """The offset that the next message of ``tp`` gets."""
        return len(self._logs[tp])

    def commit(self, snapshots: Iterable[CommitSnapshot]) -> None:
        """Keep offset and map of each."""
        for each in snapshots:
            self.committed[each.tp] = Committed(each.offset, each.metadata, each.leader_epoch)

    def start_of(self, tp: TopicPartition, reset: Reset) -> Start:
        """The offset at which a newly assigned consumer of ``tp`` begins. Raises NoOffsetError as ``resolve`` does."""
        end = Position(self.end_of(tp))
        return resolve(tp, self.committed.get(tp), LogRange(Position(0), end, end), reset)

    def _next_keyless(self) -> int:
        self._keyless += 1
        return (self._keyless - 1) % self._partitions


def _nothing() -> None:
    pass
