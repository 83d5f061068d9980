"""What all parts of one run share: the scenario, the one source of chance, the clock, the logs and the truth."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from random import Random

from pyrallel_consumer.control_plane.events import CommitSnapshot
from pyrallel_consumer.dto import TopicPartition
from tests.simulation.scenario import Scenario
from tests.simulation.topic_log import Record, TopicLog
from tests.simulation.truth import Truth
from tests.simulation.virtual_loop import Clock


@dataclass(frozen=True, slots=True)
class Standstill:
    """A consumer is frozen from ``began_at`` to ``ends_at``, for longer than the gap that the scenario allows.

    If only its poll thread hung, ``ends_at`` is the end of that, and ``began_at`` is infinite until the loop has heard.
    """

    began_at: float
    ends_at: float


@dataclass(slots=True)
class Scene:
    """``owners`` and ``committed_offsets`` are the group's view; ``has_faults`` is false in the last phase."""

    scenario: Scenario
    random: Random
    clock: Clock
    logs: dict[TopicPartition, TopicLog]
    truth: Truth = field(default_factory=Truth)
    owners: dict[TopicPartition, str | None] = field(default_factory=dict)
    committed_offsets: dict[TopicPartition, int] = field(default_factory=dict)
    begun_unseen: set[TopicPartition] = field(default_factory=set)
    """Partitions that a consumer began to read while their leader was away, and the group had no offset."""
    incarnations: dict[tuple[str, TopicPartition, int], int] = field(default_factory=dict)
    """Incarnation of the log by consumer, partition and epoch, at the beginning of that epoch."""
    known: dict[int, tuple[CommitSnapshot, frozenset[Record]]] = field(default_factory=dict)
    """For every snapshot, by its identity: the records that were finished when it was made."""
    current_epochs: dict[tuple[str, TopicPartition], int] = field(default_factory=dict)
    """The assigned partitions by consumer, as the group told its poll side."""
    standstills: dict[str, Standstill] = field(default_factory=dict)
    """For each consumer that was frozen for too long: the last time, until the coordinator has confirmed a commit."""
    has_faults: bool = True
    is_outage: bool = False
    """Whether a service is down that every worker needs."""
    diary: list[str] | None = None

    def offset_of_group(self, tp: TopicPartition) -> int | None:
        """What the group has committed; the beginning, where a consumer has begun there without knowing the log."""
        return self.committed_offsets.get(tp, 0 if tp in self.begun_unseen else None)

    def begin_doubt(self, name: str) -> None:
        """The poll thread of this consumer now tells its loop of a gap: only a commit from now on proves something."""
        before = self.standstills.get(name)
        began_at = inf if before is None else before.began_at
        self.standstills[name] = Standstill(began_at, self.clock.now)

    def hear_of_doubt(self, name: str) -> None:
        """The loop of this consumer has handled that: from now on nothing begins."""
        standstill = self.standstills.get(name)
        if standstill is not None and standstill.began_at == inf:
            self.standstills[name] = replace(standstill, began_at=self.clock.now - self.scenario.gap_seconds)

    def fault(self, name: str, share: float = 0.5) -> bool:
        """Whether this fault strikes now."""
        return self.has_faults and name in self.scenario.faults and self.random.random() < share

    def end_faults(self) -> None:
        """From now on no fault happens, and frozen consumers go on."""
        self.has_faults = False
        cut = {
            name: Standstill(standstill.began_at, min(standstill.ends_at, self.clock.now))
            for name, standstill in self.standstills.items()
        }
        gap = self.scenario.gap_seconds
        self.standstills = {name: each for name, each in cut.items() if each.ends_at - each.began_at > gap}

    def note(self, text: str) -> None:
        """A line for the reader of a replay."""
        if self.diary is not None:
            self.diary.append(f"{self.clock.now:9.3f} {text}")
