"""Each checker of the guarantees passes a good ledger and finds a planted violation. Needs no broker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.kafka.guarantees import GUARANTEES, ExactlyOnce, broken
from tests.kafka.history import History, Place, Run
from tests.kafka.ledger import Ledger, Sighting
from tests.kafka.told_records import Written

MAX_ATTEMPTS = 2


def at(offset: int) -> Place:
    return ("t", 0, offset)


def key_of(offset: int) -> bytes | None:
    return {3: None, 4: b"poison"}.get(offset, b"k")


def value_of(offset: int) -> bytes:
    return b"%d" % offset


def run(offset: int, started_ns: int, ended_ns: int | None, end: str | None = "finished", **more: Any) -> Run:
    values = {"owner": "a", "key": key_of(offset), "value": value_of(offset)} | more
    return Run(place=at(offset), started_ns=started_ns, ended_ns=ended_ns, end=end, **values)


FIRST, FAILED, AGAIN, LAST = run(0, 10, 20), run(1, 30, 40, "failed"), run(1, 50, 60, attempt=2), run(2, 70, 80)
KEYLESS = run(3, 5, 75)
POISON = [run(4, 10, 20, "failed"), run(4, 30, 40, "failed", attempt=2)]
RUNS = [FIRST, FAILED, AGAIN, LAST, KEYLESS, *POISON]
GOOD = Ledger(
    records={at(offset): (key_of(offset), value_of(offset)) for offset in range(5)},
    history=History(RUNS),
    sightings=[
        Sighting(25, ("t", 0), 1, 1),
        Sighting(65, ("t", 0), 2, 5, frozenset({2, 3})),
        Sighting(90, ("t", 0), 5, 5),
    ],
    committed={("t", 0): 5},
    ends={("t", 0): 5},
    letters=[at(4)],
    max_attempts=MAX_ATTEMPTS,
)


def with_runs(*runs: Run, without: tuple[Run, ...] = ()) -> Callable[[Ledger], Ledger]:
    kept = [each for each in RUNS if each not in without]
    return lambda ledger: replace(ledger, history=History([*kept, *runs]))


def changed(**values: Any) -> Callable[[Ledger], Ledger]:
    return lambda ledger: replace(ledger, **values)


PLANTED: list[tuple[str, Callable[[Ledger], Ledger], set[str]]] = [
    (
        "a message that nobody ran",
        with_runs(without=(KEYLESS,)),
        {"AtLeastOnce", "CommitNeverAhead", "EveryMessageAccountedFor"},
    ),
    (
        "a message whose only run died with its process",
        with_runs(run(2, 70, None, None), without=(LAST,)),
        {"AtLeastOnce", "CommitNeverAhead", "EveryMessageAccountedFor"},
    ),
    (
        "a message that was given up before its last attempt",
        with_runs(without=(POISON[1],)),
        {"AtLeastOnce", "CommitNeverAhead"},
    ),
    ("a letter that was not sent", changed(letters=[]), {"EveryMessageAccountedFor"}),
    ("a letter of a message that finished", changed(letters=[at(4), at(2)]), {"EveryMessageAccountedFor"}),
    ("a letter that was sent twice", changed(letters=[at(4), at(4)]), {"NothingTwiceWhenGraceful"}),
    ("a letter of a message that never was", changed(letters=[at(4), at(9)]), {"EveryMessageAccountedFor"}),
    (
        "a message that began before its predecessor's second attempt",
        with_runs(run(2, 45, 48), without=(LAST,)),
        {"OrderPerKey"},
    ),
    (
        "a message that another member began while its predecessor ran",
        with_runs(run(2, 55, 80, owner="b"), without=(LAST,)),
        {"OrderPerKey", "NoOverlapPerKey"},
    ),
    (
        "a message that another member ran again while its successor ran",
        with_runs(run(0, 75, 78, owner="b")),
        {"NoOverlapPerKey", "NothingTwiceWhenGraceful"},
    ),
    ("a message that ran again", with_runs(run(0, 85, 88, owner="b")), {"NothingTwiceWhenGraceful"}),
    ("a commit that came too early", changed(sightings=[Sighting(15, ("t", 0), 1, 1)]), {"CommitNeverAhead"}),
    (
        "a commit whose map tells of a message that had only failed",
        changed(sightings=[Sighting(45, ("t", 0), 1, 2)]),
        {"CommitNeverAhead"},
    ),
    ("a last commit below the end", changed(committed={("t", 0): 4}), {"CommitNeverAhead"}),
    ("no commit at all", changed(committed={}), {"CommitNeverAhead"}),
    (
        "a worker that was given another message's value",
        with_runs(replace(LAST, value=b"1"), without=(LAST,)),
        {"EveryMessageAccountedFor"},
    ),
    (
        "a run of a message that never was",
        with_runs(run(9, 90, 95)),
        {"EveryMessageAccountedFor"},
    ),
]


def test_a_good_ledger_keeps_every_guarantee() -> None:
    assert broken(GOOD) == {}


@pytest.mark.parametrize(("plant", "names"), [each[1:] for each in PLANTED], ids=[each[0] for each in PLANTED])
def test_what_was_planted_is_found_by_the_guarantees_that_it_breaks_and_by_no_other(
    plant: Callable[[Ledger], Ledger], names: set[str]
) -> None:
    assert set(broken(plant(GOOD))) == names


def test_something_was_planted_for_each_guarantee() -> None:
    assert set().union(*(names for _, _, names in PLANTED)) == {type(each).__name__ for each in GUARANTEES}


WRITTEN = [Written(at(0), b"k", 0), Written(at(3), None, 1), Written(at(1), b"k", 0), Written(at(2), b"k", 0)]


@pytest.mark.parametrize(
    ("written", "letters", "is_kept"),
    [
        (WRITTEN, [at(4)], True),
        (WRITTEN[:-1], [at(4)], False),
        ([*WRITTEN, WRITTEN[1]], [at(4)], False),
        (WRITTEN, [at(4), at(4)], False),
        (WRITTEN, [at(4), at(0)], False),
        (WRITTEN, [], False),
        ([*WRITTEN, Written(at(9), b"k", 0)], [at(4)], False),
        ([WRITTEN[3], *WRITTEN[:3]], [at(4)], False),
    ],
)
def test_what_a_reader_of_committed_records_finds_is_counted_and_must_be_in_the_order_of_keys(
    written: list[Written], letters: list[Place], is_kept: bool
) -> None:
    found = broken(replace(GOOD, written=written, letters=letters), (ExactlyOnce(),))

    assert (found == {}) is is_kept


@pytest.mark.parametrize(
    ("ordering", "names"),
    [("key_hash", set()), ("unordered", set()), ("partition", {"OrderPerKey", "NoOverlapPerKey"})],
)
def test_what_counts_as_order_is_the_ordering_mode_s(ordering: str, names: set[str]) -> None:
    assert set(broken(replace(GOOD, ordering=ordering))) == names


def test_unordered_messages_may_begin_and_overlap_as_they_like() -> None:
    unordered = with_runs(run(2, 15, 80), without=(LAST,))(replace(GOOD, ordering="unordered"))

    assert broken(unordered) == {}
    assert set(broken(replace(unordered, ordering="key_hash"))) == {"OrderPerKey", "NoOverlapPerKey"}


def test_of_many_violations_a_few_are_told_and_the_rest_is_counted() -> None:
    told = broken(replace(GOOD, history=History([]), records={at(offset): (None, b"") for offset in range(9)}))

    assert len(told["AtLeastOnce"]) == 6
    assert told["AtLeastOnce"][-1] == "and 4 more"
