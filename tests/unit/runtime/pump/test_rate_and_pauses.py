"""A consumer that its user slows down or stops: the rate of starts, and pauses of all partitions."""

from __future__ import annotations

import pytest

from pyrallel_consumer import ConfigurationError, DoNotRetry, ExecutionConfig, OnExhausted, StateError, WorkItem
from pyrallel_consumer.testing import ConsumerKit

PER_SECOND = 10


async def good(item: WorkItem) -> None:
    pass


def assert_kept(messages: int, seconds: float, rate: float = PER_SECOND) -> None:
    """The number of messages within some time of the kit: no more than the limit, and hardly fewer."""
    assert 0.8 * seconds * rate <= messages <= seconds * rate + 2 + 0.1 * rate


async def test_no_more_messages_start_in_a_second_than_the_limit_says() -> None:
    async with ConsumerKit(good, execution_config=ExecutionConfig(max_per_second=PER_SECOND)) as kit:
        for number in range(100):
            await kit.send(b"%d" % number)
        await kit.advance(1)
        assert_kept(len(kit.outcomes), kit.elapsed_seconds)
        snapshot = kit.consumer.get_runtime_snapshot()
        assert snapshot.is_rate_limited
        assert snapshot.max_per_second == PER_SECOND
        assert 0.5 < snapshot.rate_limited_seconds < kit.elapsed_seconds
        assert kit.consumer.get_metrics()["consumer_rate_limited_seconds_total"] == snapshot.rate_limited_seconds

        await kit.advance(2)
        assert_kept(len(kit.outcomes), kit.elapsed_seconds)


async def test_retries_are_paid_for_by_new_messages() -> None:
    async def worker(item: WorkItem) -> None:
        begun.append(item)
        if item.value == b"bad":
            raise ValueError("bad")

    begun: list[WorkItem] = []
    execution = ExecutionConfig(max_per_second=PER_SECOND, max_attempts=6, retry_backoff_ms=100, retry_jitter_ms=0)
    async with ConsumerKit(worker, execution_config=execution) as kit:
        await kit.send(b"bad")
        for number in range(100):
            await kit.send(b"%d" % number)
        await kit.advance(4)
        assert sum(item.attempt > 1 for item in begun) == 5
        assert_kept(len(begun), kit.elapsed_seconds)


async def test_the_rate_can_be_changed_while_it_runs() -> None:
    async with ConsumerKit(good, execution_config=ExecutionConfig(max_per_second=PER_SECOND)) as kit:
        for number in range(200):
            await kit.send(b"%d" % number)
        await kit.advance(1)
        before, began_at = len(kit.outcomes), kit.elapsed_seconds

        kit.consumer.set_rate(3 * PER_SECOND)
        await kit.advance(2)
        assert_kept(len(kit.outcomes) - before, kit.elapsed_seconds - began_at, 3 * PER_SECOND)

        kit.consumer.set_rate(0)
        await kit.advance(1)
        assert len(kit.outcomes) == 200
        assert not kit.consumer.get_runtime_snapshot().is_rate_limited


async def test_a_limit_can_be_set_where_there_was_none() -> None:
    async with ConsumerKit(good) as kit:
        await kit.send(b"0")
        await kit.settled()

        kit.consumer.set_rate(PER_SECOND)
        began_at = kit.elapsed_seconds
        for number in range(100):
            await kit.send(b"%d" % number)
        await kit.advance(2)
        assert_kept(len(kit.outcomes) - 1, kit.elapsed_seconds - began_at)


@pytest.mark.parametrize("rate", [-1, float("nan"), float("inf"), "fast"])
async def test_a_rate_that_is_none_is_refused_by_name(rate: float) -> None:
    async with ConsumerKit(good) as kit:
        with pytest.raises(ConfigurationError, match="max_per_second"):
            kit.consumer.set_rate(rate)


async def test_pause_holds_all_partitions_also_those_that_come_later() -> None:
    async with ConsumerKit(good, partitions=2) as kit:
        kit.consumer.pause()
        await kit.rebalance()
        await kit.advance(1)
        await kit.send(b"0", partition=0)
        await kit.send(b"1", partition=1)
        await kit.settled()
        assert kit.outcomes == []
        assert {each.paused_for for each in kit.consumer.get_runtime_snapshot().partitions} == {("user",)}

        kit.consumer.resume()
        await kit.settled()
        assert len(kit.outcomes) == 2

        await kit.rebalance()
        await kit.send(b"2", partition=0)
        await kit.settled()
        assert len(kit.outcomes) == 3


async def test_resume_also_takes_back_pauses_of_single_partitions_and_of_failed_messages() -> None:
    is_mended = False

    async def worker(item: WorkItem) -> None:
        if not is_mended:
            raise DoNotRetry("not yet")

    async with ConsumerKit(
        worker, partitions=2, execution_config=ExecutionConfig(on_exhausted=OnExhausted.PAUSE_PARTITION)
    ) as kit:
        await kit.send(b"0", partition=0)
        kit.consumer.pause_partition(("orders", 1))
        await kit.settled()
        await kit.send(b"1", partition=1)
        is_mended = True

        kit.consumer.resume()
        await kit.settled()

        assert sorted(each.item.value or b"" for each in kit.outcomes if each.is_processed) == [b"0", b"1"]


async def test_a_consumer_that_is_closed_is_not_steered() -> None:
    async with ConsumerKit(good) as kit:
        consumer = kit.consumer
    for steer in (consumer.pause, consumer.resume, lambda: consumer.set_rate(1)):
        with pytest.raises(StateError):
            steer()
