"""Memory and start: what a consumer of this library takes beyond a bare confluent-kafka consumer, each in a process.

    python benchmarks/footprint.py --rounds 5            # embedded broker
    python benchmarks/footprint.py --kafka --rounds 5    # a real Apache Kafka is started for it

Figures of one round are differences between two processes, measured one after the other. Import is taken in CPU time,
which a busy machine changes less than the clock's. Ends with 1 where the median of the rounds misses a target.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Final

MEBIBYTE: Final = 2**20
PARTITIONS: Final = 8
PATIENCE_SECONDS: Final = 60.0
TARGETS: Final = {"import, CPU s": 0.2, "start to first message, s more": 0.3, "idle RSS, MiB more": 45.0}


def bare(servers: str, topic: str, idle_seconds: float, settings: dict[str, Any]) -> dict[str, float]:
    """The plain consumer: subscribe, poll until the first message, then poll an empty log."""
    began, cpu = time.perf_counter(), time.process_time()
    from confluent_kafka import Consumer  # noqa: PLC0415 -- the import is what is measured

    imported = time.process_time() - cpu
    asked = time.perf_counter()
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": f"footprint-{uuid.uuid4().hex}",
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 10,
            **settings,
        }
    )
    consumer.subscribe([topic])
    while consumer.poll(0.05) is None:
        pass
    first = time.perf_counter()
    while time.perf_counter() < first + idle_seconds:
        consumer.poll(0.1)
    figures = {"import": imported, "first": first - asked, "whole": first - began, "rss": _rss_mib()}
    consumer.close()
    return figures


def ours(servers: str, topic: str, idle_seconds: float, settings: dict[str, Any]) -> dict[str, float]:
    """This library's consumer with asyncio workers and its defaults."""
    began, cpu = time.perf_counter(), time.process_time()
    import asyncio  # noqa: PLC0415

    from pyrallel_consumer import KafkaConfig, PyrallelConsumer  # noqa: PLC0415 -- the import is what is measured

    imported = time.process_time() - cpu

    async def consume() -> dict[str, float]:
        arrived = asyncio.Event()

        async def worker(_: object) -> None:
            arrived.set()

        config = KafkaConfig(
            bootstrap_servers=[servers],
            consumer_group=f"footprint-{uuid.uuid4().hex}",
            auto_offset_reset="earliest",
            dlq_enabled=False,
            librdkafka=settings,
        )
        asked = time.perf_counter()
        async with PyrallelConsumer(config=config, worker=worker, topic=topic):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await arrived.wait()
            first = time.perf_counter()
            await asyncio.sleep(idle_seconds)
            return {"import": imported, "first": first - asked, "whole": first - began, "rss": _rss_mib()}

    return asyncio.run(consume())


def _rss_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE


def measured(subject: str, job: dict[str, Any]) -> dict[str, float]:
    """One process with bytecode on disk, as an installed package has it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    command = [sys.executable, __file__, "--subject", subject, "--job", json.dumps(job)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return dict(json.loads(told.stdout.splitlines()[-1]))


def one_round(job: dict[str, Any]) -> dict[str, float]:
    """Both, one after the other."""
    plain, mine = measured("bare", job), measured("ours", job)
    return {
        "import, CPU s": mine["import"],
        "start to first message, s more": mine["first"] - plain["first"],
        "idle RSS, MiB more": mine["rss"] - plain["rss"],
        "bare: import, CPU s": plain["import"],
        "bare: start to first message, s": plain["first"],
        "bare: idle RSS, MiB": plain["rss"],
        "process to first message, s more": mine["whole"] - plain["whole"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle-seconds", type=float, default=3.0)
    parser.add_argument("--kafka", action="store_true", help="start a real Apache Kafka (JDK and Maven)")
    parser.add_argument("--bootstrap-servers")
    parser.add_argument("--subject", choices=("bare", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.subject:
        print(json.dumps({"bare": bare, "ours": ours}[arguments.subject](**arguments.job)))
        return 0
    import statistics  # noqa: PLC0415 -- the measured processes do without it

    from benchmark_broker import open_broker  # noqa: PLC0415
    from produce import fill  # noqa: PLC0415

    with open_broker(arguments.bootstrap_servers, is_kafka=arguments.kafka, report=print) as broker:
        topic = broker.new_topic(PARTITIONS)
        fill(broker.bootstrap_servers, topic, messages=PARTITIONS, keys=PARTITIONS)
        job = {
            "servers": broker.bootstrap_servers,
            "topic": topic,
            "idle_seconds": arguments.idle_seconds,
            "settings": dict(broker.client_settings),
        }
        one_round(job | {"idle_seconds": 0.0})  # writes the bytecode
        rounds = [one_round(job) for _ in range(arguments.rounds)]
        print(f"{broker.kind}, Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f}, {len(rounds)} rounds")
    is_met = True
    for name in rounds[0]:
        values = sorted(each[name] for each in rounds)
        middle, target = statistics.median(values), TARGETS.get(name)
        verdict = "" if target is None else f"  target {target}: {'met' if middle <= target else 'MISSED'}"
        print(f"{name:34} {middle:8.3f}  ({values[0]:.3f} - {values[-1]:.3f}){verdict}")
        is_met = is_met and (target is None or middle <= target)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
