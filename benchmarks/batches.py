"""What batches are worth: ``python benchmarks/batches.py postgres`` and ``python benchmarks/batches.py keys``.

``postgres``: rows a second into a durable PostgreSQL of its own, inserted one by one and in batches of 500.
``keys``: 100 keys and 5 ms a batch, beside Java's parallel consumer, whose batches by key hold one record of each key.
Both take a real Apache Kafka; rounds run in turn. A rate is of the time from the first call to the end of the last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmark_broker import BenchmarkBroker, open_broker
from produce import fill
from race.environments import java_command
from race.lap_plan import FIGURES, INTENDED_DIGITS, PLAIN, LapPlan

from pyrallel_consumer import ExecutionConfig, KafkaConfig, ParallelConsumerConfig, PyrallelConsumer, WorkItem
from tests.postgres.postgres_node import DURABLE, PostgresNode
from tests.postgres.workers import TABLE, AsyncWriter

PARTITIONS: Final = 8
ROWS_OF_A_BATCH: Final = 500
KEYS: Final = 100
BATCH_MS: Final = 5.0
IN_FLIGHT: Final = 2_000
OURS: Final = 2_000
"""Messages of our largest batch."""
JAVA: Final = (
    {"batch_size": 100, "concurrency": 16},
    {"batch_size": 500, "concurrency": 16},
    {"batch_size": 500, "concurrency": 100},
)
"""Java's best variant of each round counts."""
GOAL: Final = 20.0
LAP_SECONDS: Final = 240.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=["postgres", "keys"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--single", type=int, default=5_000, help="messages of a lap that inserts one by one")
    parser.add_argument("--messages", type=int, default=200_000, help="messages of the other laps")
    arguments = parser.parse_args()
    with open_broker(None, is_kafka=True, report=print) as broker:
        case = postgres if arguments.case == "postgres" else keys
        ratios = case(broker, arguments)
    print(
        f"{arguments.case}: {statistics.median(ratios):.1f}x ({min(ratios):.1f} - {max(ratios):.1f}), goal {GOAL:g}x; "
        f"load of this machine {' '.join(_loads())}"
    )


def postgres(broker: BenchmarkBroker, arguments: argparse.Namespace) -> list[float]:
    """Batches over single inserts, by round."""
    one_by_one = filled(broker, arguments.single, keys=1_000, is_number=True)
    in_batches = filled(broker, arguments.messages, keys=1_000, is_number=True)
    with PostgresNode(DURABLE) as node:
        return [
            told(
                "one by one",
                asyncio.run(inserted(broker, node, one_by_one, arguments.single, 1)),
                f"batches of {ROWS_OF_A_BATCH}",
                asyncio.run(inserted(broker, node, in_batches, arguments.messages, ROWS_OF_A_BATCH)),
            )
            for _ in range(arguments.rounds)
        ]


def keys(broker: BenchmarkBroker, arguments: argparse.Namespace) -> list[float]:
    """Ours over Java's best variant, by round."""
    topic = filled(broker, arguments.messages, keys=KEYS)
    java = subprocess.Popen(java_command(print), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ratios = []
    try:
        for _ in range(arguments.rounds):
            laps = {str(variant): java_rate(java, broker, topic, arguments.messages, variant) for variant in JAVA}
            best = max(laps, key=lambda name: laps[name])
            print("Java:", "; ".join(f"{name} {rate:,.0f}/s" for name, rate in laps.items()))
            ours = asyncio.run(waited(broker, topic, arguments.messages))
            ratios.append(told(f"Java {best}", laps[best], f"ours, batches of {OURS}", ours))
    finally:
        java.kill()
        java.wait()
    return ratios


def told(slow: str, slow_rate: float, quick: str, quick_rate: float) -> float:
    """The ratio, printed with both rates."""
    ratio = quick_rate / slow_rate
    print(f"{slow}: {slow_rate:,.0f}/s; {quick}: {quick_rate:,.0f}/s; {ratio:.1f}x", flush=True)
    return ratio


def filled(broker: BenchmarkBroker, messages: int, *, keys: int, is_number: bool = False) -> str:
    """A topic of messages of 100 bytes, or of numbers above 0 that PostgreSQL's INT takes."""
    topic = broker.new_topic(PARTITIONS)
    if is_number:
        fill(
            broker.bootstrap_servers,
            topic,
            messages=messages,
            keys=keys,
            value_bytes=8,
            head_of=lambda number: b"%08d" % (number + 1),
        )
    else:
        # The shape that Java's program reads: 20 digits, a flag, and the rest.
        fill(
            broker.bootstrap_servers,
            topic,
            messages=messages,
            keys=keys,
            head_of=lambda _: b"0" * INTENDED_DIGITS + PLAIN,
        )
    return topic


async def inserted(broker: BenchmarkBroker, node: PostgresNode, topic: str, messages: int, batch_size: int) -> float:
    """Rows a second, counted where they are written."""
    table = f"rows_{time.monotonic_ns()}"
    connection = await asyncpg.connect(node.url)
    await connection.execute(TABLE.format(table=table))
    writer = AsyncWriter(node.url, table)
    async with writer:
        rate = await rate_of(broker, topic, messages, batch_size, writer.write)
    assert await connection.fetchval(f"SELECT count(*) FROM {table}") == messages  # noqa: S608 -- a name of our own
    await connection.execute(f"DROP TABLE {table}")
    await connection.close()
    return rate


async def waited(broker: BenchmarkBroker, topic: str, messages: int) -> float:
    async def wait(_: list[WorkItem]) -> None:
        await asyncio.sleep(BATCH_MS / 1_000)

    return await rate_of(broker, topic, messages, OURS, wait)


async def rate_of(
    broker: BenchmarkBroker,
    topic: str,
    messages: int,
    batch_size: int,
    work: Callable[[list[WorkItem]], Awaitable[None]],
) -> float:
    """Messages a second of one lap, by a group of its own."""
    done, left = asyncio.Event(), messages
    began_at = ended_at = 0.0

    async def on_batch(items: list[WorkItem]) -> None:
        nonlocal began_at, ended_at, left
        began_at = began_at or time.perf_counter()
        await work(items)
        left -= len(items)
        if not left:
            ended_at = time.perf_counter()
            done.set()

    async def on_item(item: WorkItem) -> None:
        await on_batch([item])

    config = KafkaConfig(
        bootstrap_servers=broker.bootstrap_servers,
        consumer_group=f"batches-{time.monotonic_ns()}",
        dlq_enabled=False,
        parallel_consumer=ParallelConsumerConfig(queue_max_messages=20_000),
    )
    worker: Any = on_item if batch_size == 1 else on_batch
    execution = ExecutionConfig(
        batch_size=batch_size, max_in_flight=4 * ROWS_OF_A_BATCH if batch_size < OURS else 2 * OURS
    )
    async with PyrallelConsumer(config, worker, topic, execution_config=execution), asyncio.timeout(LAP_SECONDS):
        await done.wait()
    return messages / (ended_at - began_at)


def java_rate(
    java: subprocess.Popen[str], broker: BenchmarkBroker, topic: str, messages: int, variant: dict[str, int]
) -> float:
    """Messages a second of one lap of Java's; a lap that is too long is rated by its finished messages."""
    plan = LapPlan(
        bootstrap_servers=broker.bootstrap_servers,
        topic=topic,
        group=f"java-{time.monotonic_ns()}",
        messages=messages,
        work="sleep",
        work_ms=BATCH_MS,
        sample_mask=0xFFFF,
        cap_seconds=10.0,
        settings={"ordering": "KEY", "client": {"max.poll.records": "5000"}, **variant},
    )
    assert java.stdin is not None
    assert java.stdout is not None
    java.stdin.write(plan.to_json() + "\n")
    java.stdin.flush()
    for line in java.stdout:
        if line.startswith(FIGURES):
            rate: float = json.loads(line.removeprefix(FIGURES))["messages_per_second"]
            return rate
    raise RuntimeError("Java's peer ended")


def _loads() -> Sequence[str]:
    return Path("/proc/loadavg").read_text().split()[:3] if Path("/proc/loadavg").exists() else ["unknown"]


if __name__ == "__main__":
    main()
