"""How fast is exactly once: this library, a bare loop with transactions, and Java's parallel consumer, on one Kafka.

    python benchmarks/transactions/measure.py --messages 200000 --rounds 3
    chrt -r 1 python benchmarks/transactions/measure.py --rounds 0    # ages alone, with the processor to itself

A contender writes each message of a full topic to another one, in transactions of 100 ms. The broker stamps the records
when it appends them: the rate is the number of records over the time between the first and the last stamp, so nobody
reads while the contenders run. Then messages come at 1,000/s, and a reader of committed records takes their age: from
the call of ``produce`` to the delivery.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, Producer, TopicPartition

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from race.environments import PeerUnavailableError, java_command

from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import KafkaNode

HERE: Final = Path(__file__).resolve().parent
PARTITIONS: Final = 8
COMMIT_MS: Final = 100
SHARES: Final = (50, 90, 99)
CAP_SECONDS: Final = 180.0
LOOK_SECONDS: Final = 0.25
WARM_UP_SECONDS: Final = 3.0
GOALS: Final = {"of our at least once": 0.5, "of the bare loop": 0.3, "of Java": 3.0}
OURS, AT_LEAST_ONCE, BARE, JAVA = "ours, exactly once", "ours, at least once", "bare loop", "Java, transactional"


class Contenders:
    """Starts the programs; each gets a topic to read, one to write, a group."""

    def __init__(self, servers: str, java: list[str] | None, java_threads: int) -> None:
        ours = [sys.executable, str(HERE / "transform.py"), servers]
        self.commands: dict[str, Callable[[str, str, str], list[str]]] = {
            OURS: lambda *topics: [*ours, *topics, str(COMMIT_MS), "exactly_once"],
            AT_LEAST_ONCE: lambda *topics: [*ours, *topics, str(COMMIT_MS), "at_least_once"],
            BARE: lambda *topics: [sys.executable, str(HERE / "bare_loop.py"), servers, *topics, str(COMMIT_MS)],
        }
        if java is not None:
            transform = [*java[:-1], "peer.Transform", servers]
            self.commands[JAVA] = lambda *topics: [*transform, *topics, str(COMMIT_MS), str(java_threads)]

    @contextmanager
    def running(self, name: str, source: str, target: str, group: str) -> Iterator[None]:
        process = subprocess.Popen(self.commands[name](source, target, group), stdin=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pace", type=int, default=1_000, help="messages per second of the second part (0: none)")
    parser.add_argument("--pace-seconds", type=float, default=20.0)
    parser.add_argument("--java-threads", type=int, default=100)
    parser.add_argument("--only", nargs="*", help="names of contenders: ours, bare, java, least")
    arguments = parser.parse_args()
    try:
        java = java_command(print)
    except PeerUnavailableError as error:
        print(error)
        java = None
    with KafkaNode() as node:
        kafka = KafkaCluster(node.bootstrap_servers, node)
        contenders = Contenders(node.bootstrap_servers, java, arguments.java_threads)
        names = [
            name for name in contenders.commands if not arguments.only or any(each in name for each in arguments.only)
        ]
        source = kafka.new_topic(PARTITIONS)
        kafka.produce_numbered(source, arguments.messages, arguments.keys)
        rates: dict[str, list[float]] = {name: [] for name in names}
        for number in range(arguments.rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                rate = rate_of(kafka, contenders, name, source, arguments.messages)
                rates[name].append(rate)
                print(f"round {number + 1}: {name}: {rate:,.0f} records/s, load {os.getloadavg()[0]:.1f}", flush=True)
        ages = {}
        if arguments.pace:
            for name in [each for each in (OURS, BARE) if each in names]:
                ages[name] = ages_of(kafka, contenders, name, arguments.pace, arguments.pace_seconds)
        kafka.close()
    report(rates, ages, arguments)
    return 0


def rate_of(kafka: KafkaCluster, contenders: Contenders, name: str, source: str, messages: int) -> float:
    """Records per second between the broker's stamps of the first and the last record."""
    target = kafka.new_topic(PARTITIONS, {"message.timestamp.type": "LogAppendTime"})
    group = kafka.new_group()
    deadline = time.monotonic() + CAP_SECONDS
    with contenders.running(name, source, target, group):
        while kafka.committed_offsets(group, source) != kafka.end_offsets(source):
            if time.monotonic() > deadline:
                print(f"{name} was stopped at the cap of {CAP_SECONDS:.0f} s")
                break
            time.sleep(LOOK_SECONDS)
    stamps = read_stamps(kafka, target)
    if len(stamps) != messages:
        print(f"{name} wrote {len(stamps):,} records for {messages:,} messages")
    seconds = (max(stamps) - min(stamps)) / 1000
    return len(stamps) / seconds


