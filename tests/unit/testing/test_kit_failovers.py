"""The kit after crashes and rebalances: what runs again, and what was written."""

from __future__ import annotations

import asyncio

from pyrallel_consumer import ExecutionConfig, KafkaConfig, RetryLater, WorkItem
from pyrallel_consumer.testing import ConsumerKit
from tests.unit.testing.kit_workers import good


async def test_after_a_crash_runs_again_what_neither_offset_nor_map_had() -> None:
    may_end = asyncio.Event()

    async def worker(item: WorkItem) -> None:
        if item.key == b"slow":
            await may_end.wait()

    async with ConsumerKit(worker) as kit:
        await kit.send(b"0", key=b"slow")
        await kit.send(b"1", key=b"quick")
        await kit.advance(1)
        assert [each.item.value for each in kit.outcomes] == [b"1"]
        assert kit.committed == {0: 0}

        again = await kit.crash()

        assert [item.value for item in again] == [b"0"]
        may_end.set()
        await kit.settled()
        assert [(each.item.value, each.times_ended) for each in kit.outcomes] == [(b"1", 1), (b"0", 1)]
        assert kit.committed == {0: 2}


async def test_after_a_crash_before_a_commit_all_runs_again() -> None:
    async with ConsumerKit(good, config=_slow_commits()) as kit:
        await kit.send(b"0", key=b"a")
        while not kit.outcomes:
            await asyncio.sleep(0)

        assert [item.value for item in await kit.crash()] == [b"0"]
        await kit.settled()
        assert [(each.item.value, each.times_ended) for each in kit.outcomes] == [(b"0", 2)]


def _slow_commits() -> KafkaConfig:
    config = KafkaConfig(consumer_group="kit")
    config.parallel_consumer.commit_interval_ms = 60_000
    return config


async def test_a_crash_writes_no_letter_and_the_next_life_does() -> None:
    async def worker(item: WorkItem) -> None:
        raise RetryLater(delay_ms=1000, charge=True)

    async with ConsumerKit(worker) as kit:
        await kit.send(b"0")
        await kit.crash()
        await kit.settled()
        assert len(kit.dead_letters) == 1


async def test_a_rebalance_waits_for_what_runs_and_repeats_nothing() -> None:
    async def worker(item: WorkItem) -> None:
        await asyncio.sleep(0.01)

    async with ConsumerKit(worker, partitions=2) as kit:
        for number in range(6):
            await kit.send(b"%d" % number, key=b"%d" % number)
        await kit.advance(0)

        assert await kit.rebalance() == []
        await kit.settled()
        kit.assert_processed()
        assert {each.times_ended for each in kit.outcomes} == {1}
        assert {each.item.epoch for each in kit.outcomes} <= {1, 2, 3, 4}


async def test_a_rebalance_cuts_off_what_runs_longer_than_the_grace() -> None:
    cancelled: list[WorkItem] = []

    async def worker(item: WorkItem) -> None:
        if item.epoch > 1:
            return
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(item)
            raise

    async with ConsumerKit(worker, execution_config=ExecutionConfig(max_revoke_grace_ms=10)) as kit:
        await kit.send(b"0")
        await kit.advance(0)

        assert [item.value for item in await kit.rebalance(partition=0)] == [b"0"]
        await kit.settled()
        assert len(cancelled) == 1
        assert [(each.item.value, each.item.epoch) for each in kit.outcomes] == [(b"0", 2)]


async def test_partitions_that_are_lost_commit_nothing() -> None:
    async with ConsumerKit(good, config=_slow_commits()) as kit:
        await kit.send(b"0")
        while not kit.outcomes:
            await asyncio.sleep(0)

        assert [item.value for item in await kit.rebalance(lost=True)] == [b"0"]
        await kit.settled()
        assert kit.outcomes[0].times_ended == 2
