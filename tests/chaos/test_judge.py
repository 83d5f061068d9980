"""The judge of chaos runs finds violations, and excuses the ones that the run's own faults explain. Needs no broker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.judge import LOST, SECOND, UNWRITTEN, Evidence, Trouble, judge
from tests.kafka.history import History, Place, Run
from tests.kafka.told_records import Written

KEY = b"key"


def place(offset: int, topic: str = "work") -> Place:
    return (topic, 0, offset)


def run(offset: int, started: float, ended: float | None, owner: str = "m0.1", **more: Any) -> Run:
    """A run, with times in seconds; it finished, unless it has no end."""
    values = {"key": KEY, "value": b"work-%d" % offset, "end": None if ended is None else "finished"} | more
    ended_ns = None if ended is None else int(ended * SECOND)
    return Run(owner, place(offset), started_ns=int(started * SECOND), ended_ns=ended_ns, **values)


def trouble(kind: str, member: str | None, since: float, until: float | None = None, **more: Any) -> Trouble:
    return Trouble(kind, member, int(since * SECOND), int((since if until is None else until) * SECOND), **more)


CALM = [run(0, 10, 11), run(1, 12, 13), run(2, 14, 15)]


def evidence(runs: Sequence[Run], troubles: Sequence[Trouble] = (), **more: Any) -> Evidence:
    values: dict[str, Any] = {
        "records": {place(offset): (KEY, b"work-%d" % offset) for offset in range(3)},
        "history": History(runs),
        "letters": [],
        "sightings": [],
        "committed": {("work", 0): 3},
        "ends": {("work", 0): 3},
        "troubles": troubles,
        "engine": "async",
        "is_classic": False,
        "session_seconds": 6.0,
        "commit_seconds": 0.2,
    } | more
    return Evidence(**values)


def names(of: Evidence) -> set[str]:
    return {finding.partition(":")[0] for finding in judge(of).findings}


def test_a_calm_run_is_clean() -> None:
    assert judge(evidence(CALM)).findings == []


def test_what_is_missing_is_found() -> None:
    assert names(evidence(CALM[:2])) == {"AtLeastOnce", "EveryMessageAccountedFor"}
    assert names(evidence([])) == {"AtLeastOnce"}
    assert names(evidence(CALM, committed={("work", 0): 2})) == {"CommitNeverAhead"}


def test_what_is_written_twice_or_not_at_all_is_found_where_it_was_to_be_written_once() -> None:
    written = [Written(place(offset), KEY, 0) for offset in range(3)]

    assert names(evidence(CALM, written=written, written_topic="work")) == set()
    assert names(evidence(CALM, written=written[:2], written_topic="work")) == {"ExactlyOnce"}
    assert names(evidence(CALM, written=[*written, written[2]], written_topic="work")) == {"ExactlyOnce"}
    assert names(evidence(CALM, written=[], written_topic="another")) == set()


def test_what_is_out_of_order_is_found() -> None:
    assert names(evidence([CALM[0], run(2, 12, 13, "m1.1"), run(1, 14, 15)])) == {"OrderPerKey"}


AGAIN = [*CALM, run(2, 20, 21, "m1.1")]


@pytest.mark.parametrize(
    ("of", "troubles"),
    [
        ({}, [trouble("kill", "m0.1", 16)]),
        ({}, [trouble("kill", "m0.1", 15.5), trouble("kill", "m1.1", 30)]),
        ({}, [trouble("freeze", "m0.1", 14.5, 22)]),
        ({}, [trouble("cut", "m0.1", 9, 12)]),
        ({}, [trouble("broker away", None, 16, 18)]),
        ({}, [trouble("offsets reset", None, 16, 18, rewound=place(1))]),
        ({"is_classic": True}, [trouble("kill", "m2.1", 10)]),
        ({"engine": "process"}, [trouble("child killed", "m0.1", 15.5)]),
        ({}, [trouble(LOST, "m0.1", 12, 18)]),
        ({}, [trouble(UNWRITTEN, "m0.1", 15.5, 16)]),
    ],
    ids=[
        "kill",
        "kill, another later",
        "freeze",
        "cut",
        "broker",
        "reset",
        "another's kill, classic",
        "child",
        "lost",
        "unwritten",
    ],
)
def test_a_repetition_is_excused_by_a_trouble_that_kept_its_commit_away(
    of: dict[str, Any], troubles: list[Trouble]
) -> None:
    verdict = judge(evidence(AGAIN, troubles, **of))

    assert verdict.findings == []
    assert verdict.again.total() == 1


@pytest.mark.parametrize(
    "troubles",
    [
        [],
        [trouble("kill", "m1.1", 15.1)],
        [trouble("kill", "m0.1", 18)],
        [trouble("kill", "m0.1", 12)],
        [trouble("kill", "m0.1", 20.5)],
        [trouble("broker away", None, 2, 6)],
        [trouble("offsets reset", None, 16, 18, rewound=("work", 1, 0))],
        [trouble("offsets reset", None, 16, 18, rewound=place(3))],
        [trouble("topic made anew", None, 14, 16, topic="anew")],
        [trouble("freeze", "m1.1", 10, 18)],
    ],
    ids=[
        "none",
        "of the member that ran it again",
        "too late",
        "over before",
        "after it ran again",
        "of the broker, long over",
        "another partition was set back",
        "set back to a later offset",
        "another topic was made anew",
        "of a zombie that was thawed long before",
    ],
)
def test_a_repetition_that_no_trouble_explains_is_found(troubles: list[Trouble]) -> None:
    assert names(evidence(AGAIN, troubles)) == {"Repetition"}


def test_a_frozen_member_may_begin_one_message_for_each_of_its_workers_and_no_more() -> None:
    zombie = [run(offset, 20.1 + offset / 100, 20.105 + offset / 100, "m1.1") for offset in range(3)]
    frozen = [trouble("freeze", "m1.1", 11, 20)]

    assert judge(evidence([*CALM, zombie[0]], frozen)).findings == []
    assert len(judge(evidence([*CALM, *zombie], frozen)).findings) == 2
    assert judge(evidence([*CALM, *zombie], frozen, workers=3)).findings == []


def test_a_thread_that_outlasted_the_grace_may_have_run_for_nothing() -> None:
    long_run = [*CALM[:2], run(2, 14, 17), run(2, 18, 21, "m1.1")]

    assert judge(evidence(long_run, engine="thread")).findings == []
    assert names(evidence(long_run)) == {"Repetition"}


FROZEN_RUN = run(0, 10, 30, "m1.1")


@pytest.mark.parametrize(
    ("of", "troubles", "is_excused"),
    [
        ({}, [], False),
        ({}, [trouble("freeze", "m1.1", 10.5, 29)], True),
        ({}, [trouble("freeze", "m1.1", 9, 29)], False),
        ({}, [trouble("freeze", "m0.1", 10.5, 29)], False),
        ({}, [trouble("half-open", "m1.1", 9, 29)], True),
        ({"engine": "thread"}, [], True),
        ({"engine": "process"}, [], False),
    ],
)
def test_an_overlap_is_excused_where_the_first_run_could_not_be_ended(
    of: dict[str, Any], troubles: list[Trouble], is_excused: bool
) -> None:
    overlapping = [FROZEN_RUN, run(0, 20, 21), run(1, 31, 32), run(2, 33, 34)]

    assert names(evidence(overlapping, troubles, **of)) == (set() if is_excused else {"NoOverlapPerKey"})


def test_of_a_topic_that_was_made_anew_the_latest_log_must_be_whole_and_each_log_in_order() -> None:
    records = {place(offset, "anew"): (KEY, b"anew2-%d" % offset) for offset in range(2)}

    def ran(making: int, offset: int, started: float) -> Run:
        first = run(offset, started, started + 0.5, value=b"anew%d-%d" % (making, offset))
        return replace(first, place=place(offset, "anew"))

    def of(runs: Sequence[Run]) -> Evidence:
        ends = {("anew", 0): 2}
        return evidence(runs, records=records, committed=ends, ends=ends, unstable_topics=frozenset({"anew"}))

    old, new = [ran(1, 0, 1), ran(1, 1, 2), ran(1, 2, 3)], [ran(2, 0, 11), ran(2, 1, 12)]
    assert judge(of([*old, *new])).findings == []
    assert judge(of([*old[1:], *new])).findings == []
    assert "AtLeastOnce" in names(of([*old, *new[:1]]))
    assert names(of([old[1], replace(old[0], started_ns=5 * SECOND, ended_ns=6 * SECOND), *new])) == {"OrderPerKey"}


def test_a_last_attempt_that_died_with_its_process_is_settled_by_its_letter() -> None:
    died = [replace(run(1, 12, None), attempt=attempt) for attempt in (1, 2, 3)]
    runs = [CALM[0], *died, CALM[2]]

    assert judge(evidence(runs, letters=[(place(1), b"work-1")])).findings == []
    assert "AtLeastOnce" in names(evidence(runs))
