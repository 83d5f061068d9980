"""``python -m endurance.member JOB``: one member of the soaked group, in a process of its own.

It prints a sample each second. It stops in order after ``messages`` or ``seconds``, or at the end of its input.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from dataclasses import asdict, dataclass, field
from threading import Thread
from typing import Any, Final

from endurance.sample import take
from endurance.workload import in_a_call, in_a_task
from pyrallel_consumer import ExecutionConfig, KafkaConfig, PyrallelConsumer

SAMPLE_SECONDS: Final = 1.0
ENGINES: Final[dict[str, dict[str, Any]]] = {
    "async": {"mode": "async", "worker": in_a_task},
    "thread": {"mode": "thread", "worker": in_a_call, "pool": 32},
    "process": {"mode": "process", "worker": in_a_call, "pool": 2},
    "process-async": {"mode": "process", "worker": in_a_task, "pool": 2},
}
"""The engines by the name that a soak knows them by; ``process-async`` runs coroutines in processes."""


@dataclass(frozen=True, slots=True)
class MemberJob:
    """Plain data. A member that is measured goes by ``messages``, one that comes and goes by ``seconds``."""

    engine: str
    bootstrap_servers: str
    topic: str
    group: str
    messages: int = 0
    seconds: float = 0.0
    client_settings: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        return json.dumps(asdict(self))


def build(job: MemberJob) -> PyrallelConsumer:
    """The library's defaults, but for retries that come soon."""
    engine = ENGINES[job.engine]
    return PyrallelConsumer(
        config=KafkaConfig(
            bootstrap_servers=[job.bootstrap_servers],
            consumer_group=job.group,
            auto_offset_reset="earliest",
            librdkafka=job.client_settings,
        ),
        execution_config=ExecutionConfig(
            mode=engine["mode"], worker_pool_size=engine.get("pool", 0), max_attempts=2, retry_backoff_ms=50
        ),
        worker=engine["worker"],
        topic=job.topic,
    )


async def live(job: MemberJob) -> None:
    """Consume and print samples."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    Thread(target=_wait_for_the_end_of_input, args=(loop, told), daemon=True).start()
    began_at = loop.time()
    async with build(job) as consumer:
        waits = [asyncio.create_task(told.wait()), asyncio.create_task(consumer.wait_closed())]
        while True:
            sample = take(consumer.get_runtime_snapshot(), loop.time() - began_at)
            print(sample.line(), flush=True)
            if (job.messages and sample.messages >= job.messages) or (job.seconds and sample.seconds >= job.seconds):
                break
            ended, _ = await asyncio.wait(waits, timeout=SAMPLE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if ended:
                break
        for wait in waits:
            wait.cancel()
    await consumer.wait_closed()


def _wait_for_the_end_of_input(loop: asyncio.AbstractEventLoop, told: asyncio.Event) -> None:
    sys.stdin.read()
    loop.call_soon_threadsafe(told.set)


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("pyrallel_consumer").setLevel(logging.ERROR)  # Each failed message would be a line.
    asyncio.run(live(MemberJob(**json.loads(sys.argv[1]))))


if __name__ == "__main__":
    main()
