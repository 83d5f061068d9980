"""What a run found: every lap with its figures, and what one must know to read them. Written after every round."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from race.cases import Case
from race.contenders import Contender

FORMAT: Final = 1


@dataclass(slots=True)
class Lap:
    """Round 0 holds the trials of variants. ``load``: the machine's load average as the lap began."""

    case: str
    round: int
    contender: str
    variant: str
    load: float
    run: int = 0
    figures: dict[str, float] | None = None
    error: str = ""
    flaws: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Results:
    """``missing``: contenders that this machine cannot run, each with its sentence."""

    about: dict[str, Any]
    file: Path | None = None
    laps: list[Lap] = field(default_factory=list)
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    contenders: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    when_added: Callable[[Lap], None] = lambda _lap: None

    def add(self, case: Case, contender: Contender, lap: Lap) -> None:
        self.laps.append(lap)
        self.cases.setdefault(case.name, asdict(case))
        self.contenders.setdefault(
            contender.name, {"title": contender.title, "kind": contender.kind, "promise": contender.promise}
        )
        self.when_added(lap)

    def question(self, case: str) -> str:
        """The case's title; its name if it was not measured."""
        return str(self.cases[case]["question"]) if case in self.cases else case

    def write(self) -> None:
        """Write the file anew, whole or not at all."""
        if self.file is None:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        found = {
            "format": FORMAT,
            "about": self.about,
            "missing": self.missing,
            "cases": self.cases,
            "contenders": self.contenders,
            "laps": [asdict(lap) for lap in self.laps],
        }
        beside = self.file.with_suffix(".writing")
        beside.write_text(json.dumps(found, indent=1) + "\n")
        beside.replace(self.file)

    def figures(self, case: str, contender: str) -> list[dict[str, float]]:
        """Of each round, in order; without trials and failed laps."""
        return [
            lap.figures
            for lap in self.laps
            if lap.case == case and lap.contender == contender and lap.round > 0 and lap.figures is not None
        ]


def machine() -> dict[str, Any]:
    """The facts on which the figures depend, without any that identify the machine's owner."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "memory_gib": round(memory / 1024 / 1024),
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "load_average": os.getloadavg()[0],
    }


def timestamp(at: datetime | None = None) -> str:
    """As in the names of files."""
    return f"{at or datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def read(files: Sequence[Path]) -> Results:
    """The results of one run, or of several as if they were one: their rounds follow each other."""
    merged: Results | None = None
    for number, file in enumerate(files):
        found = json.loads(file.read_text())
        if found.get("format") != FORMAT:
            raise ValueError(f"{file} is no result of this benchmark (format {FORMAT})")
        laps = [Lap(**(lap | {"run": number})) for lap in found["laps"]]
        if merged is None:
            merged = Results(found["about"] | {"runs": [found["about"]]}, laps=laps)
        else:
            for name, case in found["cases"].items():
                if merged.cases.get(name, case) != case:
                    raise ValueError(f"{file} measured the case {name} differently; only equal cases can be merged")
            merged.about["runs"].append(found["about"])
            merged.laps += laps
        merged.cases |= found["cases"]
        merged.contenders |= found["contenders"]
        merged.missing |= found["missing"]
    if merged is None:
        raise ValueError("no files of results were named")
    return merged


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []
