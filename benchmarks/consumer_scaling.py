"""More cores for workers that await: one event loop, loops in two processes, and members of ``run --consumers``."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import psutil
from consumer_engines import PROCESSES, ClockedEngine, consume
from consumer_setup import GIVE_UP_SECONDS, uncommitted
from engine_workers import compute_and_wait
from job import HERE, Figures, Job

from pyrallel_consumer.config import ExecutionConfig
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.execution_plane.async_engine import AsyncEngine
from pyrallel_consumer.execution_plane.processes.parent.async_process_engine import AsyncProcessEngine

ASK_SECONDS: Final = 0.05


class ClockedLoop(AsyncEngine, ClockedEngine):  # type: ignore[misc, valid-type]  # the form that fits this Python
    """One event loop, which notes its submissions on its clock."""

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self.clock.submit(len(items))
        super().submit_all(items)


class ClockedLoops(AsyncProcessEngine, ClockedEngine):
    """Event loops in processes, with a clock."""

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self.clock.submit(len(items))
        super().submit_all(items)


async def on_one_loop(job: Job) -> Figures:
    """``busy_us`` of computing and ``worker_ms`` of waiting for each message, on the consumer's own event loop."""
    worker = partial(compute_and_wait, job.busy_us / 1e6, job.worker_ms / 1000)
    return await consume(job, ClockedLoop(worker, ExecutionConfig().retry_policy(), job.max_in_flight))


async def in_processes(job: Job) -> Figures:
    """The same in two processes; CPU of the processes beside that of the parent."""
    worker = partial(compute_and_wait, job.busy_us / 1e6, job.worker_ms / 1000)
    engine = ClockedLoops(worker, ExecutionConfig().retry_policy(), job.max_in_flight, PROCESSES)
    before, seen = 0.0, 0.0

    async def look() -> None:
        nonlocal before, seen
        while True:
            times = [child.cpu_times() for child in psutil.Process().children()]
            seen = max(seen, sum(each.user + each.system for each in times))  # At the end there are none.
            if not hasattr(engine, "clock") or not engine.clock.submitted:
                before = seen  # The cost of starting them.
            await asyncio.sleep(ASK_SECONDS)

    looking = asyncio.create_task(look())
    try:
        figures = await consume(job, engine)
    finally:
        looking.cancel()
    return figures | {"children_cpu_us_per_message": (seen - before) / job.messages * 1e6}


def members(job: Job) -> Figures:
    """``consumers`` members of one ``run``, from the first commit to the last, as the group's offsets tell."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "app.py").write_text(
            "from functools import partial\nfrom engine_workers import compute_and_wait\n\n"
            f"handle = partial(compute_and_wait, {job.busy_us / 1e6}, {job.worker_ms / 1000})\n"
        )
        return _timed(job, folder)


def _timed(job: Job, folder: str) -> Figures:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]),
        "KAFKA_BOOTSTRAP_SERVERS": job.bootstrap_servers,
        "KAFKA_CONSUMER_GROUP": job.group,
        "EXECUTION_MAX_IN_FLIGHT": str(job.max_in_flight),
        "PARALLEL_CONSUMER_COMMIT_INTERVAL_MS": "100",  # So the first and the last commit tell the time closely.
    }
    command = [sys.executable, "-m", "pyrallel_consumer", "run", "app:handle", "--topic", job.topic]
    program = subprocess.Popen(
        [*command, "--consumers", str(job.consumers), "--log-level", "error"], cwd=folder, env=environment
    )
    try:
        began_at, left, first, idle_at = 0.0, job.messages, job.messages, time.perf_counter()
        give_up_at = time.perf_counter() + GIVE_UP_SECONDS
        while left and time.perf_counter() < give_up_at:
            left = uncommitted(job)
            if left == job.messages:
                idle_at = time.perf_counter()
            elif not began_at:
                # If all was done between two looks, it took at most the time between them.
                began_at, first = (time.perf_counter(), left) if left else (idle_at, job.messages)
            time.sleep(ASK_SECONDS)
        seconds = time.perf_counter() - began_at
    finally:
        program.send_signal(signal.SIGTERM)
        program.wait()
    return {
        "messages_per_second": first / seconds,
        "seconds": seconds,
        "processed": job.messages,
        "uncommitted": left,
    }
