"""The workers of the race: the same work for every contender, written so that counting costs as little as it can.

An item is whatever the contender hands over; it has an ``offset``. The rest of it is looked at only where it must be,
through ``Reader``: the sample's partition and value, and the flag of a slow message.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import select
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from race.lap_plan import FLAG_AT, SLOW, LapPlan
from race.stopwatch import Stopwatch


@dataclass(frozen=True, slots=True)
class Reader:
    """How partition and value of a contender's item are read."""

    partition: Callable[[Any], int]
    value: Callable[[Any], bytes | None]


def hash_rounds(rounds: int) -> None:
    """The computing work: this many rounds of sha256, each over the last digest."""
    digest = b"pyrallel"
    for _ in range(rounds):
        digest = hashlib.sha256(digest).digest()


def blocking_work(plan: LapPlan) -> Callable[[float], None]:
    """The work as a plain function. Its argument says how many times longer than usual a message takes."""
    seconds = plan.work_ms / 1000
    if plan.work == "sleep":
        return lambda factor: time.sleep(seconds * factor)
    if plan.work == "io":
        silent, _keep_open = socket.socketpair()
        return lambda factor: (select.select([silent, _keep_open], [], [], seconds * factor), None)[1]
    if plan.work == "cpu":
        return lambda factor: hash_rounds(round(plan.cpu_rounds * factor))
    return lambda _: None


def waiting_work(plan: LapPlan) -> Callable[[float], Awaitable[None]]:
    """The work as a coroutine function: waits on the loop's timer, computes on the loop."""
    seconds = plan.work_ms / 1000
    if plan.work in {"sleep", "io"}:
        return lambda factor: asyncio.sleep(seconds * factor)

    async def compute(factor: float) -> None:
        hash_rounds(round(plan.cpu_rounds * factor))

    return compute


def async_worker(
    plan: LapPlan, watch: Stopwatch, read: Reader
) -> tuple[Callable[[Any], Awaitable[None]], Callable[[], int]]:
    """The worker, and a function that tells how many messages it has finished. For one event loop."""
    mask, last = plan.sample_mask, plan.messages
    finished = 0
    clock = time.perf_counter_ns

    async def noop(item: Any) -> None:
        nonlocal finished
        finished += 1
        if not item.offset & mask:
            watch.sample((read.partition(item), item.offset), clock(), read.value(item))
        if finished == last:
            watch.end()

    sleep, seconds = asyncio.sleep, plan.work_ms / 1000

    async def sleeping(item: Any) -> None:
        nonlocal finished
        begun = 0 if item.offset & mask else clock()
        await sleep(seconds)
        finished += 1
        if begun:
            watch.sample((read.partition(item), item.offset), begun, read.value(item))
        if finished == last:
            watch.end()

    work, factor_of, note = waiting_work(plan), _factor_of(plan, read), _journal(plan, read)

    async def working(item: Any) -> None:
        nonlocal finished
        begun = clock()
        await work(factor_of(item))
        note(item)
        finished += 1
        if not item.offset & mask:
            watch.sample((read.partition(item), item.offset), begun, read.value(item))
        if finished == last:
            watch.end()

    is_plain = plan.slow_factor == 1 and not plan.journal
    chosen = {"noop": noop, "sleep": sleeping, "io": sleeping}.get(plan.work, working) if is_plain else working
    return chosen, lambda: finished


def blocking_worker(plan: LapPlan, watch: Stopwatch, read: Reader) -> tuple[Callable[[Any], None], Callable[[], int]]:
    """The same as a plain function, for several threads at once."""
    mask, last = plan.sample_mask, plan.messages
    finished = 0
    lock = threading.Lock()
    work, factor_of, note = blocking_work(plan), _factor_of(plan, read), _journal(plan, read)
    clock = time.perf_counter_ns

    def working(item: Any) -> None:
        nonlocal finished
        begun = clock()
        work(factor_of(item))
        note(item)
        with lock:
            finished += 1
            is_last = finished == last
        if not item.offset & mask:
            watch.sample((read.partition(item), item.offset), begun, read.value(item))
        if is_last:
            watch.end()

    return working, lambda: finished


def _factor_of(plan: LapPlan, read: Reader) -> Callable[[Any], float]:
    slow = plan.slow_factor
    if slow == 1:
        return lambda _: 1.0
    return lambda item: slow if (read.value(item) or b"")[FLAG_AT : FLAG_AT + 1] == SLOW else 1.0


def _journal(plan: LapPlan, read: Reader) -> Callable[[Any], None]:
    """One write for each message, at once, so that it survives a kill."""
    if not plan.journal:
        return lambda _: None
    journal = os.open(plan.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(item: Any) -> None:
        os.write(journal, b"%d %d\n" % (read.partition(item), item.offset))

    return note
