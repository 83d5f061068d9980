"""One look at a member: how far it is, and what it holds of the machine. Samples travel and are kept as JSON lines."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
from typing import Final

import psutil

from pyrallel_consumer import RuntimeSnapshot

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """``messages`` are done so far, ``gaps`` hold commits back at this moment.

    ``rss_mib``, ``descriptors`` and ``threads`` include the worker processes.
    """

    messages: int
    seconds: float
    rss_mib: float
    own_rss_mib: float
    descriptors: int
    threads: int
    processes: int
    tasks: int
    partitions: int
    gaps: int
    retries: int
    rebalances: int
    dead_letters: int

    def line(self) -> str:
        return json.dumps(asdict(self))


def take(snapshot: RuntimeSnapshot, seconds: float) -> Sample:
    """Look at this process, on its event loop."""
    own = psutil.Process()
    rss, descriptors, threads, count = own.memory_info().rss, own.num_fds(), own.num_threads(), 1
    own_rss = rss
    for child in own.children(recursive=True):
        try:
            with child.oneshot():
                looked = child.memory_info().rss, child.num_fds(), child.num_threads()
        except psutil.Error:
            continue  # It has just ended.
        rss, descriptors, threads, count = rss + looked[0], descriptors + looked[1], threads + looked[2], count + 1
    return Sample(
        messages=snapshot.processed,
        seconds=round(seconds, 2),
        rss_mib=round(rss / MIB, 2),
        own_rss_mib=round(own_rss / MIB, 2),
        descriptors=descriptors,
        threads=threads,
        processes=count,
        tasks=len(asyncio.all_tasks()),
        partitions=len(snapshot.partitions),
        gaps=sum(partition.gap_count for partition in snapshot.partitions),
        retries=snapshot.retries,
        rebalances=snapshot.rebalances,
        dead_letters=snapshot.dead_letters.sent,
    )


def read(text: str) -> list[Sample]:
    """All samples of JSON lines, as far as they are whole."""
    return [Sample(**json.loads(line)) for line in text.splitlines() if line.endswith("}")]
