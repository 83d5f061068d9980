"""aiokafka: ``getmany``, and for each partition's run a task of its own.

Order is kept by partition. Offsets are committed by the client, every 5 s as it does by default.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterable
from typing import Any, Final

from race.lap_plan import LapPlan, read_plan
from race.loop_lap import on_loop
from race.stopwatch import Stopwatch, leave, tell
from race.workers import Reader, async_worker

READER: Final = Reader(lambda record: record.partition, lambda record: record.value)
WAIT_MS: Final = 50
BATCH: Final = 1000
"""As the others read; without a limit all that is there counts as one delivery."""


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
    is_noop = plan.work == "noop"

    async def in_order(records: list[Any]) -> None:
        for record in records:
            await worker(record)
            if not is_noop and watch.is_late():
                return

    await client.start()
    while not (watch.is_over or watch.is_late()):
        by_partition = await client.getmany(timeout_ms=WAIT_MS, max_records=BATCH)
        if by_partition:
            _deliver(watch, by_partition.values(), plan.sample_mask)
            if is_noop:
                for records in by_partition.values():
                    await in_order(records)
            else:
                await asyncio.gather(*map(in_order, by_partition.values()))
    figures = watch.figures(finished())
    if watch.is_over:
        await client.stop()
    return figures


def _deliver(watch: Stopwatch, runs: Iterable[list[Any]], mask: int) -> None:
    watch.begin()
    for records in runs:
        for record in records:
            if not record.offset & mask:
                watch.deliver_place((record.partition, record.offset))


def main() -> None:
    plan = read_plan(sys.argv[1])
    tell(on_loop(plan, run(plan)))
    leave()


if __name__ == "__main__":
    main()
