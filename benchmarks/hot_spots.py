"""Where the time of a case of ``overhead.py`` goes: ``make hot-spots``, or ``python benchmarks/hot_spots.py --help``.

A sampling profiler (py-spy) looks at the measured process many times a second and notes which function holds the
interpreter lock. It prints the share of each function's own code, including the C code it calls, on the event loop and
on the poll thread. The time before and after the measurement does not count.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmark_broker import open_broker
from job import Job, ended
from measured import BLOCKING
from overhead_cases import CASES
from produce import BATCH_BYTES
from workbench import QUICK, Sizes, Workbench

LOOP, POLL_THREAD = "loop", "poll thread"
MARKS: Final = {"Runner.run": LOOP, "PollThread._turn": POLL_THREAD}
"""The functions below which samples count; of the loop's, whatever runs in it."""
FRAME: Final = re.compile(r"(?P<function>.+) \((?P<file>.+?)(:\d+)?\)$")
SHOWN: Final = 24
TIMEOUT_SECONDS: Final = 300


def main() -> int:
    arguments = _arguments()
    profiler = shutil.which("py-spy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if profiler is None:
        print("py-spy is missing: it is among dev-requirements.txt, `make .venv/.synced` installs it", file=sys.stderr)
        return 1
    [case] = [case for case in CASES if case.name == arguments.case]
    with open_broker(None, is_kafka=arguments.kafka, report=_say) as broker:
        sizes = QUICK if arguments.quick else Sizes()
        bench = Workbench(broker, sizes, arguments.uvloop, BATCH_BYTES, _say)
        subjects = {name: job for name, job in case.jobs(bench).items() if job.subject not in BLOCKING}
        name, job = list(subjects.items())[-1]
        print(f"{case.name}: {name}, on the {broker.kind}", flush=True)
        spots = _profiled(profiler, arguments.rate, replace(job, group=f"hot-spots-{uuid.uuid4().hex[:12]}"))
    if not spots:
        print("nothing was seen: raise --rate, or do without --quick", file=sys.stderr)
        return 1
    _print(spots)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make hot-spots ARGS=...", description=__doc__)
    parser.add_argument("case", choices=[case.name for case in CASES], help="of overhead.py; its last subject counts")
    parser.add_argument("--rate", type=int, default=1000, help="looks a second (default: 1000)")
    parser.add_argument("--kafka", action="store_true", help="start a real Apache Kafka (default: the embedded broker)")
    parser.add_argument("--uvloop", action="store_true", help="run the consumer on uvloop")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs")
    return parser.parse_args()


def _profiled(profiler: str, rate: int, job: Job) -> Counter[tuple[str, str]]:
    """Samples by thread and function."""
    with tempfile.TemporaryDirectory() as folder:
        stacks = Path(folder) / "stacks"
        looking = [profiler, "record", "--rate", str(rate), "--format", "raw", "--gil", "--output", str(stacks), "--"]
        done = ended(job, sys.executable, TIMEOUT_SECONDS, below=looking)
        if not stacks.exists():
            raise SystemExit(f"py-spy gave nothing (it must be allowed to trace its child):\n{done.stderr[-2000:]}")
        return counted(stacks.read_text().splitlines())


def counted(stacks: list[str]) -> Counter[tuple[str, str]]:
    """Samples by thread and function, of py-spy's raw lines: ``frame;frame;... count``, outermost first."""
    spots: Counter[tuple[str, str]] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = [match for frame in stack.split(";") if (match := FRAME.match(frame))]
        thread = next((MARKS[match["function"]] for match in frames if match["function"] in MARKS), None)
        if thread is not None:
            spots[thread, f"{frames[-1]['function']} ({_short(frames[-1]['file'])})"] += int(count)
    return spots


def _short(file: str) -> str:
    parts = Path(file).parts
    for package in ("pyrallel_consumer", "asyncio"):
        if package in parts:
            return "/".join(parts[parts.index(package) :])
    return parts[-1]


def _print(spots: Counter[tuple[str, str]]) -> None:
    total = sum(spots.values())
    for thread in (LOOP, POLL_THREAD):
        share = sum(count for (where, _), count in spots.items() if where == thread) / total
        print(f"{thread}: {share:.0%} of {total:,} samples")
    print("\n| share | thread | function |\n|---:|---|---|")
    for (thread, function), count in spots.most_common(SHOWN):
        print(f"| {count / total:.1%} | {thread} | `{function}` |")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
