"""Dead-letter topics that are missing or lose letters (real Kafka): reported at the start and by ``run --check``."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrallel_consumer import ExecutionConfig, KafkaConfig, OnExhausted, PyrallelConsumer, WorkItem
from tests.kafka.deadline import until
from tests.kafka_cluster import KafkaCluster

Settings = Callable[..., KafkaConfig]


async def worker(item: WorkItem) -> None:
    if item.value == b"fail":
        raise ValueError("no")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "pyrallel_consumer.dead_letters"]


async def test_a_dead_letter_topic_that_is_missing_and_is_not_made_is_told_at_the_start(
    kafka: KafkaCluster, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    topic = kafka.new_topic()

    async with PyrallelConsumer(settings(kafka.new_group()), worker, topic):
        await until(lambda: bool(told(caplog)), "the missing topic is told")

    [sentence] = told(caplog)
    assert sentence.startswith(f"the dead-letter topic {topic}.dlq is not there, or may not be seen: create it, or")
    assert f"{topic}.dlq" not in await asyncio.to_thread(kafka.topics)


async def test_a_topic_that_a_pattern_matches_and_whose_letters_can_have_no_topic_is_told_at_the_start(
    kafka: KafkaCluster, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    name = kafka.new_name("long")
    topic = kafka.new_topic(name=name + "x" * (249 - len(name)))

    async with PyrallelConsumer(settings(kafka.new_group()), worker, f"^{name}.*"):
        await until(lambda: bool(told(caplog)), "the name is told")

    [sentence] = told(caplog)
    assert sentence.startswith(
        f"the dead-letter topic {topic}.dlq is too long a name: choose a shorter dlq_topic_suffix"
    )


@pytest.mark.parametrize("on_exhausted", [OnExhausted.DLQ, OnExhausted.SKIP])
async def test_nothing_is_told_where_the_topic_is_there_or_not_needed(
    kafka: KafkaCluster, settings: Settings, caplog: pytest.LogCaptureFixture, on_exhausted: OnExhausted
) -> None:
    topic = kafka.new_topic()
    if on_exhausted is OnExhausted.DLQ:
        kafka.new_topic(name=f"{topic}.dlq")
    kafka.produce(topic, [(b"key", b"fail")])
    execution = ExecutionConfig(on_exhausted=on_exhausted, max_retries=1)

    async with PyrallelConsumer(settings(kafka.new_group()), worker, topic, execution_config=execution) as consumer:
        await until(
            lambda: [each.committed_offset for each in consumer.get_runtime_snapshot().partitions] == [1],
            "the message is dead-lettered or skipped",
        )

    assert told(caplog) == []


def test_the_check_warns_of_dead_letter_topics_that_lose_letters(kafka: KafkaCluster, tmp_path: Path) -> None:
    names = [kafka.new_topic() for _ in range(3)]
    for name, config in zip(names, ({"retention.ms": "3600000"}, {"cleanup.policy": "compact"}, {}), strict=True):
        kafka.new_topic(name=f"{name}.dlq", config=config)
    (tmp_path / "shop.py").write_text("async def handle(item): ...\n")
    topics = [argument for name in names for argument in ("--topic", name)]
    done = subprocess.run(
        [
            Path(sys.executable).with_name("pyrallel-consumer"),
            *("run", "shop:handle", *topics, "--bootstrap-servers", kafka.bootstrap_servers, "--group", "check"),
            *("--app-dir", str(tmp_path), "--check", "--log-format", "json"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    findings = [each for each in json.loads(done.stdout)["findings"] if each["subject"] == "dead letters"]
    assert {each["verdict"] for each in findings} == {"warning"}
    assert sorted(each["text"].split(" ")[1] for each in findings) == ["cleanup.policy=compact", "retention.ms=3600000"]