def read_stamps(kafka: KafkaCluster, topic: str) -> list[int]:
    """The broker's stamp, in milliseconds, of each committed record."""
    stamps: list[int] = []
    for _, stamp in read(kafka, topic, kafka.end_offsets(topic)):
        stamps.append(stamp)
    return stamps


def read(kafka: KafkaCluster, topic: str, ends: Mapping[int, int]) -> Iterator[tuple[bytes, int]]:
    client = Consumer(
        {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "reader", "enable.partition.eof": True}
    )
    try:
        client.assign([TopicPartition(topic, partition, 0) for partition, end in ends.items() if end])
        left = sum(bool(end) for end in ends.values())
        while left:
            for message in client.consume(10_000, 0.2):
                if message.error():
                    left -= 1  # The end of a partition.
                else:
                    yield message.value() or b"", message.timestamp()[1]
    finally:
        client.close()


def ages_of(kafka: KafkaCluster, contenders: Contenders, name: str, pace: int, seconds: float) -> list[float]:
    """Milliseconds from ``produce`` to a reader of committed records, of each message at this pace."""
    source, target, group = kafka.new_topic(PARTITIONS), kafka.new_topic(PARTITIONS), kafka.new_group()
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 1})
    reader = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "reader", "fetch.wait.max.ms": 10})
    reader.assign([TopicPartition(target, partition, 0) for partition in range(PARTITIONS)])
    ages: list[float] = []
    with contenders.running(name, source, target, group):
        producer.produce(source, b"first")
        producer.flush()
        while not any(message.value() == b"first" for message in reader.consume(10, 0.5)):
            pass
        begun = time.monotonic()
        counted_from, sent = begun + WARM_UP_SECONDS, 0
        while (now := time.monotonic()) < begun + WARM_UP_SECONDS + seconds:
            while sent < (now - begun) * pace:
                producer.produce(source, b"%.6f" % (begun + sent / pace), b"key-%d" % (sent % 100))
                sent += 1
            producer.poll(0)
            came = [float(each.value() or b"0") for each in reader.consume(1000, 0.002) if not each.error()]
            ages += [(time.monotonic() - sent_at) * 1000 for sent_at in came if sent_at >= counted_from]
    reader.close()
    return ages


def report(rates: Mapping[str, list[float]], ages: Mapping[str, list[float]], arguments: argparse.Namespace) -> None:
    medians = {name: statistics.median(found) for name, found in rates.items() if found}
    print(f"\n{arguments.messages:,} messages, {arguments.keys} keys, commits every {COMMIT_MS} ms, median of rounds:")
    for name, rate in medians.items():
        print(f"  {name:22} {rate:10,.0f} records/s")
    yardsticks = {"of our at least once": AT_LEAST_ONCE, "of the bare loop": BARE, "of Java": JAVA}
    for said, other in yardsticks.items():
        if OURS in medians and other in medians:
            shares = [mine / theirs for mine, theirs in zip(rates[OURS], rates[other], strict=True)]
            spread = f"rounds {min(shares):.2f}-{max(shares):.2f}"
            print(f"  {statistics.median(shares):.2f} {said} (goal {GOALS[said]:g}; {spread})")
    for name, found in ages.items():
        cuts = statistics.quantiles(found, n=100)
        told = ", ".join(f"P{share} {cuts[share - 1]:.0f} ms" for share in SHARES)
        print(f"  {name:22} {len(found):,} records, read committed: {told}")
    print(json.dumps({"rates": rates, "load": os.getloadavg()}))


if __name__ == "__main__":
    sys.exit(main())
