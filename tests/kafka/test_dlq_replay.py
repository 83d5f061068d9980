"""Dead letters on a real Kafka: replayed once each, with a stop in the middle, by the group's commit alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from pyrallel_consumer import DoNotRetry, KafkaConfig, ParallelConsumerConfig, PyrallelConsumer, WorkItem
from tests.kafka.deadline import until, until_asked, wait_until
from tests.kafka_cluster import KafkaCluster
from tests.letter_box import read_letters

DEADLINE_SECONDS = 60.0
LETTERS = 400


def command(kafka: KafkaCluster, topic: str) -> list[str | Path]:
    program = Path(sys.executable).with_name("pyrallel-consumer")
    return [program, "dlq", "replay", "--bootstrap-servers", kafka.bootstrap_servers, "--topic", topic, "--json"]


def replay(kafka: KafkaCluster, topic: str, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [*command(kafka, topic), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == code, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


async def test_replays_in_part_and_then_whole_bring_every_letter_back_once(kafka: KafkaCluster) -> None:
    topic = kafka.new_topic(4)
    kafka.new_topic(4, name=f"{topic}.dlq")
    kafka.produce(topic, [(b"key-%d" % (number % 20), b"%d" % number) for number in range(LETTERS)])

    async def worker(item: WorkItem) -> None:
        raise DoNotRetry("even" if int(item.payload or b"") % 2 == 0 else "odd")

    config = KafkaConfig(
        bootstrap_servers=kafka.bootstrap_servers,
        consumer_group=kafka.new_group(),
        parallel_consumer=ParallelConsumerConfig(commit_interval_ms=50),
    )
    async with PyrallelConsumer(config, worker, topic) as consumer:
        await until(
            lambda: sum(each.committed_offset for each in consumer.get_runtime_snapshot().partitions) == LETTERS,
            "every message is dead-lettered",
        )

    limited = replay(kafka, topic, "--limit", "30")
    even = replay(kafka, topic, "--filter", "error=even")
    rest = replay(kafka, topic)

    assert limited["replayed"] == 30
    assert even["not_selected"] > 0
    assert limited["replayed"] + even["replayed"] + rest["replayed"] == LETTERS
    assert replay(kafka, topic)["read"] == 0
    records = [each for each in read_letters(kafka.bootstrap_servers, topic) if "x-replay-count" in each.ours]
    assert Counter(int(each.value or b"") for each in records) == Counter(range(LETTERS))
    assert {tuple(name for name, _ in each.headers) for each in records} == {("x-original-timestamp", "x-replay-count")}


def test_a_replay_in_transactions_that_is_killed_again_and_again_sends_every_letter_once(
    kafka: KafkaCluster, tmp_path: Path
) -> None:
    topic = kafka.new_topic(2, {"max.message.bytes": "3000"})
    kafka.new_topic(2, name=f"{topic}.dlq")
    large = 77
    fill_with_letters(kafka, topic, LETTERS, {large: b"x" * 5000})

    for enough in (1, LETTERS // 3, LETTERS // 2):
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen([*command(kafka, topic), "--exactly-once", "--rate", "150"], stdout=log)
        wait_until(lambda enough=enough: replayed(kafka, topic) >= enough, f"{enough} are replayed")  # type: ignore[misc]
        process.kill()
        process.wait()
    last = replay(kafka, topic, "--exactly-once", code=1)

    assert last["failed"] == 1
    found = Counter(int(letter.ours["number"]) for letter in read_letters(kafka.bootstrap_servers, topic))
    assert found == Counter(set(range(LETTERS)) - {large})
    assert replay(kafka, topic, "--exactly-once", code=1)["replayed"] == 0


def fill_with_letters(kafka: KafkaCluster, topic: str, letters: int, values: dict[int, bytes]) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for number in range(letters):
        source = {"source-topic": topic, "partition": str(number % 2), "offset": "0", "number": str(number)}
        headers: list[tuple[str, str | bytes | None]] = [*source.items()]
        producer.produce(f"{topic}.dlq", values.get(number, b"value"), b"key-%d" % (number % 20), headers=headers)
    assert producer.flush(DEADLINE_SECONDS) == 0


def replayed(kafka: KafkaCluster, topic: str) -> int:
    return len(read_letters(kafka.bootstrap_servers, topic))


async def test_replayed_messages_outlive_the_retention_that_deletes_a_record_as_old_as_they(
    kafka: KafkaCluster,
) -> None:
    topic, control = kafka.new_topic(), kafka.new_topic()
    kafka.new_topic(name=f"{topic}.dlq")
    month_ago_ms = int(time.time() * 1000) - 30 * 86_400_000
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    names = ("source-topic", "partition", "offset", "x-original-timestamp")
    headers: list[tuple[str, str | bytes | None]] = [*zip(names, (topic, "0", "17", str(month_ago_ms)), strict=True)]
    producer.produce(f"{topic}.dlq", b"value", b"key", headers=headers)
    assert producer.flush(DEADLINE_SECONDS) == 0

    assert replay(kafka, topic)["replayed"] == 1
    kafka.produce(control, [(b"key", b"value")], timestamp=month_ago_ms)
    await until_asked(lambda: kafka.log_starts(control) == {0: 1}, "retention has deleted the record of the same age")

    [record] = read_letters(kafka.bootstrap_servers, topic)
    assert record.ours == {"x-original-timestamp": str(month_ago_ms), "x-replay-count": "1"}
