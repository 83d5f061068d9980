"""Workers that return a record for each message of one topic: whoever reads the records finds out what was written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pyrallel_consumer import Record, WorkItem
from tests.kafka.history import Place
from tests.letter_box import read_letters

SOURCE = "source"


def record_of(item: WorkItem, results: str) -> Record:
    """Its header says where the message stood."""
    source = f"{item.topic} {item.partition} {item.offset}".encode()
    return Record(results, item.payload, item.key, [(SOURCE, source)])


@dataclass
class Recording:
    """``worker``, a plain one, and a record in ``results`` for each message of ``source``."""

    worker: Callable[[WorkItem], Any]
    source: str
    results: str

    def __call__(self, item: WorkItem) -> Record | None:
        self.worker(item)
        return record_of(item, self.results) if item.topic == self.source else None


@dataclass
class AsyncRecording(Recording):
    """The same for an ``async def`` worker."""

    async def __call__(self, item: WorkItem) -> Record | None:  # type: ignore[override]  # another kind of worker
        await self.worker(item)
        return record_of(item, self.results) if item.topic == self.source else None


@dataclass(frozen=True)
class Written:
    """One record that a reader of committed records finds: the place of its message, its own partition and offset."""

    place: Place
    key: bytes | None
    partition: int
    offset: int = -1


def read_written(bootstrap_servers: str, results: str) -> Sequence[Written]:
    """All records, by partition in their order."""
    found = []
    for record in read_letters(bootstrap_servers, results):
        topic, partition, offset = record.ours[SOURCE].split()
        found.append(Written((topic, int(partition), int(offset)), record.key, record.partition, record.offset))
    return found
