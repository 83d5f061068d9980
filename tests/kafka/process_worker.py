"""Workers for worker processes, each of which keeps a journal of its own, named after its process id."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from pyrallel_consumer import WorkItem
from tests.kafka.journal import SUFFIX, Journal

_journals: dict[Path, Journal] = {}


def process_worker(folder: Path, work_ms: float, item: WorkItem, *, name: str = "") -> None:
    """Notes that it runs, takes its time, and notes that it has ended; ``name`` goes before the process id."""
    with _journal(folder, name).run(item):
        time.sleep(work_ms / 1000)


async def async_process_worker(folder: Path, work_ms: float, item: WorkItem, *, name: str = "") -> None:
    """The same as a coroutine: others run meanwhile."""
    with _journal(folder, name).run(item):
        await asyncio.sleep(work_ms / 1000)


def _journal(folder: Path, name: str) -> Journal:
    if folder not in _journals:
        _journals[folder] = Journal(folder, f"{name}{os.getpid()}")
    return _journals[folder]


def pids(folder: Path) -> set[int]:
    """Process ids of all that ever ran there."""
    return {int(path.stem) for path in folder.glob(f"*{SUFFIX}")}
