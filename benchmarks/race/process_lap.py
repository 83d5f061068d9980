"""A lap whose workers are processes: each counts, and notes its sample, in a file that the measuring process maps.

A file has three numbers of 8 bytes (finished, moment of the last end, samples) and then the samples, four numbers each:
partition, offset, begun, ended. All moments are of the machine's monotonic clock, which processes share.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
import tempfile
from pathlib import Path
from typing import Any, Final

from race.lap_plan import LapPlan
from race.stopwatch import Stopwatch
from race.workers import blocking_work

HEAD: Final = struct.Struct("=qqq")
SAMPLE: Final = struct.Struct("=qqqq")
MOST_SAMPLES: Final = 100_000
SIZE: Final = HEAD.size + MOST_SAMPLES * SAMPLE.size
LOOK_SECONDS: Final = 0.005


class ProcessWorker:
    """The worker; every process makes its file with its first message."""

    def __init__(self, plan: LapPlan, folder: str) -> None:
        self._plan = plan
        self._folder = folder
        self._file: mmap.mmap | None = None

    def __getstate__(self) -> tuple[LapPlan, str]:
        return self._plan, self._folder

    def __setstate__(self, state: tuple[LapPlan, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __call__(self, item: Any) -> None:
        if self._file is None:
            self._begin()
        file = self._file
        assert file is not None
        begun = self._clock()
        self._work(1.0)
        ended = self._clock()
        offset = item.offset
        if not offset & self._mask and self._samples < MOST_SAMPLES:
            at = HEAD.size + self._samples * SAMPLE.size
            SAMPLE.pack_into(file, at, _partition(item), offset, begun, ended)
            self._samples += 1
        self._finished += 1
        HEAD.pack_into(file, 0, self._finished, ended, self._samples)

    def _begin(self) -> None:
        from time import perf_counter_ns  # noqa: PLC0415 -- the worker travels by pickle

        self._clock = perf_counter_ns
        self._mask = self._plan.sample_mask
        self._work = blocking_work(self._plan)
        self._finished = self._samples = 0
        file = os.open(f"{self._folder}/{os.getpid()}", os.O_RDWR | os.O_CREAT, 0o600)
        os.truncate(file, SIZE)
        self._file = mmap.mmap(file, SIZE)


class ProcessLap:
    """The measuring side."""

    def __init__(self, plan: LapPlan, watch: Stopwatch) -> None:
        self.folder = tempfile.mkdtemp(prefix="race-")
        self._plan = plan
        self._watch = watch
        self._files: dict[str, mmap.mmap] = {}

    def finished(self) -> int:
        return sum(head[0] for head in self._heads())

    async def until_over(self, watch: Stopwatch) -> None:
        """Return when the last message is finished or the cap is reached."""
        while not watch.is_late():
            if self.finished() >= self._plan.messages:
                self._take_samples()
                watch.end(max(head[1] for head in self._heads()))
                return
            await asyncio.sleep(LOOK_SECONDS)
        self._take_samples()

    def _heads(self) -> list[tuple[int, ...]]:
        for path in Path(self.folder).iterdir():
            if path.name not in self._files:
                with path.open("r+b") as file:
                    if os.fstat(file.fileno()).st_size == SIZE:
                        self._files[path.name] = mmap.mmap(file.fileno(), SIZE)
        return [HEAD.unpack_from(file) for file in self._files.values()]

    def _take_samples(self) -> None:
        for head, file in zip(self._heads(), self._files.values(), strict=True):
            for number in range(head[2]):
                partition, offset, begun, ended = SAMPLE.unpack_from(file, HEAD.size + number * SAMPLE.size)
                self._watch.sample((partition, offset), begun, None, ended)


def _partition(item: Any) -> int:
    tp = item.tp
    number: int = tp.partition
    return number
