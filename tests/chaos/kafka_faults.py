"""Faults of Kafka itself, which its logs show. Their consequences are not taken for faults of the library.

Two are known, of Kafka 4.3.1. The first one is a group coordinator that becomes active before it has loaded its log. If
a broker loses the leadership of a partition of ``__consumer_offsets`` and gets it back while it loads that partition,
the end of the first load activates the coordinator of the second one, whose load has just begun:
``CoordinatorRuntime.load`` finds the coordinator by its partition alone. It then writes what a group without a past
would write. The first such write shows the fault and the log is loaded again, but the write stays: the group's epoch is
lower now than that of its assignment. Until it has grown beyond it, no member is assigned anything.

The second one is a transaction that ends without a marker in a partition (KAFKA-20734). If a partition has no leader
when its transaction ends, the transaction coordinator takes the partition for deleted, and skips it. The records stay
open in its log. The next transaction of the same producer decides about them: if that is committed, aborted records are
committed with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from tests.chaos.log_batches import Batch, read_batches
from tests.kafka.told_records import Written

_OUT_OF_SYNC: Final = re.compile(
    r"(?P<at>\S+) .*The state machine of the coordinator (?P<log>\S+) is out of sync with the underlying log. "
    r"The last written offset returned is (?P<found>\d+) while the coordinator expected (?P<expected>\d+)"
)


def coordinators_active_too_early(broker_log: Iterable[str]) -> list[str]:
    """Each time that a coordinator was active before it had loaded its log, for people, from a broker's log."""
    return [
        f"{found['at']}: the coordinator of {found['log']} was active before it had loaded its log: "
        f"it wrote offset {found['found']} for {found['expected']}"
        for line in broker_log
        if (found := _OUT_OF_SYNC.match(line)) is not None
    ]


def without_marker(log: Iterable[Batch]) -> set[int]:
    """Offsets of records whose transaction has no marker, though its producer came again with a new epoch.

    ``log`` is one partition's. A new epoch means that the transaction before it is over.
    """
    found: set[int] = set()
    open_: dict[int, tuple[int, set[int]]] = {}
    for batch in log:
        producer = batch.producer_id
        if batch.is_marker:
            open_.pop(producer, None)
        elif batch.is_transactional:
            epoch, offsets = open_.setdefault(producer, (batch.epoch, set()))
            if epoch != batch.epoch:
                found |= offsets
                offsets = set()
                open_[producer] = batch.epoch, offsets
            offsets.update(batch.offsets)
    return found


def unmarked_places(data: Iterable[Path], topic: str, partitions: Iterable[int]) -> set[tuple[int, int]]:
    """Partitions and offsets of such records. ``data``: the folder of each broker's logs."""
    places = [(folder / f"{topic}-{partition}", partition) for folder in data for partition in partitions]
    return {(partition, offset) for log, partition in places for offset in without_marker(read_batches(log))}


def apart(written: Iterable[Written], unmarked: Collection[tuple[int, int]]) -> tuple[list[Written], list[Written]]:
    """Two lists: the records that members answer for, and records without a marker whose message has another record."""
    found = list(written)
    copies = Counter(each.place for each in found)
    kafkas = []
    for each in found:
        if (each.partition, each.offset) in unmarked and copies[each.place] > 1:
            copies[each.place] -= 1
            kafkas.append(each)
    theirs = set(kafkas)
    return [each for each in found if each not in theirs], kafkas
