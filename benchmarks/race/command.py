"""Measures this library beside its peers: the same topic, the same work, one process after the other.

Without --cases: produces, then measures the sequential consumer and this library with async, thread and process
workers on each --workload. With --cases: the cases of the reference report. --peers adds other consumers to both.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import confluent_kafka
from benchmark_broker import BenchmarkBroker, open_broker
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from race.cases import BY_NAME as CASES
from race.cases import PEERS, Case
from race.contenders import BY_NAME as CONTENDERS
from race.environments import java_version
from race.race import Race
from race.results import Lap, Results, machine, read, timestamp
from race.table import WIDTH, print_rounds, shown
from race.track import Track
from race.workloads import WORKLOADS, workload_cases

RESULTS: Final = Path(__file__).resolve().parents[1] / "results"
ALL: Final = "all"
SKIPPED_BY: Final = {
    "skip_baseline": ("plain",),
    "skip_async": ("async", "async-uvloop", "async-metrics", "async-3.11"),
    "skip_thread": ("thread",),
    "skip_process": ("process",),
}


def main() -> int:
    """0 when every lap gave sound figures."""
    arguments = _parser().parse_args()
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)  # a shell that starts this in its background ignores Ctrl-C
    console = Console(width=None if Console().is_terminal else WIDTH)
    if arguments.report:
        return _report(arguments, console)
    cases = _cases(arguments)
    started = timestamp()
    results = Results(_about(arguments, started), arguments.output or RESULTS / f"{started}.json")
    with _progress(console, _steps(cases, arguments)) as (say, step):
        results.when_added = lambda lap: say(f"  {lap.case} · {_title(results, lap)} · {shown(lap)}")
        with open_broker(arguments.bootstrap_servers, is_kafka=arguments.kafka, report=say) as broker:
            results.about["broker"] = broker.kind
            _run(arguments, cases, broker, results, say=say, step=step)
    print_rounds(console, results)
    results.write()
    console.print(f"written: {results.file}", soft_wrap=True)
    return int(any(lap.error or lap.flaws for lap in results.laps))


def _run(
    arguments: argparse.Namespace,
    cases: Sequence[Case],
    broker: BenchmarkBroker,
    results: Results,
    *,
    say: Callable[[str], None],
    step: Callable[[str], None],
) -> None:
    track = Track(broker, is_reset=not arguments.skip_reset, say=say)
    race = Race(broker, track, results, say, step)
    try:
        race.run(cases, arguments.rounds, _allowed(arguments))
    except KeyboardInterrupt:
        say("stopped: what was measured so far is kept")
    finally:
        results.about["finished"] = timestamp()
        results.write()
        race.close()
        track.close()


def _report(arguments: argparse.Namespace, console: Console) -> int:
    try:
        from race.report import write_report  # noqa: PLC0415 -- only a report needs matplotlib
    except ModuleNotFoundError as error:
        console.print(f"A report needs {error.name}: install the project with its extra `bench`.")
        return 2
    try:
        file = write_report(read(arguments.report), arguments.output or RESULTS, is_reference=arguments.reference)
    except (OSError, ValueError) as error:
        console.print(f"No report: {error}")
        return 2
    console.print(f"written: {file}", soft_wrap=True)
    return 0


def _cases(arguments: argparse.Namespace) -> list[Case]:
    if not arguments.cases:
        return workload_cases(arguments)
    names = list(CASES) if ALL in arguments.cases else arguments.cases
    cases = [CASES[name] for name in names]
    if arguments.quick:
        cases = [quick(case) for case in cases]
    if arguments.skip_reset:  # what comes at a pace needs a new topic each time
        cases = [case for case in cases if case.pace is None]
    return cases


def quick(case: Case) -> Case:
    """Enough to see that a case runs; its figures mean nothing."""
    small = replace(case.traffic, messages=max(case.traffic.messages // 100, 200))
    return replace(case, traffic=small, cap_seconds=1.0 if case.pace is None else case.cap_seconds)


def _allowed(arguments: argparse.Namespace) -> list[str]:
    peers = set(PEERS if ALL in (arguments.peers or []) or arguments.peers == [] else arguments.peers or [])
    peers |= {"plain"}
    skipped = {name for flag, names in SKIPPED_BY.items() if getattr(arguments, flag) for name in names}
    names = [name for name, one in CONTENDERS.items() if one.kind != "peer" or name in peers]
    return [name for name in names if name not in skipped]


def _steps(cases: Sequence[Case], arguments: argparse.Namespace) -> int:
    """Laps to come; trials are made once for a family."""
    allowed, steps, tried = _allowed(arguments), 0, set()
    for case in cases:
        for name in (name for name in case.contenders if name in allowed):
            steps += min(arguments.rounds, case.most_rounds)
            variants = CONTENDERS[name].variants(case)
            family = CONTENDERS[name].family(case)
            if len(variants) > 1 and (family, name) not in tried:
                tried.add((family, name))
                steps += len(variants)
    return steps


def _title(results: Results, lap: Lap) -> str:
    title = results.contenders[lap.contender]["title"]
    return f"{title} [{lap.variant}]" if lap.round == 0 else title


@contextmanager
def _progress(console: Console, steps: int) -> Iterator[tuple[Callable[[str], None], Callable[[str], None]]]:
    """A bar on a terminal, lines elsewhere: (say something, begin a lap)."""
    if not console.is_terminal:
        done = 0

        def count(title: str) -> None:
            nonlocal done
            done += 1
            print(f"[{done}/{steps}] {title}", flush=True)

        yield (lambda line: print(line, flush=True)), count
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=steps)
        begun = itertools.count()

        def advance(title: str) -> None:
            bar.update(task, completed=next(begun), description=title)

        yield (lambda line: bar.console.print(line, highlight=False)), advance


def _about(arguments: argparse.Namespace, started: str) -> dict[str, Any]:
    words = sys.argv[1:]
    elsewhere = {at for at, word in enumerate(words) if word == "--output"}
    given = [word for at, word in enumerate(words) if not {at, at - 1} & elsewhere]
    return {
        "started": started,
        "command": f"python benchmarks/run_parallel_benchmark.py {shlex.join(given)}",
        "rounds": arguments.rounds,
        "machine": machine(),
        "versions": {
            "python": platform.python_version(),
            "pyrallel-consumer": version("pyrallel-consumer"),
            "confluent-kafka": confluent_kafka.version(),
            "librdkafka": confluent_kafka.libversion()[0],
            "java": java_version(),
        },
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python benchmarks/run_parallel_benchmark.py", description=__doc__)
    broker = parser.add_mutually_exclusive_group()
    broker.add_argument("--bootstrap-servers", help="use the Kafka at this address (default: a broker of its own)")
    broker.add_argument("--kafka", action="store_true", help="start a real Apache Kafka instead of the embedded broker")
    work = parser.add_argument_group("the topic and the work (without --cases)")
    work.add_argument("--num-messages", type=int, default=50_000, metavar="N")
    work.add_argument("--num-keys", type=int, default=200, metavar="N")
    work.add_argument("--num-partitions", type=int, default=8, metavar="N")
    work.add_argument("--key-distribution", choices=["uniform", "zipf"], default="uniform")
    work.add_argument("--workload", nargs="+", action="extend", choices=WORKLOADS, help="one or several (sleep)")
    work.add_argument("--worker-sleep-ms", type=float, default=1.0, metavar="MS")
    work.add_argument("--worker-io-sleep-ms", type=float, default=1.0, metavar="MS")
    work.add_argument("--worker-cpu-iterations", type=int, default=500, metavar="N", help="rounds of sha256")
    work.add_argument(
        "--timeout-sec", type=float, default=60.0, metavar="S", help="seconds after which a lap is stopped (60)"
    )
    who = parser.add_argument_group("who runs")
    for flag in SKIPPED_BY:
        who.add_argument(f"--{flag.replace('_', '-')}", action="store_true")
    who.add_argument("--peers", nargs="*", choices=[*PEERS, ALL], help="other consumers; without a name: all of them")
    parser.add_argument("--skip-reset", action="store_true", help="leave topics and groups as they are")
    cases = parser.add_argument_group("the cases of the reference report")
    cases.add_argument(
        "--cases", nargs="+", choices=[*CASES, ALL], metavar="CASE", help=f"{ALL}, or: {', '.join(CASES)}"
    )
    cases.add_argument("--rounds", type=int, default=1, help="rounds, each over all cases (default: 1)")
    cases.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    report = parser.add_argument_group("the report")
    report.add_argument(
        "--report", nargs="+", type=Path, metavar="JSON", help="make one of these results; runs nothing"
    )
    report.add_argument("--reference", action="store_true", help="with --report: put it into docs/benchmarks, too")
    parser.add_argument(
        "--output", type=Path, help="the JSON file, or the folder of the report (default: benchmarks/results)"
    )
    return parser
