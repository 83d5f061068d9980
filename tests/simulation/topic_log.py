"""The fake log of one partition: records with holes between them, a low end above zero, and truncation.

A record is known by identity: after a truncation another record may stand at the same offset.
"""

from __future__ import annotations

from bisect import bisect_left

from pyrallel_consumer.dto import Headers, TopicPartition


class Record:
    """One record, in the shape of the client's message.

    ``incarnation`` counts the truncations before it, ``size_bytes`` is that of key and value. The leader epoch counts
    all changes of the leader, clean ones too.
    """

    __slots__ = ("_key", "_leader_epoch", "_offset", "_tp", "_value", "incarnation", "size_bytes")

    def __init__(self, log: TopicLog, key: bytes | None, value: bytes) -> None:
        """The next one of ``log``."""
        self._tp = log.tp
        self._offset = log.high
        self._key = key
        self._value = value
        self._leader_epoch = log.leader_epoch
        self.incarnation = log.incarnation
        self.size_bytes = len(value) + len(key or b"")

    @property
    def tp(self) -> TopicPartition:
        return self._tp

    def topic(self) -> str:
        return self._tp.topic

    def partition(self) -> int:
        return self._tp.partition

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> Headers | None:
        return None

    def set_headers(self, headers: Headers) -> None:
        raise NotImplementedError

    def timestamp(self) -> tuple[int, int]:
        return (0, 0)

    def leader_epoch(self) -> int | None:
        return self._leader_epoch

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return f"{self._tp}@{self._offset}" + (f"/{self.incarnation}" if self.incarnation else "")


class TopicLog:
    """Records of one partition, ascending by offset. ``high`` is the end, exclusive; holes may lie before it."""

    def __init__(self, tp: TopicPartition, low: int) -> None:
        self.tp = tp
        self.low = low
        self.high = low
        self.incarnation = 0
        self.leader_epoch = 0
        self._first_offsets: dict[int, int] = {}
        self.records: list[Record] = []
        self._offsets: list[int] = []

    def append(self, key: bytes | None, value: bytes) -> None:
        self.records.append(Record(self, key, value))
        self._offsets.append(self.high)
        self.high += 1

    def append_hole(self, size: int) -> None:
        """Offsets without a record: compacted or aborted ones, control markers."""
        self.high += size

    def read(self, offset: int, most: int) -> list[Record]:
        """The next records at or after ``offset``."""
        at = bisect_left(self._offsets, offset)
        return self.records[at : at + most]

    def truncate(self, offset: int) -> None:
        """Everything from ``offset`` on is gone; later records belong to a new incarnation."""
        at = bisect_left(self._offsets, offset)
        del self.records[at:], self._offsets[at:]
        self.high = max(self.low, offset)
        self.incarnation += 1
        self.change_leader()

    def change_leader(self) -> None:
        """Another broker leads from now on: the log stays, and new records have its leader epoch."""
        self.leader_epoch += 1
        self._first_offsets[self.leader_epoch] = self.high

    @property
    def first_leader_epoch(self) -> int | None:
        """The leader epoch of the log's first record; None without records."""
        return self.records[0].leader_epoch() if self.records else None

    def end_of(self, leader_epoch: int) -> int:
        """Where the first later leader epoch begins: what a broker answers to a client that checks its position."""
        return min((first for epoch, first in self._first_offsets.items() if epoch > leader_epoch), default=self.high)

    def leader_epoch_below(self, offset: int) -> int:
        """The leader epoch of the record, or hole, before ``offset``."""
        return max((epoch for epoch, first in self._first_offsets.items() if first < offset), default=0)

    def retain_from(self, offset: int) -> None:
        """Retention: the log begins at ``offset`` from now on."""
        at = bisect_left(self._offsets, offset)
        del self.records[:at], self._offsets[:at]
        self.low = max(self.low, offset)
