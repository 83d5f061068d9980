"""One chaos run from its seed to its verdict. What a run that was not clean leaves lies in ``build/chaos``."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, NamedTuple

from tests.chaos.conductor import Conductor, Outcome
from tests.chaos.judge import LOST, Verdict, judge
from tests.chaos.log_excerpt import excerpts
from tests.chaos.plan import Step, as_json, make_plan
from tests.kafka_jars import ROOT

ENGINES: Final = ("async", "thread", "process", "process-async")
"""The engines; the last one is worker processes that run coroutines."""
PROTOCOLS: Final = ("auto", "consumer", "classic", "eager", "consumer-static", "classic-static")
AT_LEAST_ONCE: Final = "at_least_once"
EXACTLY_ONCE: Final = "exactly_once"
OUTPUTS: Final = (AT_LEAST_ONCE, EXACTLY_ONCE)
"""With the last one each message of ``work`` has a record, and they are read as they were committed."""
RUNS: Final = ROOT / "build" / "chaos"
SHOWN: Final = 20
BUSY_LOAD_PER_CORE: Final = 2.0


class Result(NamedTuple):
    """``text`` is for people: what was done, what was excused, what was found, and where the evidence lies."""

    is_clean: bool
    text: str


def chaos_run(
    seed: int,
    minutes: float,
    *,
    engine: str = "async",
    protocol: str = "auto",
    brokers: int = 1,
    output: str = AT_LEAST_ONCE,
    plan: Sequence[Step] | None = None,
    report: Callable[[str], None] = lambda _line: None,
) -> Result:
    """Draws the schedule of the seed (or takes ``plan``), carries it out and judges it."""
    is_once = output == EXACTLY_ONCE
    steps = list(plan or make_plan(seed, minutes * 60, engine=engine, brokers=brokers, is_once=is_once))
    folder = RUNS / f"{engine}-{protocol}-{brokers}-{seed}{'-once' if is_once else ''}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "plan.jsonl").write_text(as_json(steps))
    title = f"seed {seed}, {minutes:g} minutes, {engine}, {protocol}, {brokers} broker{'s' if brokers > 1 else ''}"
    if is_once:
        title += ", exactly once"
    report(f"Chaos: {title}")
    outcome = Conductor(folder, seed, engine, protocol, brokers, is_once=is_once).run(steps, report)
    verdict = judge(outcome.evidence)
    findings = [*verdict.findings, *_other_findings(outcome, verdict.again)]
    text = "\n".join([f"Chaos: {title}", *_told(outcome, verdict), *_findings_told(findings, folder, seed)])
    if findings:
        _keep(folder, outcome, text)
    else:
        shutil.rmtree(folder)
    return Result(not findings, text)


def _other_findings(outcome: Outcome, again: Counter[str]) -> list[str]:
    """Findings that the judge cannot see. Sessions that end by themselves are excused if the machine was overloaded."""
    troubles = outcome.evidence.troubles
    away = {trouble.kind for trouble in troubles} & {"broker away", "unclean election", "cut", "half-open"}
    exits = [] if away else [f"Exit: {name} ended with {code}" for code, name in outcome.odd_exits]
    is_calm = outcome.load_per_core < BUSY_LOAD_PER_CORE
    losses = (
        [f"Loss: {again[LOST]} messages ran again after a loss that nothing explains"]
        if is_calm and again[LOST]
        else []
    )
    return [*losses, *exits, *outcome.failed_steps, *([f"Stuck: {outcome.stuck}"] if outcome.stuck else [])]


def _told(outcome: Outcome, verdict: Verdict) -> list[str]:
    size = (
        f"  messages {verdict.messages}, runs {verdict.runs}, dead letters {len(outcome.evidence.letters)}, "
        f"commits seen {len(outcome.evidence.sightings)}, "
        f"never acknowledged {outcome.unsent}, load per core {outcome.load_per_core:.1f}"
    )
    return [
        size,
        f"  steps: {_counts(outcome.steps)}",
        f"  run again, excused: {_counts(verdict.again)}",
        f"  overlaps, excused: {_counts(verdict.overlaps)}",
        f"  exits: {outcome.odd_exits or 'all in order'}",
        *[f"  Kafka's own fault: {fault}" for fault in outcome.kafka_faults],
    ]


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common()) or "none"


def _findings_told(findings: list[str], folder: Path, seed: int) -> list[str]:
    if not findings:
        return ["  clean"]
    said = [f"  {len(findings)} FINDINGS, seed {seed}, schedule, journals and logs in {folder}:"]
    said += [f"    {each}" for each in findings[:SHOWN]]
    if len(findings) > SHOWN:
        said.append(f"    and {len(findings) - SHOWN} more")
    return [*said, *excerpts(folder, findings)]


def _keep(folder: Path, outcome: Outcome, text: str) -> None:
    (folder / "verdict.txt").write_text(text + "\n")
    troubles = outcome.evidence.troubles
    (folder / "troubles.txt").write_text("".join(f"{asdict(trouble)}\n" for trouble in troubles))
