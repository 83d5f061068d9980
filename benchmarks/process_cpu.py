"""CPU that this process used while a block ran: as a whole, and by the purpose of its threads."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psutil
from job import Figures

LOOP: Final = "event_loop"
CLIENT: Final = "client_threads"


@contextmanager
def idle_figures() -> Iterator[Figures]:
    """Filled when the block ends: percent of one core, in all (exact) and by thread (in steps of 10 ms)."""
    figures: Figures = {}
    threads_before = _seconds_by_thread()
    started_at, cpu_at = time.perf_counter(), time.process_time()
    yield figures
    cpu_seconds, seconds = time.process_time() - cpu_at, time.perf_counter() - started_at
    figures["cpu_percent"] = 100 * cpu_seconds / seconds
    figures["seconds"] = seconds
    by_name: defaultdict[str, float] = defaultdict(float)
    names = {thread.native_id: _name(thread) for thread in threading.enumerate()}
    for number, used in _seconds_by_thread().items():
        by_name[names.get(number, CLIENT)] += used - threads_before.get(number, 0.0)
    for name, used in by_name.items():
        figures[f"{name}_cpu_percent"] = 100 * used / seconds


def _seconds_by_thread() -> dict[int, float]:
    return {thread.id: thread.user_time + thread.system_time for thread in psutil.Process().threads()}


def _name(thread: threading.Thread) -> str:
    return LOOP if thread is threading.main_thread() else thread.name.replace(" ", "_")
