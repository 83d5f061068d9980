"""The report of a soak: a table and a plot, computed from the samples alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from endurance.sample import Sample
from endurance.verdict import MILLION, MOST_MIB_PER_MILLION, WARM_UP_SHARE, judge

INTRODUCTION: Final = f"""\
Made by `make soak`: each engine does millions of messages. Some are slow, so that commits have gaps; some fail once
(retries) or for good (dead letters); other members join and leave the group. The first {WARM_UP_SHARE:.0%} are its
warm-up. Memory, descriptors and threads include worker processes. Arrows lead from the first to the last quarter after
the warm-up (medians). Goal: a slope under {MOST_MIB_PER_MILLION:.0f} MiB per million messages; nothing else grows.
"""
HEADINGS: Final = (
    "engine",
    "messages",
    "messages/s",
    "retries",
    "dead letters",
    "rebalances",
    "most gaps",
    "RSS, MiB",
    "slope, MiB per million",
    "descriptors",
    "threads",
    "tasks",
    "grows",
)
COLOURS: Final = {"descriptors": "#1f6fb4", "threads": "#d98032", "tasks": "#6a9f58"}


def write(
    folder: Path, runs: Mapping[str, Sequence[Sample]], setting: Mapping[str, str], at: datetime
) -> tuple[Path, bool]:
    """Write ``DATE-soak.md`` and ``DATE-soak.png``; returns the report, and whether nothing grows in any engine."""
    name = f"{at:%Y-%m-%d}-soak"
    _plot(folder / f"{name}.png", runs)
    verdicts = {engine: judge(samples) for engine, samples in runs.items()}
    lines = [
        f"# Soak, {at.day} {at:%B %Y}",
        "",
        INTRODUCTION,
        "| | |",
        "|---|---|",
        *(f"| {what} | {value} |" for what, value in setting.items()),
        "",
        f"| {' | '.join(HEADINGS)} |",
        f"|{'---|' * len(HEADINGS)}",
    ]
    for engine, verdict in verdicts.items():
        counts = " | ".join(f"{first:.0f} → {last:.0f}" for first, last in (verdict.counts[name] for name in COLOURS))
        lines.append(
            f"| {engine} | {verdict.messages:,} | {verdict.messages / verdict.seconds:,.0f} | {verdict.retries:,}"
            f" | {verdict.dead_letters:,} | {verdict.rebalances} | {verdict.most_gaps} | {verdict.rss_mib[0]:.1f} →"
            f" {verdict.rss_mib[1]:.1f} | {verdict.slope:+.2f} | {counts} | {', '.join(verdict.growing) or 'nothing'} |"
        )
    lines += ["", f"![Memory and counts over messages, by engine]({name}.png)", ""]
    report = folder / f"{name}.md"
    report.write_text("\n".join(lines))
    return report, not any(verdict.growing for verdict in verdicts.values())


def _plot(file: Path, runs: Mapping[str, Sequence[Sample]]) -> None:
    drawing, panels = plt.subplots(len(runs), 2, figsize=(11, 2.6 * len(runs)), squeeze=False, layout="constrained")
    for row, (engine, samples) in zip(panels, runs.items(), strict=True):
        at = [sample.messages / MILLION for sample in samples]
        memory, counts = row
        memory.plot(at, [sample.rss_mib for sample in samples], color="#1f6fb4", linewidth=1, label="RSS in all")
        if samples[-1].processes > 1:
            own = [sample.own_rss_mib for sample in samples]
            memory.plot(at, own, color="#9a9a9a", linewidth=1, label="RSS of the consumer's process")
        memory.axvline(at[-1] * WARM_UP_SHARE, color="#9a9a9a", linestyle=":", linewidth=1)
        memory.set_title(f"{engine}: MiB over millions of messages", fontsize=9)
        for name, colour in COLOURS.items():
            counts.plot(at, [getattr(sample, name) for sample in samples], color=colour, linewidth=1, label=name)
        counts.set_title(f"{engine}: counts over millions of messages", fontsize=9)
        for panel in row:
            panel.set_ylim(bottom=0)
            panel.legend(fontsize=7, loc="lower right")
            panel.tick_params(labelsize=7)
    drawing.savefig(file, dpi=110)
    plt.close(drawing)
