"""Workers that compute before their first wait do not keep the loop, however many drivers were called for them."""

from __future__ import annotations

import asyncio

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.execution_plane.driver_engine import DriverEngine
from pyrallel_consumer.testing.engine_contract.rig import PATIENCE_SECONDS, Rig


async def test_all_drivers_of_one_iteration_share_one_drive_s_time() -> None:
    loop = asyncio.get_running_loop()
    begun = 0
    spin_seconds = 0.0

    async def worker(item: WorkItem) -> None:
        nonlocal begun
        begun += 1
        until = loop.time() + spin_seconds
        while loop.time() < until:
            pass
        await asyncio.sleep(0.001)

    rig = await Rig(DriverEngine(worker, RetryPolicy(timeout_ms=0), 500)).start()
    for _ in range(200):  # Quick first steps that wait: many drivers are wanted by now.
        rig.submit()
    await rig.until_finished(200)

    begun, spin_seconds, most = 0, 0.001, 0
    for _ in range(200):
        rig.submit()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while begun < 200:
            before = begun
            await asyncio.sleep(0)
            most = max(most, begun - before)
    await rig.until_finished(400)
    await rig.engine.stop(1.0)

    assert most <= 3  # 2 ms of drive for steps of 1 ms; the last one may begin just before the end
