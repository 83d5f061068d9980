"""What a worker did, line by line in a file that survives a kill -9 of its process: one system call per line.

One journal has one writer. A line is ``+ run time topic partition offset key value attempt`` for a start and
``kind run time`` for an end, bytes in hexadecimal, ``-`` for None, times in nanoseconds of the monotonic clock.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from pyrallel_consumer import WorkItem
from tests.kafka.history import History, Place, Run

SUFFIX = ".journal"
ENDS = {"f": "finished", "c": "cancelled", "x": "failed"}


class Journal:
    """The journal that ``owner`` writes in ``folder``; ``started`` and ``finished`` count its runs."""

    def __init__(self, folder: Path, owner: str) -> None:
        self.owner = owner
        self.folder = folder
        self.started = 0
        self._numbers = itertools.count(1)
        self.finished = 0
        self._file = os.open(folder / f"{owner}{SUFFIX}", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)

    @contextmanager
    def run(self, item: WorkItem) -> Iterator[None]:
        """Notes that a worker runs, and how it ended."""
        began_ns = time.monotonic_ns()
        number = self.started = next(self._numbers)  # threads may run beside each other
        place = f"{item.topic} {item.partition} {item.offset}"
        self._write(f"+ {number} {began_ns} {place} {_hex(item.key)} {_hex(item.value)} {item.attempt}\n")
        kind = "x"
        try:
            yield
            kind = "f"
            self.finished += 1
        except asyncio.CancelledError:
            kind = "c"
            raise
        finally:
            self._write(f"{kind} {number} {time.monotonic_ns()}\n")

    def history(self) -> History:
        """The content of this journal so far."""
        journal = _read_journal(self.folder / f"{self.owner}{SUFFIX}")
        journal.read_on()
        return History(journal.runs.values())

    def close(self) -> None:
        os.close(self._file)

    def _write(self, line: str) -> None:
        os.write(self._file, line.encode())


def journaling_worker(
    journal: Journal, work_ms: float = 0.0, never_finish: Collection[tuple[int, int]] = (), fails_every: int = 0
) -> Callable[[WorkItem], Any]:
    """A worker that waits ``work_ms``, or for ever on those partitions' offsets, and notes what it does.

    It fails on offsets that are multiples of ``fails_every``, unless that is 0.
    """
    stuck = frozenset(never_finish)

    async def worker(item: WorkItem) -> None:
        with journal.run(item):
            if stuck and (item.partition, item.offset) in stuck:
                await asyncio.Event().wait()
            if work_ms:
                await asyncio.sleep(work_ms / 1000)
            if fails_every and item.offset % fails_every == 0:
                raise ValueError("invalid data")

    return worker


def plain_journaling_worker(journal: Journal, work_ms: float) -> Callable[[WorkItem], None]:
    """A plain function that notes what it does and waits ``work_ms``."""

    def worker(item: WorkItem) -> None:
        with journal.run(item):
            time.sleep(work_ms / 1000)

    return worker


def read_journals(folder: Path) -> History:
    """The content of all journals of ``folder``, as far as they are written."""
    return History(run for journal in _read_anew(folder) for run in journal.runs.values())


def finished_places(folder: Path, owner: str) -> set[Place]:
    """The messages that owners with this prefix finished, as far as that is written."""
    return {place for journal in _read_anew(folder) if journal.owner.startswith(owner) for place in journal.finished}


class _ReadJournal:
    """A journal as far as it was read: tests look at one again and again while it grows."""

    def __init__(self, path: Path) -> None:
        self.owner = path.stem
        self.runs: dict[str, Run] = {}
        self.finished: set[Place] = set()
        self._path = path
        self._read_bytes = 0
        self._lock = Lock()

    def read_on(self) -> None:
        with self._lock, self._path.open("rb") as file:
            file.seek(self._read_bytes)
            whole, newline, _ = file.read().rpartition(b"\n")  # a line without its end is still being written
            self._read_bytes += len(whole) + len(newline)
            for line in whole.decode().split("\n") if newline else ():
                self._take(line)

    def _take(self, line: str) -> None:
        kind, number, at_ns, *rest = line.split(" ")
        if kind == "+":
            topic, partition, offset, key, value, attempt = rest
            place = (topic, int(partition), int(offset))
            self.runs[number] = Run(self.owner, place, _bytes(key), _bytes(value), int(at_ns), attempt=int(attempt))
        else:
            run = self.runs[number] = replace(self.runs[number], ended_ns=int(at_ns), end=ENDS[kind])
            if run.is_finished:
                self.finished.add(run.place)


@lru_cache(maxsize=256)
def _read_journal(path: Path) -> _ReadJournal:
    return _ReadJournal(path)


def _read_anew(folder: Path) -> list[_ReadJournal]:
    journals = [_read_journal(path) for path in folder.glob(f"*{SUFFIX}")]
    for journal in journals:
        journal.read_on()
    return journals


def _hex(data: bytes | None) -> str:
    return "-" if data is None else data.hex()


def _bytes(text: str) -> bytes | None:
    return None if text == "-" else bytes.fromhex(text)
