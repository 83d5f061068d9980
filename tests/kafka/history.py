"""What workers did, whoever they belonged to, and the questions the guarantees ask of it.

Knows nothing of Kafka and of the library: runs with their places, times and ends. Times are of one machine's monotonic
clock, so runs of different processes compare.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

Place = tuple[str, int, int]
"""Topic, partition, offset."""

Lane = tuple[object, ...]
"""The messages of one order share this value."""

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Run:
    """One call of a worker. ``end``: finished, cancelled or failed; None where the process died before."""

    owner: str
    place: Place
    key: bytes | None
    value: bytes | None
    started_ns: int
    ended_ns: int | None = None
    end: str | None = None
    attempt: int = 1

    @property
    def is_finished(self) -> bool:
        return self.end == "finished"

    def settles(self, max_attempts: int | None) -> bool:
        """Whether its message is done with this run: it finished, or failed the last of its attempts."""
        return self.is_finished or (self.end == "failed" and self.attempt == max_attempts)


@dataclass(frozen=True, slots=True)
class Early:
    """A run that began before the earlier message of its lane was settled."""

    run: Run
    earlier: Place

    def __str__(self) -> str:
        run = self.run
        return f"{run.owner} began {run.place} before offset {self.earlier[2]} of key {run.key!r} was finished"


@dataclass(frozen=True, slots=True)
class Overlap:
    """A run that began while another one of its lane was under way."""

    run: Run
    other: Run

    def __str__(self) -> str:
        return (
            f"{self.run.owner} began {self.run.place} while {self.other.owner} ran {self.other.place}, "
            f"both of key {self.run.key!r}"
        )


def key_lane(run: Run) -> Lane | None:
    """Messages of one key in one partition are in order; those without a key are in none."""
    return None if run.key is None else (*run.place[:2], run.key)


def partition_lane(run: Run) -> Lane | None:
    """All messages of a partition are in order."""
    return run.place[:2]


class History:
    """All runs of all owners."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs = sorted(runs, key=lambda run: run.started_ns)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def of(self, owner: str) -> History:
        """What one owner did."""
        return History(run for run in self.runs if run.owner == owner)

    @property
    def started(self) -> set[Place]:
        return {run.place for run in self.runs}

    @property
    def finished(self) -> set[Place]:
        return {run.place for run in self.runs if run.is_finished}

    @property
    def values(self) -> list[bytes | None]:
        """What the finished runs were given, in the order in which they began."""
        return [run.value for run in self.runs if run.is_finished]

    @property
    def run_twice(self) -> set[Place]:
        """Places that were started more than once, whatever became of it."""
        return {place for place, count in Counter(run.place for run in self.runs).items() if count > 1}

    def settled_ns(self, max_attempts: int | None = None) -> dict[Place, int]:
        """When each message was settled for the first time; messages that never were are left out."""
        settled: dict[Place, int] = {}
        for run in self.runs:
            if run.ended_ns is not None and run.settles(max_attempts):
                settled[run.place] = min(run.ended_ns, settled.get(run.place, run.ended_ns))
        return settled

    def lanes(self, lane_of: Callable[[Run], Lane | None] = key_lane) -> list[list[Run]]:
        """The runs of each lane, in the order in which they began."""
        lanes: dict[Lane, list[Run]] = defaultdict(list)
        for run in self.runs:
            lane = lane_of(run)
            if lane is not None:
                lanes[lane].append(run)
        return list(lanes.values())

    def early_runs(
        self, lane_of: Callable[[Run], Lane | None] = key_lane, max_attempts: int | None = None
    ) -> Iterator[Early]:
        """Runs that began before the earlier message of their lane was settled for the first time, by any member."""
        settled = self.settled_ns(max_attempts)
        for lane in self.lanes(lane_of):
            before = {place: earlier for earlier, place in pairwise(sorted({run.place for run in lane}))}
            for run in lane:
                earlier = before.get(run.place)
                if earlier is not None and settled.get(earlier, run.started_ns + 1) > run.started_ns:
                    yield Early(run, earlier)

    def overlaps(self, lane_of: Callable[[Run], Lane | None] = key_lane) -> Iterator[Overlap]:
        """Runs that began while another of their lane was under way, whoever owns them.

        A run that died with its process ended at an unknown time and overlaps nothing.
        """
        for lane in self.lanes(lane_of):
            last_end_ns, last = 0, lane[0]
            for run in lane:
                if run.started_ns < last_end_ns:
                    yield Overlap(run, last)
                if run.ended_ns is not None and run.ended_ns > last_end_ns:
                    last_end_ns, last = run.ended_ns, run

    def order_violations(self) -> list[str]:
        """What broke the order of a key, empty if nothing did: early runs and overlaps."""
        return [str(each) for each in (*self.early_runs(), *self.overlaps())]


def shown(places: Iterable[Place]) -> str:
    """A few of many places, for a failing assertion."""
    listed = sorted(places)
    return f"{len(listed)}: {listed[:SHOWN]}{' ...' if len(listed) > SHOWN else ''}"
