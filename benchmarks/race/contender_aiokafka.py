"""aiokafka: ``getmany``; where there is work, in a task of its own for each partition.

Order is kept by partition. Offsets are committed by the client, every 5 s as it does by default.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from race.lap_plan import LapPlan
from race.loop_lap import run_lap
from race.stopwatch import Stopwatch
from race.workers import Reader, async_worker

READER: Final = Reader(lambda record: record.partition, lambda record: record.value)
WAIT_MS: Final = 50
ASSIGNED_LOOK_SECONDS: Final = 0.02
BATCH: Final = 1000
"""As the others read; without a limit all that is there counts as one delivery."""
BATCH_OF_ONE: Final = 100
Worker: TypeAlias = Callable[[Any], Awaitable[None]]


async def run(plan: LapPlan) -> dict[str, float]:
    """Until all is done, or the cap."""
    client_type: Any = importlib.import_module("aiokafka").AIOKafkaConsumer
    watch = Stopwatch(plan)
    worker, finished = async_worker(plan, watch, READER)
    client = client_type(
        plan.topic,
        bootstrap_servers=plan.bootstrap_servers,
        group_id=plan.group,
        auto_offset_reset="earliest",
        **plan.settings["client"],
    )
    await client.start()
    if plan.work == "noop":
        await _all_in_turn(client, plan, watch, worker)
    else:
        while not (client.assignment() or watch.is_late()):  # noqa: ASYNC110 -- the client tells nobody
            await asyncio.sleep(ASSIGNED_LOOK_SECONDS)
        await asyncio.gather(*(_one_partition(client, place, plan, watch, worker) for place in client.assignment()))
    figures = watch.figures(finished())
    if watch.is_over:
        await client.stop()
    return figures


async def _all_in_turn(client: Any, plan: LapPlan, watch: Stopwatch, worker: Worker) -> None:
    while not (watch.is_over or watch.is_late()):
        by_partition = await client.getmany(timeout_ms=WAIT_MS, max_records=BATCH)
        for records in by_partition.values():
            _deliver(watch, records, plan.sample_mask)
        for records in by_partition.values():
            for record in records:
                await worker(record)


async def _one_partition(client: Any, place: Any, plan: LapPlan, watch: Stopwatch, worker: Worker) -> None:
    while not (watch.is_over or watch.is_late()):
        found = await client.getmany(place, timeout_ms=WAIT_MS, max_records=BATCH_OF_ONE)
        records = found.get(place, [])
        _deliver(watch, records, plan.sample_mask)
        for record in records:
            await worker(record)
            if watch.is_late():
                return


def _deliver(watch: Stopwatch, records: list[Any], mask: int) -> None:
    if records:
        watch.begin()
    for record in records:
        if not record.offset & mask:
            watch.deliver_place((record.partition, record.offset))


if __name__ == "__main__":
    run_lap(run)
