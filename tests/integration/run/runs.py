"""``pyrallel-consumer run`` as a process of its own, in a folder and an environment of the test's."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from pyrallel_consumer import EmbeddedBroker
from tests.integration.consuming import committed, new_group
from tests.integration.program import Program, running_program

COMMAND = str(Path(sys.executable).with_name("pyrallel-consumer"))
DEADLINE_SECONDS = 60.0
OURS = ("KAFKA_", "EXECUTION_", "PARALLEL_CONSUMER_", "METRICS_", "PYRALLEL_")


def quick_environment(broker: EmbeddedBroker) -> dict[str, str]:
    """Settings under which groups on the embedded broker are quick, with a group of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return clean | {
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "KAFKA_CONSUMER_GROUP": new_group(),
        "KAFKA_LIBRDKAFKA": '{"session.timeout.ms": 3000, "heartbeat.interval.ms": 150}',
        "PARALLEL_CONSUMER_COMMIT_INTERVAL_MS": "50",
        "EXECUTION_RETRY_BACKOFF_MS": "10",
        "EXECUTION_SHUTDOWN_DRAIN_TIMEOUT_MS": "3600000",
    }


class Runs:
    """``pyrallel-consumer run`` in one folder and environment: to its end, or for the length of a block."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment

    def done(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, "run", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECONDS,
            cwd=self.folder,
            env=self.environment | environment,
        )

    def started(self, *arguments: str) -> AbstractContextManager[Program]:
        return running_program(
            COMMAND, "run", *arguments, stderr=subprocess.STDOUT, cwd=self.folder, env=self.environment
        )

    def committed(self, topic: str, partitions: int = 1) -> list[int]:
        servers, group = (self.environment[f"KAFKA_{name}"] for name in ("BOOTSTRAP_SERVERS", "CONSUMER_GROUP"))
        return committed(servers, group, topic, partitions)
