"""What async workers in processes would do on more cores, on paper: ``python benchmarks/projection.py RESULTS.json``.

``RESULTS.json`` is a report of ``overhead.py`` with the cases ``scaling-100us-5ms`` and ``scaling-0us-5ms``; without
it, the figures that are kept beside this file. ``--keep`` replaces those. The cost of a message for the consumer's
process and for a worker process was measured on two cores. All cores are taken to be alike and to hinder each other in
nothing, so the table is an upper bound.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from math import ceil
from pathlib import Path
from typing import Any, Final, NamedTuple

KEPT: Final = Path(__file__).with_name("projection.json")
CASES: Final = {"scaling-100us-5ms": "100 µs + 5 ms", "scaling-0us-5ms": "5 ms"}
SUBJECT: Final = "loops in processes"
CORES: Final = (2, 4, 8, 16)


class Cost(NamedTuple):
    """CPU of one message, in microseconds: of the consumer's process, and of the process that runs the worker."""

    parent_us: float
    child_us: float

    def one_consumer(self, cores: int) -> float:
        """Messages a second of one consumer with a process on each further core."""
        return min(1e6 / self.parent_us, cores * 1e6 / (self.parent_us + self.child_us))

    def consumers(self, cores: int) -> tuple[int, float]:
        """How many consumers feed all cores, and their messages a second."""
        rate = cores * 1e6 / (self.parent_us + self.child_us)
        return ceil(rate * self.parent_us / 1e6), rate


def measured(report: dict[str, Any]) -> dict[str, Cost]:
    """The medians of a report's rounds, by case."""
    found = {}
    for case in (case for python in report["pythons"] for case in python["cases"] if case["name"] in CASES):
        rounds = [each[SUBJECT] for each in case["rounds"]]
        found[case["name"]] = Cost(
            statistics.median(each["cpu_us_per_message"] for each in rounds),
            statistics.median(each["children_cpu_us_per_message"] for each in rounds),
        )
    return found


def table(costs: dict[str, Cost]) -> str:
    """A table in Markdown."""
    lines = [
        "| worker | CPU a message: consumer, process | cores | one consumer | as many consumers as needed |",
        "|---|---|---|---|---|",
    ]
    for name, cost in costs.items():
        for cores in CORES:
            count, rate = cost.consumers(cores)
            what = f"| {CASES[name]} | {cost.parent_us:.0f} µs, {cost.child_us:.0f} µs" if cores == CORES[0] else "| |"
            lines.append(f"{what} | {cores} | {cost.one_consumer(cores):,.0f}/s | {count}: {rate:,.0f}/s |")
    return "\n".join(lines) + "\n"


def kept() -> dict[str, Cost]:
    return {name: Cost(*cost) for name, cost in json.loads(KEPT.read_text("utf-8")).items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", nargs="?", type=Path)
    parser.add_argument("--keep", action="store_true", help="keep the report's figures for the guide Scaling")
    arguments = parser.parse_args()
    costs = kept() if arguments.report is None else measured(json.loads(arguments.report.read_text("utf-8")))
    if arguments.keep:
        KEPT.write_text(json.dumps(costs, indent=1) + "\n", "utf-8")
    print(table(costs), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
