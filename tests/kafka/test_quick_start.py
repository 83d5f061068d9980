"""The quick start of the documentation, as a user would save and run it: imports, a worker, the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.kafka_cluster import KafkaCluster

TOPIC = "orders"

SCRIPT = """
import asyncio

from pyrallel_consumer.consumer import PyrallelConsumer
from pyrallel_consumer.config import KafkaConfig, ExecutionConfig
from pyrallel_consumer.dto import ExecutionMode, WorkItem

seen = []
all_seen = asyncio.Event()


async def worker(item: WorkItem) -> None:
    seen.append((item.key, item.payload))
    if len(seen) == 30:
        all_seen.set()


async def main() -> None:
    consumer = PyrallelConsumer(config=KafkaConfig(), worker=worker, topic="orders")
    await consumer.start()      # returns once subscribed; raises a clear error when it cannot start
    await all_seen.wait()
    await consumer.stop()       # graceful: stop fetching, drain, final commit, close


asyncio.run(main())
print(sorted(seen) == sorted((b"key-%d" % (n % 3), b"%d" % (n // 3)) for n in range(30)))
"""

OTHER_SPELLINGS = """
import asyncio

from pyrallel_consumer import ExecutionConfig, ExecutionMode, KafkaConfig, PyrallelConsumer, WorkItem

kafka_config = KafkaConfig(AUTO_OFFSET_RESET="earliest")
kafka_config.consumer_group = kafka_config.consumer_group + "-other"
kafka_config.dlq_enabled = True
kafka_config.DLQ_TOPIC_SUFFIX = ".failed"
exec_conf = ExecutionConfig()
exec_conf.mode = ExecutionMode.ASYNC
exec_conf.max_in_flight = 512
exec_conf.max_retries = 5
exec_conf.retry_backoff_ms = 2000
exec_conf.worker_pool_size = 8
seen = []


async def worker(item: WorkItem) -> None:
    seen.append(item)
    if len(seen) == 30:
        asyncio.create_task(consumer.stop())


consumer = PyrallelConsumer(kafka_config, worker, topic="orders", execution_config=exec_conf)
consumer.run_forever()
print(len(seen) == 30)
"""


def run_script(kafka: KafkaCluster, folder: Path, script: str, group: str) -> str:
    path = folder / "quick_start.py"
    path.write_text(script)
    environment = os.environ | {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "KAFKA_CONSUMER_GROUP": group}
    ran = subprocess.run(
        [sys.executable, "-W", "error", path],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_quick_start_runs_as_written(kafka: KafkaCluster, tmp_path: Path) -> None:
    if kafka.partitions(TOPIC):
        kafka.delete_topic(TOPIC)
    kafka.new_topic(partitions=3, name=TOPIC)
    kafka.produce_numbered(TOPIC, messages=30, keys=3)
    group = kafka.new_group()

    assert run_script(kafka, tmp_path, SCRIPT, group) == "True\n"
    assert run_script(kafka, tmp_path, OTHER_SPELLINGS, group) == "True\n"

    end_offsets = {at: end for at, end in kafka.end_offsets(TOPIC).items() if end}
    for committed_by in (group, f"{group}-other"):
        committed = {at: offset for at, offset in kafka.committed_offsets(committed_by, TOPIC).items() if offset}
        assert committed == end_offsets
