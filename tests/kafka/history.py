"""What workers did, whoever they belonged to, and the questions the guarantees ask of it.

Knows nothing of Kafka and of the library: runs with their places, times and ends. Times are of one machine's monotonic
clock, so runs of different processes compare.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

Place = tuple[str, int, int]
"""Topic, partition, offset."""

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

    @property
    def is_finished(self) -> bool:
        return self.end == "finished"


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

    def order_violations(self) -> list[str]:
        """What broke the order of a key, empty if nothing did; messages without a key have no order.

        Within a key of a partition no two runs overlap, whoever owns them, and none begins before the message before it
        was finished once. A run that died with its process ended at an unknown time and overlaps nothing.
        """
        lanes: dict[tuple[str, int, bytes], list[Run]] = defaultdict(list)
        for run in self.runs:
            if run.key is not None:
                topic, partition, _ = run.place
                lanes[topic, partition, run.key].append(run)
        return [line for lane in lanes.values() for line in _violations_of(lane)]


def _violations_of(lane: list[Run]) -> Iterator[str]:
    offsets = sorted({run.place[2] for run in lane})
    before = dict(pairwise([-1, *offsets]))
    predecessor = {offset: earlier for earlier, offset in before.items()}
    finished_ns: dict[int, int] = {}
    for run in lane:
        if run.is_finished and run.ended_ns is not None:
            known = finished_ns.get(run.place[2])
            finished_ns[run.place[2]] = run.ended_ns if known is None else min(known, run.ended_ns)
    last_end_ns, last = 0, lane[0]
    for run in lane:
        earlier = predecessor[run.place[2]]
        if earlier >= 0 and finished_ns.get(earlier, run.started_ns + 1) > run.started_ns:
            yield f"{run.owner} began {run.place} before offset {earlier} of key {run.key!r} was finished"
        if run.started_ns < last_end_ns:
            yield f"{run.owner} began {run.place} while {last.owner} ran {last.place}, both of key {run.key!r}"
        if run.ended_ns is not None and run.ended_ns > last_end_ns:
            last_end_ns, last = run.ended_ns, run


def shown(places: Iterable[Place]) -> str:
    """A few of many places, for a failing assertion."""
    listed = sorted(places)
    return f"{len(listed)}: {listed[:SHOWN]}{' ...' if len(listed) > SHOWN else ''}"
