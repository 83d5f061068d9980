"""What a commit costs in CPU, and so what each commit interval costs: ``python benchmarks/commit_interval.py``.

Laps with one interval and the other differ by less than a busy machine's noise. So the CPU of many commits is measured
instead, on a real Kafka: that of making the snapshots with their maps of gaps, and that of the client's request.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ClientPartition

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pyrallel_consumer.control_plane.events import Assigned, CommitSnapshot
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.testing import PlainMessage
from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import KafkaNode

MESSAGES: Final = 5_000
"""As many as are read and not finished by default, over all partitions."""
ROUNDS: Final = 7
INTERVALS_MS: Final = (1000, 500, 200, 125, 100, 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--keys", type=int, default=200, help="keys at work, a third of them done with their message")
    arguments = parser.parse_args()
    manager = worked_on(arguments.partitions, arguments.keys)
    snapshots = manager.snapshots()
    snapshot_seconds = cpu_seconds(manager.snapshots)
    commit_seconds = client_seconds(snapshots)
    both = snapshot_seconds + commit_seconds
    print(f"snapshots {snapshot_seconds * 1e3:.3f} ms, request {commit_seconds * 1e3:.3f} ms of CPU")
    for interval_ms in INTERVALS_MS:
        print(f"{interval_ms:5} ms: {1000 / interval_ms:4.1f} requests/s, {both / interval_ms * 1e5:.2f} % of a core")


def worked_on(partitions: int, keys: int) -> WorkManager:
    """Partitions with read messages, some of which have finished out of order."""
    chance, manager = random.Random(1), WorkManager(WorkPolicy())
    for number in range(partitions):
        manager.assign(Assigned(TopicPartition("orders", number), number + 1, 0, OffsetMap(0, 0)))
    for number in range(partitions):
        messages = [
            PlainMessage("orders", number, offset, key=b"%d" % chance.randrange(keys))
            for offset in range(MESSAGES // partitions)
        ]
        manager.add(TopicPartition("orders", number), number + 1, messages)
    begun = manager.take(keys)
    manager.succeed(chance.sample(begun, len(begun) // 3))
    return manager


def cpu_seconds(call: Callable[[], Any], times: int = 100) -> float:
    """CPU of this process for one call, the median over rounds."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            call()
        rounds.append((time.process_time() - began) / times)
    return statistics.median(rounds)


def client_seconds(snapshots: tuple[CommitSnapshot, ...]) -> float:
    """CPU of one asynchronous commit of them all and of its answer, the client's threads included."""
    answered = []
    with KafkaNode() as node:
        cluster = KafkaCluster(node.bootstrap_servers, node)
        topic = cluster.new_topic(partitions=len(snapshots))
        client = Consumer(
            {
                "bootstrap.servers": node.bootstrap_servers,
                "group.id": cluster.new_group(),
                "enable.auto.commit": False,
                "on_commit": lambda error, _: answered.append(error),
            }
        )
        client.subscribe([topic])
        while len(client.assignment()) < len(snapshots):
            client.poll(0.1)

        def commit() -> None:
            offers = [ClientPartition(topic, each.tp.partition, each.offset, each.metadata) for each in snapshots]
            expected = len(answered) + 1
            client.commit(offsets=offers, asynchronous=True)
            while len(answered) < expected:
                client.poll(0.05)

        seconds = cpu_seconds(commit)
        client.close()
        cluster.close()
    assert not any(answered), f"a commit failed: {next(filter(None, answered))}"
    return seconds


if __name__ == "__main__":
    main()
