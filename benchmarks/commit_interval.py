"""What shorter commit intervals cost: no-op laps with each interval in turn, on a real Kafka.

``python benchmarks/commit_interval.py --help``. One process; the CPU of a lap is that of the whole process, client
included, so the figure holds on a busy machine. Each round measures every interval once, in an order of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import statistics
import sys
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pyrallel_consumer import ExecutionConfig, KafkaConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.config import ParallelConsumerConfig
from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import KafkaNode

PARTITIONS: Final = 8
KEYS: Final = 200
PATIENCE_SECONDS: Final = 300.0


class Lap(NamedTuple):
    """What one lap took."""

    cpu_us_per_message: float
    messages_per_second: float
    requests_per_second: float


async def lap(servers: str, topic: str, messages: int, interval_ms: int) -> Lap:
    """From the first message to the last; joining and leaving are left out."""
    begun = asyncio.Event()
    ended = asyncio.Event()
    left = messages

    async def worker(_: WorkItem) -> None:
        nonlocal left
        left -= 1
        if left == messages - 1:
            begun.set()
        elif left == 0:
            ended.set()

    config = KafkaConfig(
        bootstrap_servers=servers,
        consumer_group=f"lap-{uuid.uuid4().hex}",
        parallel_consumer=ParallelConsumerConfig(commit_interval_ms=interval_ms),
    )
    gc.collect()
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with PyrallelConsumer(config, worker, topic, execution_config=ExecutionConfig()) as consumer:
            await begun.wait()
            cpu, wall = time.process_time(), time.perf_counter()
            await ended.wait()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            requests = consumer.get_runtime_snapshot().commits
    return Lap(cpu / messages * 1e6, messages / wall, requests / wall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--intervals-ms", type=int, nargs="+", default=[1000, 500, 200, 100, 50])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--messages", type=int, default=300_000)
    arguments = parser.parse_args()
    laps: dict[int, list[Lap]] = defaultdict(list)
    with KafkaNode() as node:
        cluster = KafkaCluster(node.bootstrap_servers, node)
        topic = cluster.new_topic(partitions=PARTITIONS)
        cluster.produce_numbered(topic, messages=arguments.messages, keys=KEYS)
        for number in range(arguments.rounds + 1):
            for interval_ms in random.sample(arguments.intervals_ms, len(arguments.intervals_ms)):
                measured = asyncio.run(lap(node.bootstrap_servers, topic, arguments.messages, interval_ms))
                if number:  # The first round warms up.
                    laps[interval_ms].append(measured)
        cluster.close()
    longest = max(laps)
    print("interval  CPU per message         messages/s       commits/s   CPU to that of the longest, round by round")
    for interval_ms, own in sorted(laps.items(), reverse=True):
        cpu = sorted(each.cpu_us_per_message for each in own)
        ratios = sorted(
            each.cpu_us_per_message / other.cpu_us_per_message for each, other in zip(own, laps[longest], strict=True)
        )
        print(
            f"{interval_ms:5} ms  {statistics.median(cpu):.3f} ({cpu[0]:.3f}-{cpu[-1]:.3f}) µs"
            f"  {statistics.median(each.messages_per_second for each in own):12,.0f}"
            f"  {statistics.median(each.requests_per_second for each in own):12.1f}"
            f"      {statistics.median(ratios):.3f} ({ratios[0]:.3f}-{ratios[-1]:.3f})"
        )


if __name__ == "__main__":
    main()
