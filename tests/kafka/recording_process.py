"""A member that writes exactly once, in a process of its own, to be killed, stopped and started again.

Its worker waits a little, by chance, and returns one record per message, which says where the message stood.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from pyrallel_consumer import KafkaConfig, OutputConfig, PyrallelConsumer, Record, WorkItem
from tests.kafka.deadline import PATIENCE_SECONDS, wait_until
from tests.kafka.told_records import record_of
from tests.kafka_jars import ROOT


class RecordingProcess:
    """Runs until it is killed or stopped. ``settings``: ``kafka`` and ``output`` of the config classes, ``work_ms``."""

    def __init__(self, folder: Path, name: str, topics: tuple[str, str], **settings: Any) -> None:
        self._log = folder / f"{name}.log"
        arguments = json.dumps({"topics": topics, **settings})
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.kafka.recording_process", arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Stops it as an operator would, once it has started and hears signals; returns the exit code."""
        wait_until(lambda: "consuming" in self.log or not self.is_running, "the member has started")
        self._process.terminate()
        return self._process.wait(PATIENCE_SECONDS)

    def wait(self) -> int:
        return self._process.wait(PATIENCE_SECONDS)


def main() -> None:
    settings = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    source, target = settings["topics"]
    most_seconds = settings["work_ms"] / 1000

    async def worker(item: WorkItem) -> Record:
        await asyncio.sleep(random.random() * most_seconds)
        return record_of(item, target)

    PyrallelConsumer(
        KafkaConfig(**settings["kafka"]), worker, source, output=OutputConfig(**settings["output"])
    ).run_forever()


if __name__ == "__main__":
    main()
