"""Measures what the library costs: ``make bench``, or ``python benchmarks/overhead.py --help``.

Every figure stands beside a yardstick that was measured in the same round on the same interpreter, for machines are
noisy and differ; medians over the rounds are judged. Each measurement has a process of its own.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmark_broker import open_broker
from case import Case
from interpreter import Interpreter, describe
from job import Figures, Job, MeasurementFailedError, run
from overhead_cases import CASES
from overhead_report import CaseReport, PythonReport, Report, machine, print_table, write_json
from produce import BATCH_BYTES
from reading import Round, over_rounds
from workbench import QUICK, Sizes, Workbench

RESULTS: Final = Path(__file__).resolve().parent / "results"
MEASUREMENT_TIMEOUT_SECONDS: Final = 300.0
HEADLINES: Final = {
    "messages_per_second": "{:,.0f} messages/s",
    "cpu_us_per_message": "{:.2f} µs of CPU each",
    "cpu_on_off": "{:.3f} of the CPU when durations are taken",
    "max_ms": "at most {:.1f} ms late",
    "p99_ms": "99 of 100 within {:.1f} ms",
    "cpu_percent": "{:.2f} % of a core",
    "load_messages": "{:,.0f} messages held",
    "load_mib": "{:.1f} MiB held",
    "rss_growth_mib": "RSS grew by {:.1f} MiB",
}


def main() -> int:
    arguments = _arguments()
    pythons = [describe(python) for python in arguments.python or [sys.executable]]
    sizes = QUICK if arguments.quick else Sizes()
    if arguments.messages:
        sizes = replace(sizes, noop_messages=arguments.messages)
    cases = [case for case in CASES if not arguments.cases or case.name in arguments.cases]
    report = Report(
        machine=machine(),
        rounds=arguments.rounds,
        sizes=sizes,
        batch_bytes=arguments.batch_bytes,
        is_uvloop=arguments.uvloop,
    )
    with open_broker(arguments.bootstrap_servers, is_kafka=arguments.kafka, report=_say) as broker:
        report.broker = broker.kind
        _say(f"{broker.kind}; load of this machine {report.machine['load_average']}")
        bench = Workbench(broker, sizes, arguments.uvloop, arguments.batch_bytes, _say)
        for python in pythons:
            report.pythons.append(
                PythonReport(python, [_measured(case, bench, python, arguments.rounds) for case in cases])
            )
        bench.close()
    report.end()
    print_table(report)
    print(f"written: {write_json(report, arguments.output or RESULTS)}")
    if any(case.error for python in report.pythons for case in python.cases):
        return 1
    return int(arguments.check and not report.is_all_met)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("--cases", nargs="+", choices=names, metavar="CASE", help=f"only these: {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each case (default: 3)")
    parser.add_argument("--messages", type=int, help="messages of the case noop (default: 200,000)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that everything runs, measures nothing")
    parser.add_argument(
        "--python", action="append", help="interpreter to measure, may be given twice (default: this one)"
    )
    parser.add_argument("--uvloop", action="store_true", help="run yardsticks and consumers on uvloop")
    parser.add_argument(
        "--batch-bytes", type=int, default=BATCH_BYTES, help=f"batches of the producer (default: {BATCH_BYTES:,})"
    )
    broker = parser.add_mutually_exclusive_group()
    broker.add_argument("--kafka", action="store_true", help="start a real Apache Kafka (default: the embedded broker)")
    broker.add_argument("--bootstrap-servers", help="use the Kafka at this address")
    parser.add_argument("--output", type=Path, help="folder for the JSON report (default: benchmarks/results)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    return parser.parse_args()


def _measured(case: Case, bench: Workbench, python: Interpreter, rounds: int) -> CaseReport:
    """All rounds of a case; every second round in reverse, so that no subject always profits from its predecessor."""
    measured: list[Round] = []
    try:
        jobs = case.jobs(bench)
        for number in range(min(rounds, case.most_rounds)):
            order = list(jobs)[:: -1 if number % 2 else 1]
            say = _sayer(f"[{python.version}] {case.name}, round {number + 1}: ")
            figures = {name: _one(jobs[name], python, name, say) for name in order}
            measured.append({name: figures[name] for name in jobs})
    except MeasurementFailedError as error:
        _say(f"[{python.version}] {case.name} failed: {error}")
        return CaseReport(case.name, case.question, measured, [], [], str(error))
    outcomes = [over_rounds(reading, measured) for reading in case.readings(python.version_pair)]
    return CaseReport(case.name, case.question, measured, outcomes, _flaws(jobs, measured))


def _one(job: Job, python: Interpreter, name: str, say: Callable[[str], None]) -> Figures:
    figures = run(
        replace(job, group=f"benchmark-{uuid.uuid4().hex[:12]}"), python.executable, MEASUREMENT_TIMEOUT_SECONDS
    )
    told = [text.format(figures[figure]) for figure, text in HEADLINES.items() if figure in figures]
    say(f"{name}: {', '.join(told)}")
    return figures


def _flaws(jobs: Mapping[str, Job], rounds: Sequence[Round]) -> list[str]:
    """The messages that were not done, done twice, or not committed: with any of them the figures are worthless."""
    flaws = []
    for one in rounds:
        for name, figures in one.items():
            if figures.get("processed", jobs[name].messages) != jobs[name].messages:
                flaws.append(f"{name} processed {figures['processed']:,.0f} of {jobs[name].messages:,}")
            if figures.get("uncommitted"):
                flaws.append(f"{name} left {figures['uncommitted']:,.0f} uncommitted")
    return flaws


def _say(line: str) -> None:
    print(line, flush=True)


def _sayer(prefix: str) -> Callable[[str], None]:
    return lambda line: _say(prefix + line)


if __name__ == "__main__":
    sys.exit(main())
