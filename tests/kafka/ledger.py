"""All that happened to one topic, in one ledger: what stood in the log, what workers did, what was committed and when.

Knows nothing of the library. ``read_ledger`` makes it when everything is over, except for the commits, which
``CommitSightings`` looks at meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.kafka.committed import map_of
from tests.kafka.history import History, Place
from tests.kafka.plain_log import read_log
from tests.kafka.told_records import Written
from tests.kafka_cluster import KafkaCluster, Record
from tests.letter_box import read_letters

LOOK_SECONDS = 0.1
TIMEOUT_SECONDS = 10.0

Partition = tuple[str, int]


class Sighting(NamedTuple):
    """A commit as the broker told it: it was made before ``at_ns`` of the monotonic clock.

    Everything below ``offset`` is done, and everything below ``top`` that is not in ``unfinished``.
    """

    at_ns: int
    partition: Partition
    offset: int
    top: int
    unfinished: frozenset[int] = frozenset()

    def covers(self, place: Place) -> bool:
        return place[:2] == self.partition and place[2] < self.top and place[2] not in self.unfinished


@dataclass(frozen=True)
class Ledger:
    """``ordering`` is the mode that all members ran under; ``letters`` are the sources of all dead letters.

    ``written`` are the records that workers returned, as a reader of committed records finds them.
    """

    records: Mapping[Place, Record]
    history: History
    sightings: Sequence[Sighting] = ()
    committed: Mapping[Partition, int] = field(default_factory=dict)
    ends: Mapping[Partition, int] = field(default_factory=dict)
    letters: Sequence[Place] = ()
    ordering: str = "key_hash"
    max_attempts: int = 3
    written: Sequence[Written] = ()


class CommitSightings:
    """Looks at the commits of a group ten times a second until the block ends; a broker that is away is passed over."""

    def __init__(self, bootstrap_servers: str, group: str, partitions: Sequence[Partition]) -> None:
        self.seen: list[Sighting] = []
        self._partitions = list(partitions)
        self._group = group
        self._bootstrap_servers = bootstrap_servers
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="sightings")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def also(self, partitions: Sequence[Partition]) -> None:
        """Partitions that were added."""
        self._partitions = [*self._partitions, *partitions]

    def _look(self) -> None:
        settings = {
            "bootstrap.servers": self._bootstrap_servers,
            "group.id": self._group,
            "enable.auto.commit": False,
            "log_level": 0,
        }
        known: dict[Partition, tuple[int, str | None]] = {}
        with Consumer(settings) as consumer:
            is_last = False
            while not is_last:
                is_last = self._ended.wait(LOOK_SECONDS)
                asked = [TopicPartition(*partition) for partition in self._partitions]
                try:
                    answers = consumer.committed(asked, timeout=TIMEOUT_SECONDS)
                except KafkaException:
                    continue
                at_ns = time.monotonic_ns()
                for answer in answers:
                    partition, told = (answer.topic, answer.partition), (answer.offset, answer.metadata)
                    if answer.error is None and answer.offset >= 0 and known.get(partition) != told:
                        known[partition] = told
                        known_map = map_of(answer)
                        unfinished = frozenset(known_map.unfinished)
                        self.seen.append(Sighting(at_ns, partition, answer.offset, known_map.top, unfinished))


def read_ledger(
    kafka: KafkaCluster,
    topic: str,
    group: str,
    history: History,
    sightings: Sequence[Sighting],
    *,
    dlq_topic: str | None = None,
    ordering: str = "key_hash",
    max_attempts: int = 3,
) -> Ledger:
    """What one topic's ledger says now that all is over; ``history`` may hold runs of other topics as well."""
    letters = read_letters(kafka.bootstrap_servers, dlq_topic) if dlq_topic else []
    return Ledger(
        records=read_log(kafka, topic),
        history=History(run for run in history if run.place[0] == topic),
        sightings=[each for each in sightings if each.partition[0] == topic],
        committed={(topic, at): offset for at, offset in kafka.committed_offsets(group, topic).items()},
        ends={(topic, at): offset for at, offset in kafka.end_offsets(topic).items()},
        letters=[letter.source for letter in letters if letter.source[0] == topic],
        ordering=ordering,
        max_attempts=max_attempts,
    )
