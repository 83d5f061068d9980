"""``make simulate-long``: a hundred thousand seeds on all cores, of each kind of world; goes on where it was stopped.

In half of the seeds workers take one message, in the others batches (see ``FIRST_BATCH_SEED``); each tenth seed also
plays the world of exactly once. A seed that fails is printed with its replay as soon as it is known; the others go on.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice

from tests.simulation.exactly_once.world import World as ExactlyOnceWorld
from tests.simulation.runner import DEFAULT_STEPS, SeedFailed, run_seed
from tests.simulation.scenario import FIRST_BATCH_SEED

SEEDS = 100_000
FIRST = FIRST_BATCH_SEED - SEEDS // 2
CHUNK = 50
EXACTLY_ONCE_EACH = 10
PROGRESS_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """What became of the seeds from ``first`` on, ``count`` of them."""

    first: int
    count: int
    attempts: int = 0
    repeated: int = 0
    failures: tuple[str, ...] = ()


@dataclass(slots=True)
class Tally:
    """The sum of all chunks that are done; ``resume_at`` is the first seed from which not all are."""

    resume_at: int
    seeds: int = 0
    attempts: int = 0
    repeated: int = 0
    failures: list[str] = field(default_factory=list)
    _done: dict[int, int] = field(default_factory=dict)

    def add(self, chunk: Chunk) -> None:
        self.seeds += chunk.count
        self.attempts += chunk.attempts
        self.repeated += chunk.repeated
        self.failures += chunk.failures
        self._done[chunk.first] = chunk.count
        while self.resume_at in self._done:
            self.resume_at += self._done.pop(self.resume_at)


def chunks(first: int, seeds: int, size: int = CHUNK) -> Iterator[tuple[int, int]]:
    """First seed and number of seeds of each chunk, in order."""
    for start in range(first, first + seeds, size):
        yield start, min(size, first + seeds - start)


def run_chunk(first: int, count: int, steps: int = DEFAULT_STEPS) -> Chunk:
    """Run seeds one after the other; a failing one ends none but itself."""
    attempts = repeated = 0
    failures = []
    for seed in range(first, first + count):
        try:
            truth = run_seed(seed, steps).scene.truth
            attempts += truth.attempts
            repeated += truth.repeated
        except SeedFailed as failure:
            failures.append(str(failure))
        if seed % EXACTLY_ONCE_EACH == 0:
            try:
                ExactlyOnceWorld(seed).run()
            except Exception as error:  # noqa: BLE001 -- whatever breaks first is the finding
                failures.append(
                    f"seed {seed} of exactly once: {error!r}\n"
                    f"replay: python -c 'from tests.simulation.exactly_once.world import World; World({seed}).run()'"
                )
    return Chunk(first, count, attempts, repeated, tuple(failures))


def run_all(first: int, seeds: int, jobs: int, chunk_size: int = CHUNK) -> Tally:
    """Run the range on ``jobs`` processes. Ctrl-C ends it; the tally then tells where to go on."""
    tally, waiting = Tally(first), chunks(first, seeds, chunk_size)
    started_at = told_at = time.monotonic()
    pool = ProcessPoolExecutor(jobs)
    try:
        under_way: set[Future[Chunk]] = {pool.submit(run_chunk, *chunk) for chunk in islice(waiting, 2 * jobs)}
        while under_way:
            ended, under_way = wait(under_way, timeout=PROGRESS_SECONDS, return_when=FIRST_COMPLETED)
            for future in ended:
                chunk = future.result()
                tally.add(chunk)
                print(*chunk.failures, sep="\n", end="\n" if chunk.failures else "", flush=True)
                if following := next(waiting, None):
                    under_way.add(pool.submit(run_chunk, *following))
            if time.monotonic() - told_at >= PROGRESS_SECONDS:
                told_at = time.monotonic()
                print(_progress(tally, seeds, told_at - started_at), flush=True)
    except KeyboardInterrupt:
        left = first + seeds - tally.resume_at
        print(f"Stopped. Go on with: make simulate-long FROM={tally.resume_at} SEEDS={left}", flush=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return tally


def _progress(tally: Tally, seeds: int, seconds: float) -> str:
    left = (seeds - tally.seeds) * seconds / tally.seeds / 60 if tally.seeds else float("inf")
    return (
        f"{tally.seeds:,} of {seeds:,} seeds, {len(tally.failures)} failed, all before {tally.resume_at} done,"
        f" {left:.0f} minutes left"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate-long", description=__doc__)
    parser.add_argument("--from", dest="first", type=int, default=FIRST, help=f"the first seed (default {FIRST})")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many (default {SEEDS})")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    arguments = parser.parse_args()
    started_at = time.monotonic()
    tally = run_all(arguments.first, arguments.seeds, arguments.jobs)
    is_whole = tally.seeds == arguments.seeds
    print(
        f"{tally.seeds:,} seeds from {arguments.first} on, {len(tally.failures)} failed, {tally.attempts:,} attempts,"
        f" {tally.repeated:,} explained repeats, {time.monotonic() - started_at:,.0f} s"
        + ("" if is_whole else " (not the whole range)")
    )
    return 0 if is_whole and not tally.failures else 1


if __name__ == "__main__":
    sys.exit(main())
