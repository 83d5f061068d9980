"""The table of a round, for people who watch: TPS, mean and P99 latency of every contender, case by case."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from race.cases import BY_NAME as CASES
from race.results import Lap, Results

WIDTH = 120
FROM_DELIVERY = "delivery_to_end"
FROM_INTENDED = "intended_to_end"


def print_rounds(console: Console, results: Results) -> None:
    """One table per case and round; trials are printed as they run."""
    rounds = sorted({lap.round for lap in results.laps if lap.round > 0})
    for number in rounds:
        for case, about in results.cases.items():
            laps = [lap for lap in results.laps if lap.case == case and lap.round == number]
            if laps:
                console.print(_table(results, f"Round {number}, {case}: {about['question']}", laps))


def shown(lap: Lap) -> str:
    """One lap in a line."""
    figures = lap.figures
    if figures is None:
        return f"failed: {lap.error or 'no figures'}"
    if "repeated" in figures:
        return f"{figures['repeated']:,.0f} of {figures['finished']:,.0f} ran twice"
    latency = _latency(figures)
    told = f"{figures['messages_per_second']:,.0f} messages/s"
    if f"{latency}_p99_ms" in figures:
        told += f", mean {figures[f'{latency}_mean_ms']:.1f} ms, P99 {figures[f'{latency}_p99_ms']:.1f} ms"
    return told + (" (stopped at the cap)" if figures["is_capped"] else "") + "".join(f"; {flaw}" for flaw in lap.flaws)


def _table(results: Results, title: str, laps: list[Lap]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("consumer")
    for heading in ("TPS", "mean latency", "P99 latency", "CPU per message"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for lap in laps:
        name = results.contenders[lap.contender]["title"]
        figures = lap.figures
        if figures is None:
            table.add_row(name, "", "", "", "", f"[red]failed[/]: {escape(lap.error)}")
            continue
        if "repeated" in figures:
            table.add_row(name, f"{figures['messages_per_second']:,.0f}", "", "", "", shown(lap))
            continue
        latency = _latency(figures)
        mean, p99 = figures.get(f"{latency}_mean_ms"), figures.get(f"{latency}_p99_ms")
        notes = ["stopped at the cap"] if figures["is_capped"] else []
        cpu = figures["cpu_us_per_message"]
        table.add_row(
            name,
            f"{figures['messages_per_second']:,.0f}",
            "" if mean is None else f"{mean:,.2f} ms",
            "" if p99 is None else f"{p99:,.2f} ms",
            "" if lap.contender == "process" else f"{cpu:,.1f} µs",
            ", ".join(notes + [f"[red]{flaw}[/]" for flaw in lap.flaws]),
        )
    case = CASES.get(laps[0].case)
    paced = case is not None and case.pace is not None
    table.caption = (
        "latency from the intended moment of sending to the end" if paced else "latency from delivery to the end"
    )
    return table


def _latency(figures: dict[str, float]) -> str:
    return FROM_INTENDED if f"{FROM_INTENDED}_p99_ms" in figures else FROM_DELIVERY
