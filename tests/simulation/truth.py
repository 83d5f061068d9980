"""The facts, kept apart from the code under test: which records are done, and which attempts run.

Shared by all consumers of the group. *Done* means that a worker returned within its time, that a dead letter was
acknowledged, or that the record was skipped by policy.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
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
        self._passed_over: set[Record] = set()

    def is_done(self, record: Record) -> bool:
        return record in self.done or record in self._passed_over

    def pass_over(self, log: TopicLog, offset: int) -> None:
        """Records below the log's present end need not be processed: the group chose to begin at the end."""
        self._passed_over.update(record for record in log.records if record.offset() < offset)

    def taint(self, tp: TopicPartition, why: str) -> None:
        """The next owner of ``tp`` may not know all that is done."""
        self.tainted.setdefault(tp, why)

    def allow_repeats(self, log: TopicLog, claims: OffsetMap) -> None:
        """A finished record of which the new owner does not know may run again."""
        for record in log.records:
            if record in self.done and not covers(claims, record.offset()):
                self.may_repeat.add(record)

    def runs_of(self, consumer: str) -> list[WorkItem]:
        return [item for item, run in self.runs.items() if run.consumer == consumer]
