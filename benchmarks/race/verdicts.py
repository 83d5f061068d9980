"""The targets, computed from the rounds: a figure of every round, and its median is judged."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from race.results import Results
from race.scraper import USUAL_SECONDS

RATE: Final = "messages_per_second"
CPU: Final = "cpu_us_per_message"
WITH_METRICS: Final = ("noop", "wait-5-ms", "wait-5-ms-5000-keys")


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, lowest and highest, and the number of rounds."""

    median: float
    lowest: float
    highest: float
    rounds: int

    def mapped(self, change: Callable[[float], float]) -> Spread:
        """The same in another unit; ``change`` must rise."""
        return Spread(change(self.median), change(self.lowest), change(self.highest), self.rounds)


@dataclass(frozen=True, slots=True)
class Pair:
    """The rate of ``one`` divided by the rate of ``other``, in one case."""

    case: str
    one: str
    other: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """``is_met`` is None where the figures to judge it by are missing."""

    target: str
    wanted: str
    measured: str
    is_met: bool | None


def spread(values: list[float]) -> Spread | None:
    """None where there are no values."""
    return Spread(median(values), min(values), max(values), len(values)) if values else None


def of(results: Results, case: str, contender: str, figure: str) -> Spread | None:
    """A figure of one contender over the rounds."""
    return spread([one[figure] for one in results.figures(case, contender) if figure in one])


def ratio(results: Results, case: str, one: str, other: str, figure: str = RATE) -> Spread | None:
    """For each round, the figure of ``one`` divided by the figure of ``other``."""
    by_round = {name: _by_round(results, case, name) for name in (one, other)}
    shared = sorted(by_round[one].keys() & by_round[other].keys())
    pairs = [(by_round[one][at].get(figure), by_round[other][at].get(figure)) for at in shared]
    return spread([mine / theirs for mine, theirs in pairs if mine is not None and theirs])


def verdicts(results: Results) -> list[Verdict]:
    """Of every target, in the order of the issue that set them."""
    cores = results.about["machine"]["cores"] or os.cpu_count() or 1
    against_bare = {"wait-5-ms": 0.97, "wait-5-ms-5000-keys": 0.85}
    return [
        _at_least(results, "no work, by key, against Java", Pair("noop", "async", "java"), 6.0, unit="x"),
        _at_least(results, "the same on Python 3.11", Pair("noop", "async-3.11", "java"), 3.0, unit="x"),
        _at_least(results, "no work, against PyPI's 1.0.0", Pair("noop", "async", "pypi"), 50.0, unit="x"),
        _at_least(results, "no work, of the tuned plain loop, asyncio", Pair("noop", "async", "plain-tuned"), 0.30),
        _at_least(results, "the same, uvloop", Pair("noop", "async-uvloop", "plain-tuned"), 0.40),
        *(
            _at_least(results, f"{results.question(case)}: of bare lanes", Pair(case, "async", "lanes"), least)
            for case, least in against_bare.items()
        ),
        _at_least(results, "the same, against Java", Pair("wait-5-ms-5000-keys", "async", "java"), 5.0, unit="x"),
        _ahead_everywhere(results),
        _at_least(
            results, f"sha256, of {cores} x the sequential loop", Pair("cpu", "process", "plain"), 0.9, scale=1 / cores
        ),
        _light_load(results),
        *(_metrics(results, case) for case in WITH_METRICS),
    ]


def ours_in(case: str) -> str:
    """The engine that fits the case."""
    return "process" if case == "cpu" else "async"


def told(found: Spread | None, unit: str = "", digits: int = 2) -> str:
    """Median, and lowest and highest behind it."""
    if found is None:
        return "not measured"
    return f"{found.median:,.{digits}f}{unit} ({found.lowest:,.{digits}f} - {found.highest:,.{digits}f})"


def _at_least(
    results: Results, target: str, pair: Pair, least: float, *, unit: str = "", scale: float = 1.0
) -> Verdict:
    found = ratio(results, pair.case, pair.one, pair.other)
    if found is not None:
        found = found.mapped(lambda value: value * scale)
    return Verdict(target, f"≥ {least:g}{unit}", told(found, unit), None if found is None else found.median >= least)


def _ahead_everywhere(results: Results) -> Verdict:
    """By rate where the contenders set it, by latency where the pace does."""
    found: dict[str, float] = {}
    for case, about in results.cases.items():
        if about["is_restart"]:
            continue
        paced = about["pace"] is not None
        figure = "intended_to_end_p99_ms" if paced else RATE
        pair = ("java", ours_in(case)) if paced else (ours_in(case), "java")
        one = ratio(results, case, *pair, figure)
        if one is not None:
            found[case] = one.median
    if not found:
        return Verdict("ahead of Java in every case", "> 1x", "not measured", None)
    behind = sorted((value, case) for case, value in found.items() if value <= 1)
    worst, case = min((value, case) for case, value in found.items())
    measured = f"in {len(found) - len(behind)} of {len(found)}; least in {case}: {worst:.2f}x"
    if behind:
        measured += f"; behind in {', '.join(name for _, name in behind)}"
    return Verdict("ahead of Java in every case (paced ones by P99)", "> 1x", measured, not behind)


def _light_load(results: Results) -> Verdict:
    found = of(results, "light-load", "async", "delivery_to_start_p99_ms")
    is_met = None if found is None else found.median <= 5
    return Verdict("P99 from delivery to start, 1,000 messages/s", "≤ 5 ms", told(found, " ms"), is_met)


def _metrics(results: Results, case: str) -> Verdict:
    """Durations, by stretches of one lap, and scrapes as often as usual, beside the cores that are busy."""
    found = spread(
        [
            100 * (lap["cpu_on_off"] - 1 + lap["scrape_ms"] / 1000 / USUAL_SECONDS / lap["cores"])
            for lap in results.figures(case, "async-metered")
            if "cpu_on_off" in lap
        ]
    )
    is_met = None if found is None else found.median <= 3
    return Verdict(f"metrics on, more CPU per message: {case}", "≤ 3 %", told(found, " %", 1), is_met)


def _by_round(results: Results, case: str, contender: str) -> Mapping[tuple[int, int], Mapping[str, float]]:
    return {
        (lap.run, lap.round): lap.figures
        for lap in results.laps
        if lap.case == case and lap.contender == contender and lap.round > 0 and lap.figures is not None
    }
