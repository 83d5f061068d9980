"""The report of one run or several: Markdown and plots, made from the JSON alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from race.cases import CASES
from race.contenders import CONTENDERS
from race.plots import plot_latency, plot_rates
from race.report_notes import HOW, NOT_TO_CONCLUDE
from race.results import Lap, Results
from race.verdicts import CPU, RATE, Verdict, of, ours_in, ratio, spread, told, verdicts

REFERENCE: Final = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
FEWEST_ROUNDS: Final = 5
MARKS: Final = {True: "met", False: "**missed**", None: "not measured"}


def write_report(results: Results, folder: Path, *, is_reference: bool) -> Path:
    """Write the report into ``folder``; a reference report is copied to ``docs/benchmarks``, named by its day, too."""
    folder.mkdir(parents=True, exist_ok=True)
    started = str(results.about["started"])
    name = f"report-{started}"
    plots = _plots(results, folder, name)
    file = folder / f"{name}.md"
    file.write_text("\n".join(_lines(results, plots)) + "\n")
    if is_reference:
        file = _copied(file, plots, started)
    return file


def _copied(file: Path, plots: Sequence[Path], started: str) -> Path:
    REFERENCE.mkdir(parents=True, exist_ok=True)
    day = f"{datetime.strptime(started, '%Y%m%dT%H%M%SZ'):%Y-%m-%d}"  # noqa: DTZ007 -- a day of UTC, as it is named
    text = file.read_text()
    for plot in plots:
        kept = REFERENCE / plot.name.replace(file.stem, day)
        shutil.copyfile(plot, kept)
        text = text.replace(f"({plot.name})", f"({kept.name})")
    reference = REFERENCE / f"{day}.md"
    reference.write_text(text)
    return reference


def _plots(results: Results, folder: Path, name: str) -> list[Path]:
    groups = _groups(results)
    wanted = [
        ("no-work", plot_rates, groups["no work"], "No work: what the consumer itself costs"),
        ("waiting", plot_rates, groups["waiting"], "Waiting work"),
        ("computing", plot_rates, groups["computing"], "Computing work"),
        ("paced", plot_latency, groups["paced"], "Latency of what is sent at a pace"),
    ]
    made = []
    for plot, draw, cases, title in wanted:
        file = folder / f"{name}-{plot}.png"
        if draw(results, cases, title, file):
            made.append(file)
    return made


def _groups(results: Results) -> dict[str, list[str]]:
    order = [case.name for case in CASES if case.name in results.cases]
    order += [name for name in results.cases if name not in order]
    groups: dict[str, list[str]] = {"no work": [], "waiting": [], "computing": [], "paced": [], "restart": []}
    for name in order:
        about = results.cases[name]
        groups[_group(about)].append(name)
    return groups


def _group(about: dict[str, Any]) -> str:
    if about["is_restart"]:
        return "restart"
    if about["pace"] is not None:
        return "paced"
    return {"noop": "no work", "cpu": "computing"}.get(about["work"], "waiting")


def _lines(results: Results, plots: Sequence[Path]) -> Iterator[str]:
    started = datetime.strptime(results.about["started"], "%Y%m%dT%H%M%SZ")  # noqa: DTZ007 -- it says UTC
    yield f"# Pyrallel Consumer beside its peers, {started:%d %B %Y}"
    yield ""
    yield "Made by `benchmarks/run_parallel_benchmark.py --report`; every figure is computed from the laps of the run."
    yield ""
    yield from _about(results)
    yield from _targets(results)
    groups = _groups(results)
    for group, cases in groups.items():
        if not cases:
            continue
        yield f"## {group.capitalize()}"
        yield ""
        for plot in plots:
            if plot.stem.endswith(group.replace(" ", "-")):
                yield f"![{group}]({plot.name})"
                yield ""
        for case in cases:
            yield from (_restart_table(results, case) if group == "restart" else _case_table(results, case))
    yield from _variants(results)
    yield from _flaws(results)
    yield from HOW
    yield from NOT_TO_CONCLUDE


def _about(results: Results) -> Iterator[str]:
    machine, versions = results.about["machine"], results.about["versions"]
    loads = [lap.load for lap in results.laps if lap.round > 0]
    rounds = len({(lap.run, lap.round) for lap in results.laps if lap.round > 0})
    yield "| | |"
    yield "|---|---|"
    hardware = f"{machine['cores']} cores, {machine['processor']}, {machine['memory_gib']} GiB"
    yield f"| machine | {hardware}, {machine['system']} |"
    yield f"| broker | {results.about.get('broker', 'unknown')}, on the same machine |"
    yield f"| versions | {', '.join(f'{name} {version}' for name, version in versions.items())} |"
    yield f"| rounds | {rounds}, interleaved; the median is shown, lowest and highest behind it |"
    yield f"| load average as laps began | {told(spread(loads), '', 1)} |"
    for run in results.about["runs"]:
        yield f"| run | `{run['command']}`, {run['started']} to {run.get('finished', '?')} |"
    yield ""
    if rounds < FEWEST_ROUNDS:
        yield f"**Only {rounds} rounds: fewer than the {FEWEST_ROUNDS} that a reference report has.**"
        yield ""


def _targets(results: Results) -> Iterator[str]:
    yield "## Targets"
    yield ""
    yield "| target | wanted | measured | |"
    yield "|---|---|---|---|"
    for one in verdicts(results):
        yield _verdict_row(one)
    yield ""
    yield "What is missed, why, and where the time goes: *What misses, and why* in `benchmarks/REPORT.md`."
    yield ""


def _verdict_row(one: Verdict) -> str:
    return f"| {one.target} | {one.wanted} | {one.measured} | {MARKS[one.is_met]} |"


def _case_table(results: Results, case: str) -> Iterator[str]:
    about = results.cases[case]
    traffic, paced = about["traffic"], about["pace"] is not None
    latency = "intended_to_end" if paced else "delivery_to_end"
    ours = ours_in(case)
    settings = f"{traffic['messages']:,} messages, {about['partitions']} partitions, {about['value_bytes']:,} bytes"
    yield f"### {case}: {about['question']} ({settings})"
    yield ""
    start = "delivery to start, P99 ms" if paced else "CPU per message, µs"
    end = "intended to end" if paced else "delivery to end"
    yield f"| consumer | messages/s | ours / it | {end}, mean ms | P99 ms | {start} | |"
    yield "|---|---:|---:|---:|---:|---:|---|"
    for contender in CONTENDERS:
        name = contender.name
        rate = of(results, case, name, RATE)
        if rate is None:
            continue
        beside = ratio(results, case, ours, name)
        against = "" if name == ours or beside is None or paced else f"{told(beside)}x"
        mean, p99 = (of(results, case, name, f"{latency}_{which}_ms") for which in ("mean", "p99"))
        extra = of(results, case, name, "delivery_to_start_p99_ms" if paced else CPU)
        cells = [contender.title, "as sent" if paced else told(rate, "", 0), against]
        cells += [_short(mean), _short(p99), "" if name == "process" else _short(extra)]
        yield f"| {' | '.join(cells)} | {_note(results, case, name)} |"
    yield ""


def _restart_table(results: Results, case: str) -> Iterator[str]:
    yield f"### {case}: {results.cases[case]['question']}"
    yield ""
    yield "| consumer | finished before the kill | ran again after it | as seconds of its own work |"
    yield "|---|---:|---:|---:|"
    for contender in CONTENDERS:
        before = of(results, case, contender.name, "finished")
        if before is not None:
            again = of(results, case, contender.name, "repeated")
            seconds = of(results, case, contender.name, "repeated_seconds")
            yield f"| {contender.title} | {told(before, '', 0)} | {told(again, '', 0)} | {told(seconds, '', 2)} |"
    yield ""


def _short(found: Any) -> str:
    return "" if found is None else f"{found.median:,.2f}" if found.median < 100 else f"{found.median:,.0f}"


def _note(results: Results, case: str, name: str) -> str:
    laps = [lap for lap in results.laps if lap.case == case and lap.contender == name and lap.round > 0]
    notes = []
    capped = sum(bool(lap.figures and lap.figures["is_capped"]) for lap in laps)
    if capped:
        notes.append("stopped at the cap")
    failed = sum(lap.figures is None for lap in laps)
    if failed:
        notes.append(f"{failed} of {len(laps)} laps failed")
    if name in {"java", "pypi", "plain-tuned"}:
        notes.append(laps[-1].variant)
    return ", ".join(notes)


def _variants(results: Results) -> Iterator[str]:
    tried = [lap for lap in results.laps if lap.round == 0]
    if not tried:
        return
    yield "## Variants of the peers that were tried"
    yield ""
    yield "Each once, before the rounds; the best that keeps order by key ran in them, on all cases of the family."
    yield ""
    yield "| case | consumer | variant | messages/s | delivery to end, P99 ms |"
    yield "|---|---|---|---:|---:|"
    for lap in tried:
        yield f"| {lap.case} | {results.contenders[lap.contender]['title']} | {lap.variant} | {_trial(lap)} |"
    yield ""


def _trial(lap: Lap) -> str:
    if lap.figures is None:
        return "failed | "
    p99 = lap.figures.get("delivery_to_end_p99_ms")
    return f"{lap.figures[RATE]:,.0f} | {'' if p99 is None else f'{p99:,.1f}'}"


def _flaws(results: Results) -> Iterator[str]:
    broken = [lap for lap in results.laps if lap.error or lap.flaws]
    if not broken and not results.missing:
        return
    yield "## Left out, failed, flawed"
    yield ""
    for sentence in results.missing.values():
        yield f"- {sentence}"
    for lap in broken:
        where = "trial" if lap.round == 0 else f"round {lap.round}"
        title = results.contenders[lap.contender]["title"]
        yield f"- {lap.case}, {where}, {title}: {lap.error or '; '.join(lap.flaws)}"
    yield ""
