"""Millions of messages through each engine, with gaps, retries, dead letters and rebalances: nothing may grow.

    make soak                                   # 20 million each, a real Kafka: one to two hours
    make soak ARGS="--messages 1000000 --embedded --report build/soak"   # a trial on the embedded broker
    make soak ARGS="--engines thread --again"   # one engine anew

The report goes to ``docs/benchmarks``. The samples of an engine that is through are kept in ``build/soak``: a second
run does what is missing. Ends with 1 where memory, descriptors, threads or tasks grow.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmark_broker import open_broker
from endurance.conductor import SoakFailedError, soak
from endurance.member import ENGINES
from endurance.picture import write
from endurance.sample import Sample, read

ROOT: Final = Path(__file__).resolve().parents[1]
MESSAGES: Final = 20_000_000


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=MESSAGES, help=f"for each engine (default {MESSAGES:,})")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--embedded", action="store_true", help="the embedded broker, not a real Kafka")
    parser.add_argument("--bootstrap-servers", help="a broker that stands elsewhere")
    parser.add_argument("--again", action="store_true", help="do engines anew that are through")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "soak", help="where samples are kept")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "benchmarks", help="folder of the report")
    arguments = parser.parse_args()
    for folder in (arguments.folder, arguments.report):
        folder.mkdir(parents=True, exist_ok=True)
    missing = [
        engine
        for engine in arguments.engines
        if arguments.again or not _is_through(kept(arguments.folder, engine), arguments.messages)
    ]
    if missing and (failure := run(missing, arguments)):
        print(failure)
        return 1
    runs = {engine: kept(arguments.folder, engine) for engine in arguments.engines}
    setting = json.loads((arguments.folder / "setting.json").read_text("utf-8"))
    report, is_flat = write(arguments.report, runs, setting, datetime.now(UTC))
    print(report.read_text("utf-8"), f"Written: {report}", sep="\n")
    return 0 if is_flat else 1


def run(engines: list[str], arguments: argparse.Namespace) -> str:
    """Soak one engine after the other; returns what went wrong, if anything."""
    is_kafka = not arguments.embedded
    with open_broker(arguments.bootstrap_servers, is_kafka=is_kafka, report=print) as broker:
        setting = {
            "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.release()}",
            "Python": platform.python_version(),
            "broker": broker.kind,
            "load average at the start": f"{os.getloadavg()[0]:.1f}",
        }
        (arguments.folder / "setting.json").write_text(json.dumps(setting))
        for engine in engines:
            try:
                asyncio.run(soak(broker, engine, arguments.messages, arguments.folder, print))
            except SoakFailedError as failure:
                return f"The soak of {engine} failed: {failure}"
    return ""


def kept(folder: Path, engine: str) -> list[Sample]:
    """The samples of the engine's last run, none where it has none."""
    file = folder / f"{engine}.jsonl"
    return read(file.read_text("utf-8")) if file.exists() else []


def _is_through(samples: list[Sample], messages: int) -> bool:
    return bool(samples) and samples[-1].messages >= messages


if __name__ == "__main__":
    sys.exit(main())
