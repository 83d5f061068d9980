"""The yardstick of waiting workers: one asyncio task per key that sleeps for each message. No Kafka."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from race.lap_plan import LapPlan
from race.loop_lap import run_lap
from race.stopwatch import Stopwatch
from race.traffic import Traffic


async def lanes(plan: LapPlan) -> dict[str, float]:
    """All lanes at once, each with the messages that its key has in the topic."""
    traffic = Traffic(**plan.key_numbers)
    seconds = plan.work_ms / 1000
    by_key: defaultdict[int, list[float]] = defaultdict(list)
    for key, is_slow in zip(traffic.key_numbers(), traffic.is_slow(), strict=True):
        by_key[key].append(seconds * (plan.slow_factor if is_slow else 1))
    watch = Stopwatch(plan)

    async def lane(waits: list[float]) -> None:
        for wait in waits:
            await asyncio.sleep(wait)

    watch.begin()
    await asyncio.gather(*map(lane, by_key.values()))
    watch.end()
    return watch.figures(plan.messages)


if __name__ == "__main__":
    run_lap(lanes)
