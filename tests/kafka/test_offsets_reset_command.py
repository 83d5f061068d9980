"""``inspect offsets reset`` on a real Kafka: refused while members run, under both group protocols; then it moves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from typer.testing import CliRunner, Result

from pyrallel_consumer import KafkaConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.cli import main
from tests.kafka.deadline import until
from tests.kafka.protocols import each_group_protocol
from tests.kafka_cluster import KafkaCluster

pytestmark = each_group_protocol

MESSAGES = 10


def reset(config: KafkaConfig, topic: str, to: str, *arguments: str) -> Result:
    servers = ",".join(config.bootstrap_servers)
    options = ["--group", config.consumer_group, "--topic", topic, "--to", to, "--bootstrap-servers", servers]
    return CliRunner().invoke(main, ["inspect", "offsets", "reset", *options, *arguments])


def told(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.output
    [found] = json.loads(done.stdout)["partitions"]
    assert isinstance(found, dict)
    return found


async def test_a_group_is_moved_when_it_has_stopped_and_not_before(
    kafka: KafkaCluster, settings: Callable[..., KafkaConfig]
) -> None:
    topic, config = kafka.new_topic(), settings(kafka.new_group())
    kafka.produce_numbered(topic, messages=MESSAGES, keys=MESSAGES)
    seen: list[int] = []

    async def worker(item: WorkItem) -> None:
        if item.offset == 4 and len(seen) < MESSAGES:
            await asyncio.Event().wait()
        seen.append(item.offset)

    consumer = PyrallelConsumer(config, worker, topic)
    await consumer.start()
    await until(
        lambda: any(each.metadata_bytes and each.finished == 9 for each in consumer.get_runtime_snapshot().partitions),
        "all but one were done and committed",
    )
    refused = await asyncio.to_thread(reset, config, topic, "earliest")
    assert (refused.exit_code, "has 1 member" in refused.output) == (1, True), refused.output
    await consumer.abort()

    found = told(await asyncio.to_thread(reset, config, topic, "1970-01-01T00:00:00Z", "--dry-run", "--json"))
    assert (found["committed_offset"], found["new_offset"], found["map_dropped"]) == (4, 0, True)
    assert told(await asyncio.to_thread(reset, config, topic, "2", "--json"))["new_offset"] == 2
    assert kafka.committed_offsets(config.consumer_group, topic) == {0: 2}

    seen[:] = []

    async def second(item: WorkItem) -> None:
        seen.append(item.offset)

    async with PyrallelConsumer(config, second, topic):
        await until(lambda: len(seen) == MESSAGES - 2, "all from the new offset on ran")
    assert sorted(seen) == list(range(2, MESSAGES))
    found = told(await asyncio.to_thread(reset, config, topic, "2099-01-01T00:00:00Z", "--json"))
    assert (found["new_offset"], found["map_dropped"]) == (MESSAGES, False)
