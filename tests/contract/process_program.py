"""A program that runs a process engine; tests start it in several wrong and right ways. Its worker is its own.

Arguments: how many items, and a file to which the workers append their process ids.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.execution_plane.engine import CompletionChannel
from pyrallel_consumer.execution_plane.processes.parent.process_engine import ProcessEngine
from pyrallel_consumer.testing.messages import work_item


class OwnError(Exception):
    """An error class of the main module: worker processes import that module under another name."""


def worker(item: WorkItem) -> None:
    """Does what the item says: fail, or work for ever."""
    with Path(sys.argv[2]).open("a") as log:
        log.write(f"{os.getpid()}\n")
    if item.payload == b"fail":
        raise OwnError("of main")
    if item.payload == b"for ever":
        time.sleep(60)


async def main(values: list[bytes]) -> None:
    woken = asyncio.Event()
    channel = CompletionChannel(woken.set)
    engine = ProcessEngine(worker, RetryPolicy(max_attempts=1), 100, 2)
    try:
        await engine.start(channel, time.monotonic)
        for value in values:
            engine.submit(work_item(value))
        successes = 0
        failures: list[str] = []
        while successes + len(failures) < len(values):
            await woken.wait()
            woken.clear()
            finished = channel.drain(100)
            successes += len(finished.successes)
            failures += [type(failed.error).__name__ for failed in finished.failures]
        print(successes, *failures)
    finally:
        await engine.stop(1)


if __name__ == "__main__" or "unguarded" in sys.argv:
    asyncio.run(main([value.encode() for value in sys.argv[1].split(",")]))
