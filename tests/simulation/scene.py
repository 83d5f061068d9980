"""What all parts of one run share: the scenario, the one source of chance, the clock, the logs and the truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from pyrallel_consumer.control_plane.events import CommitSnapshot
from pyrallel_consumer.dto import TopicPartition
from tests.simulation.scenario import Scenario
from tests.simulation.topic_log import Record, TopicLog
from tests.simulation.truth import Truth
from tests.simulation.virtual_loop import Clock


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
    incarnations: dict[tuple[str, TopicPartition, int], int] = field(default_factory=dict)
    """Incarnation of the log by consumer, partition and epoch, at the beginning of that epoch."""
    known: dict[int, tuple[CommitSnapshot, frozenset[Record]]] = field(default_factory=dict)
    """Of every snapshot, by its identity: the records that its maker knows to be finished."""
    current_epochs: dict[tuple[str, TopicPartition], int] = field(default_factory=dict)
    """What is assigned now, by consumer, as its poll side was told by the group."""
    has_faults: bool = True
    is_outage: bool = False
    """Whether something is down that every worker needs."""
    diary: list[str] | None = None

    def fault(self, name: str, share: float = 0.5) -> bool:
        """Whether this fault strikes now."""
        return self.has_faults and name in self.scenario.faults and self.random.random() < share

    def note(self, text: str) -> None:
        """A line for the reader of a replay."""
        if self.diary is not None:
            self.diary.append(f"{self.clock.now:9.3f} {text}")
