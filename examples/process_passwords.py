"""Process workers for work that keeps the CPU busy: the same function, on every core, each with a setup of its own.

    python examples/process_passwords.py

It runs on the Kafka of KAFKA_BOOTSTRAP_SERVERS, or on a broker of its own where that is not set. Each message is a
password to be stretched with PBKDF2. A worker runs in another process, so what it finds out goes where others can read
it, here a file per process, which the initializer opens once. One worker is killed on the way: nothing is lost.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TextIO

from pyrallel_consumer import ExecutionConfig, ExecutionMode, PyrallelConsumer, WorkItem
from pyrallel_consumer.testing import TrialKafka

PASSWORDS, ROUNDS, PROCESSES = 400, 5_000, 2

output: TextIO


def open_output(folder: Path) -> None:
    """The initializer: runs once in each process, before its first message."""
    global output  # noqa: PLW0603 -- one process, one worker at a time: a module's variable is its memory
    output = (folder / f"{os.getpid()}.txt").open("a", encoding="ascii")


def stretched(password: bytes) -> str:
    return hashlib.pbkdf2_hmac("sha256", password, b"salt", ROUNDS).hex()


def worker(item: WorkItem) -> None:
    """At the top of the module, so that other processes can import it."""
    output.write(f"{item.offset} {item.partition} {stretched(item.payload or b'')}\n")
    output.flush()  # what is not written when it returns would be lost with the process


def written(folder: Path) -> dict[int, list[str]]:
    """The lines of each process, by its id."""
    return {int(each.stem): each.read_text("ascii").splitlines() for each in folder.glob("*.txt")}


async def main(folder: Path) -> int:
    passwords = [(f"user-{number}".encode(), f"password-{number}".encode()) for number in range(PASSWORDS)]
    execution = ExecutionConfig(
        mode=ExecutionMode.PROCESS,
        worker_pool_size=PROCESSES,
        initializer=partial(open_output, folder),
        retry_backoff_ms=10,
    )
    with TrialKafka() as kafka:
        topic = kafka.topic("passwords", passwords)
        async with PyrallelConsumer(kafka.config, worker, topic=topic, execution_config=execution), asyncio.timeout(60):
            while not (busy := [pid for pid, lines in written(folder).items() if len(lines) > 20]):
                await asyncio.sleep(0.01)
            os.kill(busy[0], signal.SIGKILL)
            await kafka.until_done(topic)

    lines = written(folder)
    results = Counter(line.split()[2] for each in lines.values() for line in each if len(line.split()) == 3)
    missing = {stretched(password) for _, password in passwords} - set(results)
    twice = sum(results.values()) - len(results)
    shares = ", ".join(str(len(each)) for each in lines.values())
    print(f"{PASSWORDS} passwords, by process: {shares}; one process was killed on the way, {twice} ran twice")
    holds = not missing and len(lines) >= PROCESSES
    print("OK: every password is stretched" if holds else f"FAILED: {len(missing)} are missing, {len(lines)} processes")
    return 0 if holds else 1


if __name__ == "__main__":  # worker processes import this file: without the guard they would run it
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(asyncio.run(main(Path(temporary))))
