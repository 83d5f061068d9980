"""The results of a run of ``overhead.py``: as a table for people, as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from interpreter import Interpreter
from reading import Outcome, Round
from rich.console import Console
from rich.table import Table
from workbench import Sizes

TABLE_WIDTH: Final = 110
VERDICTS: Final = {True: "[green]pass[/]", False: "[red]MISS[/]", None: ""}


@dataclass(slots=True)
class CaseReport:
    """``rounds`` are the raw figures; ``flaws`` say why they cannot be believed, ``error`` why there are none."""

    name: str
    question: str
    rounds: list[Round]
    outcomes: list[Outcome]
    flaws: list[str]
    error: str = ""


@dataclass(slots=True)
class PythonReport:
    """The results of one interpreter."""

    python: Interpreter
    cases: list[CaseReport]


@dataclass(slots=True)
class Report:
    """The whole run, with the machine and the interpreters."""

    machine: dict[str, Any]
    rounds: int
    sizes: Sizes
    batch_bytes: int
    is_uvloop: bool
    broker: str = ""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    pythons: list[PythonReport] = field(default_factory=list)

    def end(self) -> None:
        """The measuring is over: note how busy the machine was at its end, ourselves included."""
        self.machine["load_average_at_end"] = _load_average()

    @property
    def is_all_met(self) -> bool:
        cases = [case for python in self.pythons for case in python.cases]
        return not any(
            case.error or case.flaws or any(outcome.is_met is False for outcome in case.outcomes) for case in cases
        )


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "load_average": _load_average(),
    }


def print_table(report: Report) -> None:
    """One table per Python."""
    console = Console(width=None if Console().is_terminal else TABLE_WIDTH)
    for one in report.pythons:
        loop = "uvloop" if report.is_uvloop else "asyncio"
        title = f"Python {one.python.version}, {loop}, client {one.python.confluent_kafka}, {report.broker}"
        table = Table(title=title, title_justify="left")
        for heading, side in (
            ("case", "left"),
            ("measured", "left"),
            ("median", "right"),
            ("lowest - highest", "right"),
        ):
            table.add_column(heading, justify="right" if side == "right" else "left")
        table.add_column("target", justify="right")
        table.add_column("")
        for case in one.cases:
            _add(table, case)
        console.print(table)


def write_json(report: Report, folder: Path) -> Path:
    """Write everything, the raw figures of every round included; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"overhead-{report.started_at:%Y%m%dT%H%M%SZ}.json"
    found = asdict(report) | {"started_at": report.started_at.isoformat(), "is_all_met": report.is_all_met}
    for one in found["pythons"]:
        del one["python"]["executable"]  # its place on this machine means nothing elsewhere
    file.write_text(json.dumps(found, indent=2) + "\n")
    return file


def _add(table: Table, case: CaseReport) -> None:
    for outcome in case.outcomes:
        spread = f"{outcome.lowest:.2f} - {outcome.highest:.2f}"
        middle = f"{outcome.median:.2f} {outcome.unit}"
        table.add_row(case.name, outcome.title, middle, spread, outcome.target, VERDICTS[outcome.is_met])
    for flaw in case.flaws:
        table.add_row(case.name, flaw, "", "", "", "[red]FLAW[/]")
    if case.error:
        table.add_row(case.name, case.error.splitlines()[-1], "", "", "", "[red]FAILED[/]")
    table.add_section()


def _load_average() -> list[float]:
    return [round(load, 2) for load in os.getloadavg()]
