"""The demo on a real Kafka: with the default protocol, and nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from confluent_kafka.admin import AdminClient

from tests.kafka_cluster import KafkaCluster

DEADLINE_SECONDS = 120.0


def test_the_demo_keeps_its_promises_on_a_real_kafka_and_leaves_nothing_behind(kafka: KafkaCluster) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("pyrallel-consumer"),
            *("demo", "--bootstrap-servers", kafka.bootstrap_servers, "--json"),
            *("--messages", "10000", "--keys", "500", "--partitions", "4", "--worker-ms", "2"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads(done.stdout.splitlines()[-1])
    assert verdict["processed"] == 10_000
    assert (verdict["order_violations"], verdict["duplicates"], verdict["committed_to_end"]) == (0, 0, True)
    assert verdict["second_consumer_processed"] > 0
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    deadline = time.monotonic() + 10.0
    while any(name.startswith("pyrallel-demo-") for name in admin.list_topics(timeout=10.0).topics):
        assert time.monotonic() < deadline, "the demo's topic is still there"
    groups = admin.list_consumer_groups().result(10.0).valid
    assert not any(group.group_id.startswith("pyrallel-demo-") for group in groups)
