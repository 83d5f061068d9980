"""The kit's clock: retries of days take no time, timeouts come when it is moved by hand, and workers' time is real."""

from __future__ import annotations

import asyncio
import time

from pyrallel_consumer import ExecutionConfig, RetryLater, TaskTimeoutError, WorkItem
from pyrallel_consumer.testing import ConsumerKit
from tests.unit.testing.kit_workers import told

DAY_MS = 24 * 3600 * 1000


async def test_days_of_retries_are_over_in_no_time() -> None:
    async def worker(item: WorkItem) -> None:
        if item.attempt < 3:
            raise RetryLater(delay_ms=DAY_MS, charge=True)

    began_at = time.monotonic()
    async with ConsumerKit(worker) as kit:
        await kit.send(b"1", key=b"k")
        await kit.send(b"2", key=b"k")
        await kit.settled()

        assert told(kit.outcomes) == [(b"1", 3, "None"), (b"2", 3, "None")]
        assert [round(each.seconds / 3600) for each in kit.outcomes] == [48, 48]
    assert time.monotonic() - began_at < 60


async def test_an_uncharged_retry_is_no_attempt() -> None:
    async def worker(item: WorkItem) -> None:
        if not seen:
            seen.append(item)
            raise RetryLater(delay_ms=1000, charge=False)

    seen: list[WorkItem] = []
    async with ConsumerKit(worker) as kit:
        await kit.send(b"1")
        await kit.settled()

        assert told(kit.outcomes) == [(b"1", 1, "None")]
        assert len(kit.outcomes[0].errors) == 1


async def test_time_in_a_worker_stays_real() -> None:
    slept: list[float] = []

    async def worker(item: WorkItem) -> None:
        if item.attempt == 1:
            raise RetryLater(delay_ms=DAY_MS, charge=True)
        began_at = time.monotonic()
        await asyncio.sleep(0.05)
        slept.append(time.monotonic() - began_at)
        wall.append(time.time())

    wall: list[float] = []
    before = time.time()
    async with ConsumerKit(worker) as kit:
        await kit.send(b"1")
        await kit.settled()

    assert slept[0] >= 0.05
    assert before <= wall[0] <= time.time()


async def test_the_clock_moves_by_itself_also_while_the_test_waits_for_something_else() -> None:
    third_attempt = asyncio.Event()

    async def worker(item: WorkItem) -> None:
        if item.attempt < 3:
            raise RetryLater(delay_ms=DAY_MS, charge=True)
        third_attempt.set()

    async with ConsumerKit(worker) as kit:
        await kit.send(b"1")
        await third_attempt.wait()


async def test_a_timeout_comes_when_the_clock_is_moved_by_hand() -> None:
    async def worker(item: WorkItem) -> None:
        if item.attempt == 1:
            await asyncio.Event().wait()

    async with ConsumerKit(worker, execution_config=ExecutionConfig(task_timeout_ms=30_000)) as kit:
        await kit.send(b"1")
        await kit.advance(29)
        assert kit.outcomes == []
        await kit.advance(2)
        await kit.settled()

        [outcome] = kit.outcomes
        assert (outcome.attempts, outcome.error) == (2, None)
        assert [type(error) for error in outcome.errors] == [TaskTimeoutError]


async def test_the_circuit_opens_and_a_probe_closes_it() -> None:
    is_down = True

    async def worker(item: WorkItem) -> None:
        if is_down:
            raise ConnectionError("down")

    execution = ExecutionConfig(max_attempts=1, circuit_failure_share=0.5, circuit_window=5)
    async with ConsumerKit(worker, execution_config=execution) as kit:
        for number in range(10):
            await kit.send(b"%d" % number)
        await kit.advance(10)
        assert kit.consumer.get_runtime_snapshot().is_circuit_open

        is_down = False
        await kit.settled()
        assert not kit.consumer.get_runtime_snapshot().is_circuit_open
        assert len(kit.outcomes) == 10
