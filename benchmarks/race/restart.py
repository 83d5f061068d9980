"""The lap of a restart: a contender is killed at work and started again; the result is how many messages run twice.

Every message is written to a journal with its end, so what the killed process had finished is known. All clients have
a session of 6 s here, so that the group hands the partitions over soon.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from race.contenders import Contender
from race.environments import java_command
from race.lap_plan import LapPlan
from race.laps import Figures, LapFailedError, Runner, patience, running

SESSION: Final = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}
NEVER_SECONDS: Final = 600.0
LATER_SECONDS: Final = 2.5
SECOND_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.02

Done = list[tuple[int, int]]


def restart_lap(contender: Contender, plan: LapPlan, number: int, say: Callable[[str], None]) -> Figures:
    """Work for the plan's cap, kill, start again for 5 s; returns how many messages the second run repeats.

    Later rounds are killed later, because the number of repeated messages depends on how long ago the last commit was.
    """
    plan = replace(plan, cap_seconds=plan.cap_seconds + (number - 1) * LATER_SECONDS)
    with tempfile.TemporaryDirectory(prefix="race-") as folder:
        journals = [f"{folder}/{number}" for number in (1, 2)]
        first = _journaled(contender, plan, journals[0], say, seconds=plan.cap_seconds, is_killed=True)
        again = _journaled(contender, plan, journals[1], say, seconds=SECOND_SECONDS, is_killed=False)
    before = set(first)
    repeated = len(before & set(again))
    rate = len(before) / plan.cap_seconds
    return {
        "finished": len(before),
        "finished_again": len(again),
        "messages_per_second": rate,
        "repeated": repeated,
        "repeated_seconds": repeated / max(rate, 1e-9),
        "seconds": plan.cap_seconds + SECOND_SECONDS,
        "is_capped": 1.0,
    }


def _journaled(
    contender: Contender, plan: LapPlan, journal: str, say: Callable[[str], None], *, seconds: float, is_killed: bool
) -> Done:
    """Run until ``seconds`` after the first message; returns what the journal holds then."""
    is_java = contender.name == "java"
    settings = dict(plan.settings)
    client_settings = dict(plan.client_settings) | SESSION
    if is_java:
        settings["client"] = dict(settings["client"]) | SESSION
        client_settings = {}
    plan = replace(
        plan,
        journal=journal,
        cap_seconds=NEVER_SECONDS if is_killed else seconds,
        settings=settings,
        client_settings=client_settings,
    )
    command = java_command(say) if is_java else [*contender.command(say), plan.to_json()]
    with running(command, os.environ if is_java else contender.environment(), takes_plans=is_java) as runner:
        if is_java:
            runner.give(plan)
        if is_killed:
            _wait_for(journal, runner, plan)
            time.sleep(seconds)
            runner.kill()
        else:
            runner.figures(patience(plan))
    return [(int(one), int(two)) for one, two in (line.split() for line in Path(journal).read_text().splitlines())]


def _wait_for(journal: str, runner: Runner, plan: LapPlan) -> None:
    """Until the first message is finished."""
    deadline = time.monotonic() + plan.start_seconds
    while not (Path(journal).exists() and Path(journal).stat().st_size):
        if time.monotonic() > deadline or not runner.is_running:
            raise LapFailedError("nothing was finished before the kill")
        time.sleep(LOOK_SECONDS)
