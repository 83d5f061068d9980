"""The program of a measured process: does the one job in its argument and prints the figures (see ``job``)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import bare_lanes
import consumer_engines
import consumer_http
import consumer_idle
import consumer_memory
import consumer_metered
import consumer_scaling
import consumer_throughput
import plain_loop
import timer_lateness
from job import Figures, Job, answer

from pyrallel_consumer.config import ExecutionConfig
from pyrallel_consumer.runtime.life.garbage_threshold import RaisedThreshold

BLOCKING: Final[dict[str, Callable[[Job], Figures]]] = {
    "plain loop": plain_loop.throughput,
    "plain client idle": plain_loop.idle,
    "members": consumer_scaling.members,
    "bare threads": consumer_engines.bare_threads,
    "sequential hashing": consumer_engines.sequential_hashing,
}
ON_LOOP: Final[dict[str, Callable[[Job], Awaitable[Figures]]]] = {
    "bare lanes": bare_lanes.lanes,
    "no-op worker": consumer_throughput.noop,
    "no call": consumer_throughput.no_call,
    "no-op batches": consumer_throughput.noop_batches,
    "metrics on and off": consumer_metered.in_turn,
    "waiting worker": consumer_throughput.waiting,
    "backlog": consumer_throughput.backlog,
    "busy preludes": timer_lateness.busy_preludes,
    "idle": consumer_idle.idle,
    "all waiting": consumer_idle.all_waiting,
    "blocked": consumer_memory.blocked,
    "no-op process": consumer_engines.process_noop,
    "hashing process": consumer_engines.process_hashing,
    "one loop": consumer_scaling.on_one_loop,
    "loops in processes": consumer_scaling.in_processes,
    "http on one loop": consumer_http.on_one_loop,
    "http in processes": consumer_http.in_processes,
    "waiting threads": consumer_engines.thread_waiting,
    "hashing threads": consumer_engines.thread_hashing,
    "adding threads": consumer_engines.thread_adding,
}


async def _on_loop(job: Job) -> Figures:
    return await ON_LOOP[job.subject](job)


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    RaisedThreshold(ExecutionConfig().gc_threshold)  # For yardsticks: the library does that by itself.
    if job.subject in BLOCKING:
        figures = BLOCKING[job.subject](job)
    elif job.is_uvloop:
        import uvloop  # noqa: PLC0415 -- an extra that only --uvloop needs

        figures = uvloop.run(_on_loop(job))
    else:
        figures = asyncio.run(_on_loop(job))
    print(answer(figures), flush=True)


if __name__ == "__main__":
    main()
