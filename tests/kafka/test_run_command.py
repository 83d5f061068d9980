"""``pyrallel-consumer run`` on a real Kafka: bursts of a group, a log that ends in a transaction's marker, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.kafka.deadline import until
from tests.kafka_cluster import KafkaCluster

DEADLINE_SECONDS = 120.0
WORKER = """
import os, time
from pathlib import Path

def handle(item):
    with Path("runs").open("ab", buffering=0) as runs:
        runs.write(b"%d:%d\\n" % (item.partition, item.offset))
    time.sleep(float(os.environ.get("WORK_SECONDS", "0.001")))
"""


class Command:
    """``run`` on the workers of one folder."""

    def __init__(self, kafka: KafkaCluster, folder: Path, group: str) -> None:
        self._folder = folder
        ours = ("KAFKA_", "EXECUTION_", "PARALLEL_CONSUMER_", "METRICS_", "PYRALLEL_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self._environment = clean | {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "KAFKA_CONSUMER_GROUP": group,
            "KAFKA_SESSION_TIMEOUT_MS": "6000",
            "KAFKA_DLQ_ENABLED": "false",
        }

    def start(self, topic: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        command = Path(sys.executable).with_name("pyrallel-consumer")
        return subprocess.Popen(
            [command, "run", "app:handle", "--topic", topic, "--mode", "thread", "--concurrency", "8", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._folder,
            env=self._environment | environment,
        )

    def runs(self) -> list[str]:
        file = self._folder / "runs"
        return file.read_text().splitlines() if file.exists() else []


def ended(process: subprocess.Popen[str], exit_code: int = 0) -> str:
    """Its standard output."""
    said, complaints = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == exit_code, said + complaints
    return said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(WORKER)
    return tmp_path


def test_two_bursts_of_a_group_end_when_all_is_done_whoever_did_it(kafka: KafkaCluster, folder: Path) -> None:
    topic, group = kafka.new_topic(4), kafka.new_group()
    kafka.produce_numbered(topic, messages=2_000, keys=200)
    ends = kafka.end_offsets(topic)
    command = Command(kafka, folder, group)

    both = [command.start(topic, "--burst", "--log-format", "json", WORK_SECONDS="0.01") for _ in range(2)]
    verdicts: list[dict[str, Any]] = [json.loads(ended(each)) for each in both]

    assert [verdict["ok"] for verdict in verdicts] == [True, True]
    assert kafka.committed_offsets(group, topic) == ends
    assert sorted(command.runs()) == sorted(f"{tp}:{offset}" for tp, end in ends.items() for offset in range(end))
    assert sum(verdict["processed"] for verdict in verdicts) == 2_000


def test_a_burst_ends_though_the_log_ends_with_the_marker_of_a_transaction(kafka: KafkaCluster, folder: Path) -> None:
    topic, group = kafka.new_topic(1), kafka.new_group()
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": kafka.new_name("burst")})
    producer.init_transactions(DEADLINE_SECONDS)
    for is_kept in (True, False):
        producer.begin_transaction()
        for number in range(5):
            producer.produce(topic, b"%d" % number)
        producer.flush(DEADLINE_SECONDS)
        (producer.commit_transaction if is_kept else producer.abort_transaction)(DEADLINE_SECONDS)
    assert kafka.end_offsets(topic) == {0: 12}

    said = ended(Command(kafka, folder, group).start(topic, "--burst"))

    assert "5 messages processed" in said
    assert kafka.committed_offsets(group, topic) == {0: 12}


async def test_a_signal_drains_and_the_next_run_goes_on_behind_it(kafka: KafkaCluster, folder: Path) -> None:
    topic, group = kafka.new_topic(1), kafka.new_group()
    kafka.produce_numbered(topic, messages=400, keys=400)
    command = Command(kafka, folder, group)
    first = command.start(topic, WORK_SECONDS="0.1")
    await until(lambda: len(command.runs()) >= 16, "two rounds of eight have begun")

    first.send_signal(signal.SIGTERM)
    ended(first)
    done = len(command.runs())
    assert done < 400
    assert kafka.committed_offsets(group, topic) == {0: done}

    ended(command.start(topic, "--burst"))
    assert sorted(command.runs()) == sorted(f"0:{offset}" for offset in range(400))
