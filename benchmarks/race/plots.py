"""The plots of a report: one panel per case, one point per contender, with its spread over the rounds."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from race.contenders import CONTENDERS
from race.results import Results
from race.verdicts import RATE, of

COLOURS: Final = {"ours": "#1f6fb4", "yardstick": "#9a9a9a", "peer": "#d98032"}
PANEL_INCHES: Final = (5.6, 2.9)
ROOM_FOR_LABELS: Final = 2.6
TITLE_LETTERS: Final = 62
LEGEND: Final = "blue: this library, grey: yardsticks, orange: others; median of the rounds, lowest to highest"


def plot_rates(results: Results, cases: Sequence[str], title: str, file: Path) -> bool:
    """Messages per second, on a logarithmic axis; False where nothing was measured."""
    unit = "messages per second (logarithmic)"
    return _plot(results, cases, RATE, unit=unit, title=title, file=file, digits=0)


def plot_latency(results: Results, cases: Sequence[str], title: str, file: Path) -> bool:
    """P99 from the intended moment of sending to the end, on a logarithmic axis."""
    unit = "P99 in ms (logarithmic)"
    return _plot(results, cases, "intended_to_end_p99_ms", unit=unit, title=title, file=file, digits=1)


def _plot(
    results: Results, cases: Sequence[str], figure: str, *, unit: str, title: str, file: Path, digits: int
) -> bool:
    shown = [case for case in cases if any(of(results, case, name, figure) for name in results.contenders)]
    if not shown:
        return False
    columns = 1 if len(shown) == 1 else 2
    rows = -(-len(shown) // columns)
    width, height = PANEL_INCHES
    drawing, panels = plt.subplots(
        rows, columns, figsize=(width * columns, height * rows), squeeze=False, layout="constrained"
    )
    drawing.suptitle(f"{title}\n{LEGEND}", fontsize=10)
    for number, panel in enumerate(panels.flat):
        if number < len(shown):
            _panel(results, shown[number], figure, unit=unit, panel=panel, digits=digits)
        else:
            panel.set_axis_off()
    drawing.savefig(file, dpi=110)
    plt.close(drawing)
    return True


def _panel(results: Results, case: str, figure: str, *, unit: str, panel: Axes, digits: int) -> None:
    bars: list[tuple[str, str, Any]] = []
    for contender in reversed(CONTENDERS):
        found = of(results, case, contender.name, figure)
        if found is not None:
            bars.append((contender.title, COLOURS[contender.kind], found))
    medians = [found.median for _, _, found in bars]
    # Points and not bars: on a logarithmic axis the length of a bar says nothing.
    for place, (_, colour, found) in enumerate(bars):
        panel.axhline(place, color="#e4e4e4", linewidth=1, zorder=0)
        reach = [[found.median - found.lowest], [found.highest - found.median]]
        panel.errorbar(found.median, place, xerr=reach, fmt="o", color=colour, markersize=7, elinewidth=2, capsize=3)
        told, place_of_it = f"{found.median:,.{digits}f}", (found.highest, place)
        panel.annotate(told, place_of_it, xytext=(8, 0), textcoords="offset points", va="center", fontsize=8)
    panel.set_xscale("log")
    panel.set_yticks(range(len(bars)), [title for title, _, _ in bars])
    panel.set_ylim(-0.6, len(bars) - 0.4)
    panel.set_xlim(min(medians) / ROOM_FOR_LABELS, max(found.highest for _, _, found in bars) * ROOM_FOR_LABELS * 2)
    question = textwrap.fill(f"{case}: {results.cases[case]['question']}", TITLE_LETTERS)
    panel.set_title(question, fontsize=9, loc="left")
    panel.set_xlabel(unit, fontsize=8)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
