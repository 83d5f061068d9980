"""The real control plane through 300 seeds of faults and 100 with batches; `make simulate` runs more, or one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.runner import run_seed
from tests.simulation.scenario import FIRST_BATCH_SEED

SEEDS = 300
SEEDS_PER_TEST = 20


PAUSES_IN_ONE_TICK = 70_009
"""The first seed in which two partitions are paused in one tick, and their order matters."""

MEASURED_SEEDS = 40
"""These reach branches that unit tests reach by chance only."""
FIRST_SEEDS = [
    *(pytest.param(first, marks=pytest.mark.measured) for first in range(0, MEASURED_SEEDS, SEEDS_PER_TEST)),
    *range(MEASURED_SEEDS, SEEDS, SEEDS_PER_TEST),
    *range(FIRST_BATCH_SEED, FIRST_BATCH_SEED + 100, SEEDS_PER_TEST),
]

SEEDS_THAT_FAILED = {
    "a limit per second makes a long drain": 50_075,
    "no probe starts until a commit is confirmed": 50_201,
    "nothing is read of an empty log, so nothing is committed": 51_309,
    "in the order of a partition nothing overtakes a poisoned message, and it overtakes nothing": 52_718,
    "a loop that is blocked twice is blocked until both end": 99_252,
    "with a limit per second, a message that might not fit is not read": 99_753,
    "a message that waits for its batch is not joined to another while its partition is revoked": 100_911,
    "two tickets of one offset do not stop the consumer": 70_587,
    "a message of a poisoned key is no probe that is waited for": 109_941,
    "a commit past holes alone carries the leader epoch of the position": 82_212,
    "a probe's wait begins when it starts, however long the last tick is ago": 50_360,
}


@pytest.mark.parametrize("first", FIRST_SEEDS)
def test_every_rule_holds_after_every_step_and_all_drains_when_faults_end(first: int) -> None:
    worlds = [run_seed(seed) for seed in range(first, first + SEEDS_PER_TEST)]

    assert sum(world.scene.truth.attempts for world in worlds) > SEEDS_PER_TEST * 10


@pytest.mark.parametrize("why", SEEDS_THAT_FAILED)
def test_a_seed_that_failed_once_does_not_fail_again(why: str) -> None:
    run_seed(SEEDS_THAT_FAILED[why])


@pytest.mark.parametrize("seed", [3, PAUSES_IN_ONE_TICK])
def test_a_seed_replays_to_the_letter_in_another_process(seed: int) -> None:
    told = [_replay(seed, hash_seed) for hash_seed in ("1", "4")]

    assert told[0] == told[1]
    assert len(told[0]) > 200


def _replay(seed: int, hash_seed: str) -> list[str]:
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--seeds", "4", "--verbose"]
    replayed = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
    )
    return replayed.stdout.splitlines()[:-1]  # The last line tells the seconds.


def test_the_faults_happen_that_the_rules_speak_of() -> None:
    missing = {
        "Notice(kind='lost'",
        "Notice(kind='revoke'",
        "is truncated",
        "has a new leader",
        " begins at ",
        " dies",
        " stops",
        "TOO_LARGE",
        "UNKNOWN_MEMBER_ID",
        "RetryAt",
        "Exhausted",
        "Uncharged",
        "_TIMED_OUT",
        "the outage ends",
        "the circuit opens",
        "the circuit closes",
        "condemned",
        "is frozen for",
        "ended died",
        "hangs for",
        "is cut off for",
        "has been silent for",
        " is away",
    }
    repeated = 0
    for seed in range(SEEDS):
        diary: list[str] = []
        repeated += run_seed(seed, diary=diary).scene.truth.repeated
        told = "\n".join(diary)
        missing = {sign for sign in missing if sign not in told}
        if not missing and repeated:
            break

    assert missing == set()
    assert repeated > 0
