"""A script that gets signals: ``-m tests.integration.consumer.signalled_program WAY WORKER ADDRESS TOPIC GROUP [MS]``.

WAY is ``run_forever``, ``run`` or ``plain`` (``asyncio.run`` of a program that only starts the consumer). WORKER is
``finish`` (ends when the consumer begins to stop) or ``hang`` (never ends). MS is the time of the drain, an hour by
default. Prints a line for each thing that happens.
"""

from __future__ import annotations

import asyncio
import sys

from pyrallel_consumer import PyrallelConsumer, WorkItem
from tests.integration.consuming import execution, kafka


def say(line: str) -> None:
    print(line, flush=True)


async def report_stop(consumer: PyrallelConsumer) -> None:
    while consumer.get_runtime_snapshot().state != "stopping":
        await asyncio.sleep(0.01)
    say("stopping")


def main(way: str, kind: str, bootstrap_servers: str, topic: str, group: str, *, drain_ms: int) -> None:
    running = 0
    reports = []

    async def worker(item: WorkItem) -> None:
        nonlocal running
        running += 1
        if running == 1:
            reports.append(asyncio.create_task(report_stop(consumer)))
        if item.offset == 4:
            say("all running")
        while kind == "hang" or consumer.get_runtime_snapshot().state == "running":
            await asyncio.sleep(0.01)
        say(f"finished {item.offset}")

    consumer = PyrallelConsumer(
        kafka(bootstrap_servers, group),
        worker,
        topic,
        execution_config=execution(max_in_flight=5, shutdown_drain_timeout_ms=drain_ms),
    )

    async def plain() -> None:
        await consumer.start()
        await consumer.wait_closed()

    say("starting")
    if way == "run_forever":
        consumer.run_forever()
    else:
        asyncio.run(consumer.run() if way == "run" else plain())
    say(f"returned {consumer.get_runtime_snapshot().state}")


if __name__ == "__main__":
    main(*sys.argv[1:6], drain_ms=int(sys.argv[6]) if sys.argv[6:] else 3_600_000)
