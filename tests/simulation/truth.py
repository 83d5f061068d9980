"""What really happened, kept apart from the code under test: which records are done, and which attempts run.

Shared by all consumers of the group. *Done* means that a worker returned within its time, that a dead letter was
acknowledged, or that the record was skipped by policy.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyrallel_consumer.control_plane.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition, WorkItem
from tests.simulation.topic_log import Record, TopicLog


@dataclass(slots=True)
class Run:
    """One attempt that was started and has not ended."""

    consumer: str
    record: Record
    epoch: int
    number: int
    is_marked: bool = False
    is_stubborn: bool = False


@dataclass(frozen=True, slots=True)
class Excuse:
    """A commit of before a truncation covers records that came after it: nobody can tell them apart."""

    claims: OffsetMap
    incarnation: int


def covers(claims: OffsetMap, offset: int) -> bool:
    """Whether a commit of this offset and map says that ``offset`` is finished."""
    return offset < claims.base or (offset < claims.top and offset not in claims.unfinished)


class Truth:
    """Records done, attempts under way, and what may be done again."""

    def __init__(self) -> None:
        self.done: set[Record] = set()
        self.may_repeat: set[Record] = set()
        self.runs: dict[WorkItem, Run] = {}
        self.repeated = 0
        self.attempts = 0
        self.tainted: dict[TopicPartition, str] = {}
        self._excuses: dict[TopicPartition, list[Excuse]] = {}

    def is_done(self, record: Record) -> bool:
        return record in self.done or self.is_excused(record)

    def excuse(self, tp: TopicPartition, claims: OffsetMap, incarnation: int) -> None:
        """Records younger than ``incarnation`` need not be processed where ``claims`` covers them."""
        self._excuses.setdefault(tp, []).append(Excuse(claims, incarnation))

    def is_excused(self, record: Record) -> bool:
        return any(
            record.incarnation > excuse.incarnation and covers(excuse.claims, record.offset())
            for excuse in self._excuses.get(record.tp, ())
        )

    def taint(self, tp: TopicPartition, why: str) -> None:
        """The next owner of ``tp`` may not know all that is done."""
        self.tainted.setdefault(tp, why)

    def allow_repeats(self, log: TopicLog, claims: OffsetMap) -> None:
        """What is done, and a new owner is not told of, may run again."""
        for record in log.records:
            if record in self.done and not covers(claims, record.offset()):
                self.may_repeat.add(record)

    def runs_of(self, consumer: str) -> list[WorkItem]:
        return [item for item, run in self.runs.items() if run.consumer == consumer]
