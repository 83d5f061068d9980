"""What the library promises, each promise a checker over one ledger. Knows nothing of Kafka and of the library.

A checker yields one sentence for each violation. Every engine, ordering mode, protocol and kind of membership must keep
all of ``GUARANTEES``; a run with faults keeps all but the last, whose repetitions it explains one by one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from tests.kafka.history import Lane, Place, Run, key_lane, partition_lane
from tests.kafka.ledger import Ledger, Partition


def no_lane(run: Run) -> Lane | None:
    """No message is in order with another."""
    del run
    return None


LANES: Final[dict[str, Callable[[Run], Lane | None]]] = {
    "key_hash": key_lane,
    "partition": partition_lane,
    "unordered": no_lane,
}
"""What an ordering mode keeps in order."""


class Guarantee(ABC):
    """One promise. A subclass's docstring is the promise in words."""

    @abstractmethod
    def violations(self, ledger: Ledger) -> Iterator[str]:
        """Where the ledger breaks it."""


class AtLeastOnce(Guarantee):
    """Each message was handled to its end at least once: a run of it finished, or failed its last attempt."""

    def violations(self, ledger: Ledger) -> Iterator[str]:
        settled = ledger.history.settled_ns(ledger.max_attempts)
        for place in sorted(set(ledger.records) - set(settled)):
            yield f"{place} was never handled to its end"


class OrderPerKey(Guarantee):
    """No message began before the earlier message of its order was settled."""

    def violations(self, ledger: Ledger) -> Iterator[str]:
        yield from map(str, ledger.history.early_runs(LANES[ledger.ordering], ledger.max_attempts))


class NoOverlapPerKey(Guarantee):
    """No two messages of one order ran at once, whichever member ran them."""

    def violations(self, ledger: Ledger) -> Iterator[str]:
        yield from map(str, ledger.history.overlaps(LANES[ledger.ordering]))


class CommitNeverAhead(Guarantee):
    """When a commit says that a message is done, it is; and the last commit is at the end of the log."""

    def violations(self, ledger: Ledger) -> Iterator[str]:
        settled = ledger.history.settled_ns(ledger.max_attempts)
        doubtful: dict[Partition, set[Place]] = defaultdict(set)
        for place in ledger.records:
            doubtful[place[:2]].add(place)
        for seen in sorted(ledger.sightings, key=lambda each: each.at_ns):
            covered = {place for place in doubtful[seen.partition] if seen.covers(place)}
            doubtful[seen.partition] -= covered  # what is settled once stays so
            for place in sorted(covered):
                if settled.get(place, seen.at_ns + 1) > seen.at_ns:
                    yield f"a commit of {seen.offset} with a map up to {seen.top} says {place} is done, too early"
        for partition, end in ledger.ends.items():
            committed = ledger.committed.get(partition)
            if end and committed != end:
                yield f"the last commit of {partition} is {committed}, and its log ends at {end}"


class NothingTwiceWhenGraceful(Guarantee):
    """While members come and go in order, no message runs again that had been settled, and no letter is sent twice."""

    def violations(self, ledger: Ledger) -> Iterator[str]:
        settled = ledger.history.settled_ns(ledger.max_attempts)
        for run in ledger.history:
            if run.started_ns >= settled.get(run.place, run.started_ns + 1):
                yield f"{run.owner} ran {run.place} again, which had been settled"
        for place, count in Counter(ledger.letters).items():
            if count > 1:
                yield f"{count} dead letters tell of {place}"


class EveryMessageAccountedFor(Guarantee):
    """Each message of the log has one outcome, finished or dead-lettered, and no other message has any.

    ``only_one``: not both. Where a letter is written and the process is killed before the commit, both may come.
    """

    def __init__(self, *, only_one: bool = True) -> None:
        self._only_one = only_one

    def violations(self, ledger: Ledger) -> Iterator[str]:
        finished, letters = ledger.history.finished, set(ledger.letters)
        runs: dict[Place, list[Run]] = defaultdict(list)
        for run in ledger.history:
            runs[run.place].append(run)
        for place, (key, value) in sorted(ledger.records.items()):
            if place not in finished and place not in letters:
                yield f"{place} was neither finished nor dead-lettered"
            elif self._only_one and place in finished and place in letters:
                yield f"{place} was both finished and dead-lettered"
            for run in runs[place]:
                if (run.key, run.value) != (key, value):
                    yield f"{run.owner} was given {(run.key, run.value)} for {place}, which holds {(key, value)}"
        for place in sorted((ledger.history.started | letters) - set(ledger.records)):
            yield f"{place} is not in the log, and was run or dead-lettered"


class ExactlyOnce(Guarantee):
    """Each message has one outcome for a reader of committed records, its record or its letter; keys are in order."""

    def violations(self, ledger: Ledger) -> Iterator[str]:
        written, letters = Counter(each.place for each in ledger.written), Counter(ledger.letters)
        for place in sorted(ledger.records):
            if written[place] + letters[place] != 1:
                at = [(each.partition, each.offset) for each in ledger.written if each.place == place]
                yield f"{place} has {written[place]} records and {letters[place]} dead letters, not one of them; {at}"
        for place in sorted((set(written) | set(letters)) - set(ledger.records)):
            yield f"a record or a letter tells of {place}, which is not in the log"
        latest: dict[tuple[Partition, bytes, int], int] = {}
        for each in ledger.written:
            if each.key is not None:
                lane = each.place[:2], each.key, each.partition
                if each.place[2] < latest.get(lane, -1):
                    yield f"the record of {each.place} of key {each.key!r} is written after that of {latest[lane]}"
                latest[lane] = each.place[2]


GUARANTEES: Final[tuple[Guarantee, ...]] = (
    AtLeastOnce(),
    OrderPerKey(),
    NoOverlapPerKey(),
    CommitNeverAhead(),
    EveryMessageAccountedFor(),
    NothingTwiceWhenGraceful(),
)

SHOWN = 5


def broken(ledger: Ledger, guarantees: tuple[Guarantee, ...] = GUARANTEES) -> dict[str, list[str]]:
    """The violations of each guarantee that the ledger breaks, the first few of each; empty where it keeps them all."""
    found: dict[str, list[str]] = {}
    for guarantee in guarantees:
        violations = list(guarantee.violations(ledger))
        if violations:
            more = [f"and {len(violations) - SHOWN} more"] if len(violations) > SHOWN else []
            found[type(guarantee).__name__] = [*violations[:SHOWN], *more]
    return found
