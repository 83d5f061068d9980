"""Topics of dead letters, and the command that works on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from pyrallel_consumer import (
    DoNotRetry,
    EmbeddedBroker,
    KafkaConfig,
    ParallelConsumerConfig,
    PyrallelConsumer,
    WorkItem,
)
from tests.integration.consuming import execution, new_group, until
from tests.letter_box import FoundLetter, read_letters

COMMAND = Path(sys.executable).with_name("pyrallel-consumer")
DEADLINE_SECONDS = 60.0
PARTITIONS = 3
MESSAGES = 300
TIME_MS = 1_600_000_000_000


async def dead_letter(
    broker: EmbeddedBroker,
    messages: int = MESSAGES,
    *,
    topic: str = "orders",
    partitions: int = PARTITIONS,
    **more: Any,
) -> None:
    """Every message of the topic fails; a third of them with an error of its own."""
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "enable.idempotence": True})
    for number in range(messages):
        producer.produce(
            topic,
            json.dumps({"number": number}).encode(),
            f"key-{number % 7}".encode(),
            number % partitions,
            timestamp=TIME_MS + number * 1000,
            headers=[("trace", b"%d" % number)],
        )
    assert producer.flush(DEADLINE_SECONDS) == 0
    await fail_all(broker, messages, topic=topic, **more)


async def fail_all(broker: EmbeddedBroker, messages: int, *, topic: str, group: str | None = None, **more: Any) -> None:
    async def worker(item: WorkItem) -> None:
        number = json.loads(item.payload or b"{}")["number"]
        if number % 3 == 0:
            raise DoNotRetry(f"no stock for {number}")
        raise ValueError("invalid data")

    config = KafkaConfig(
        bootstrap_servers=broker.bootstrap_servers,
        consumer_group=group or new_group(),
        librdkafka={"group.protocol": "consumer"},  # joins in an instant
        parallel_consumer=ParallelConsumerConfig(commit_interval_ms=50),
        **more,
    )
    consumer = PyrallelConsumer(config, worker, topic, execution_config=execution(max_retries=1))
    async with consumer:
        await until(
            lambda: sum(each.committed_offset for each in consumer.get_runtime_snapshot().partitions) == messages,
            consumer.get_runtime_snapshot,
        )


def dlq_command(broker: EmbeddedBroker | str, command: str, *arguments: str) -> list[str]:
    address = broker if isinstance(broker, str) else broker.bootstrap_servers
    return [str(COMMAND), "dlq", command, "--bootstrap-servers", address, *arguments]


def settings_of_nobody() -> dict[str, str]:
    ours = ("KAFKA_", "EXECUTION_", "PARALLEL_CONSUMER_", "METRICS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {"PYTHONUNBUFFERED": "1"}


def dlq(
    broker: EmbeddedBroker | str, command: str, *arguments: str, encoding: str = "utf-8"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        dlq_command(broker, command, *arguments),
        capture_output=True,
        encoding=encoding,
        check=False,
        timeout=DEADLINE_SECONDS,
        env=settings_of_nobody() | {"PYTHONIOENCODING": encoding},
    )


def found(done: subprocess.CompletedProcess[str], code: int = 0) -> dict[str, Any]:
    assert done.returncode == code, done.stdout + done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(last, dict)
    return last


def replay(broker: EmbeddedBroker, *arguments: str, code: int = 0) -> dict[str, Any]:
    return found(dlq(broker, "replay", "--topic", "orders", "--json", *arguments), code)


def replayed(broker: EmbeddedBroker, topic: str = "orders") -> list[FoundLetter]:
    """The messages that came back to the topic, partition by partition."""
    return [record for record in read_letters(broker.bootstrap_servers, topic) if "x-replay-count" in record.ours]
