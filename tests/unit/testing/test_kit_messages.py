"""The kit: messages, their outcomes and what is written for them, without a broker."""

from __future__ import annotations

import asyncio
import time

import pytest

from pyrallel_consumer import (
    BrokerError,
    CompletionEvent,
    DoNotRetry,
    ExecutionConfig,
    KafkaConfig,
    MessageExhaustedError,
    OnExhausted,
    PoisonKeyError,
    StateError,
    WorkItem,
)
from pyrallel_consumer.testing import ConsumerKit
from tests.third_party_engine import ThirdPartyEngine
from tests.unit.testing.kit_workers import good, plain, told


async def touchy(item: WorkItem) -> None:
    if item.value == b"bad":
        raise ValueError("bad")


async def test_a_message_is_processed_and_committed() -> None:
    async with ConsumerKit(good, topic="orders") as kit:
        await kit.send(b"v", key=b"k")
        await kit.settled()

        assert told(kit.outcomes) == [(b"v", 1, "None")]
        assert kit.outcomes[0].is_processed
        assert kit.committed == {("orders", 0): 1}
        assert kit.committed == {0: 1}
        assert kit.committed[0] == kit.committed["orders", 0] == 1
        assert kit.dead_letters == []
        kit.assert_processed(b"v")


async def test_outcomes_come_in_the_order_of_ending() -> None:
    first_may_end = asyncio.Event()

    async def worker(item: WorkItem) -> None:
        if item.key == b"slow":
            await first_may_end.wait()
        else:
            first_may_end.set()

    async with ConsumerKit(worker) as kit:
        await kit.send(b"1", key=b"slow")
        await kit.send(b"2", key=b"quick")
        await kit.settled()

        assert [each.item.value for each in kit.outcomes] == [b"2", b"1"]


async def test_what_fails_for_good_is_a_dead_letter_as_it_would_be_written() -> None:
    async with ConsumerKit(touchy) as kit:
        await kit.send(b"bad", key=b"k", headers=[("trace", b"7")])
        await kit.settled()

        assert told(kit.outcomes) == [(b"bad", 3, "ValueError('bad')")]
        assert [repr(error) for error in kit.outcomes[0].errors] == ["ValueError('bad')"] * 3
        [letter] = kit.dead_letters
        assert (letter.topic, letter.key, letter.value) == ("orders.dlq", b"k", b"bad")
        assert letter.header("x-error-reason") == "ValueError: bad"
        assert letter.header("x-retry-attempt") == "3"
        assert letter.header("trace") == "7"
        assert letter.header("nothing") is None
        assert kit.committed == {0: 1}


async def test_messages_carry_what_they_were_sent_with() -> None:
    seen: list[WorkItem] = []

    async def worker(item: WorkItem) -> None:
        seen.append(item)

    async with ConsumerKit(worker, partitions=3) as kit:
        await kit.send(None, key=b"gone", partition=2, timestamp=1234)
        await kit.send(b"v", headers=[("a", b"1"), ("b", None)], partition=1)
        await kit.settled()

    tombstone, plain_item = sorted(seen, key=lambda item: -item.partition)
    assert (tombstone.value, tombstone.key, tombstone.partition, tombstone.timestamp) == (None, b"gone", 2, 1234)
    assert (plain_item.key, plain_item.headers) == (None, [("a", b"1"), ("b", None)])
    assert plain_item.timestamp is not None
    assert abs(plain_item.timestamp / 1000 - time.time()) < 60


async def test_messages_of_a_key_have_one_partition_and_those_without_go_round() -> None:
    async with ConsumerKit(good, partitions=4) as kit:
        for number in range(8):
            await kit.send(b"%d" % number, key=b"anna")
        for number in range(4):
            await kit.send(b"%d" % number)
        await kit.settled()

        keyed = {each.item.partition for each in kit.outcomes if each.item.key}
        assert len(keyed) == 1
        assert {each.item.partition for each in kit.outcomes if not each.item.key} == {0, 1, 2, 3}
        assert sum(kit.committed.values()) == 12


async def test_several_topics_and_a_pattern_are_read() -> None:
    async with ConsumerKit(good, topic=["orders", "refunds"]) as kit:
        await kit.send(b"1", topic="refunds")
        await kit.settled()
        assert kit.committed == {("orders", 0): 0, ("refunds", 0): 1}
        with pytest.raises(StateError, match="say which topic"):
            await kit.send(b"1")
        with pytest.raises(StateError, match="topic='invoices' is not read"):
            await kit.send(b"1", topic="invoices")
    async with ConsumerKit(good, topic="^order.*") as kit:
        await kit.send(b"1", topic="orders-eu")
        await kit.settled()
        assert kit.committed == {("orders-eu", 0): 1}


async def test_skip_lets_go_without_a_letter() -> None:
    execution = ExecutionConfig(max_attempts=2, on_exhausted=OnExhausted.SKIP)
    async with ConsumerKit(touchy, execution_config=execution) as kit:
        await kit.send(b"bad")
        await kit.settled()

        assert told(kit.outcomes) == [(b"bad", 2, "ValueError('bad')")]
        assert kit.dead_letters == []
        assert kit.committed == {0: 1}


async def test_stop_ends_the_consumer_and_settled_raises_its_error_once() -> None:
    execution = ExecutionConfig(max_attempts=1, on_exhausted=OnExhausted.STOP)
    async with ConsumerKit(touchy, execution_config=execution) as kit:
        await kit.send(b"good")
        await kit.send(b"bad")
        with pytest.raises(MessageExhaustedError):
            await kit.settled()

        assert told(kit.outcomes) == [(b"good", 1, "None"), (b"bad", 1, "ValueError('bad')")]
        assert kit.committed == {0: 1}


async def test_a_partition_that_is_paused_for_a_message_goes_on_after_resume() -> None:
    is_mended = False

    async def worker(item: WorkItem) -> None:
        if item.value == b"bad" and not is_mended:
            raise DoNotRetry("not yet")

    execution = ExecutionConfig(on_exhausted=OnExhausted.PAUSE_PARTITION)
    async with ConsumerKit(worker, partitions=2, execution_config=execution) as kit:
        await kit.send(b"bad", partition=0)
        await kit.send(b"good", partition=1)
        await kit.settled()
        assert kit.committed == {0: 0, 1: 1}

        is_mended = True
        await kit.resume()
        await kit.settled()

        assert kit.committed == {0: 1, 1: 1}
        assert [(each.item.value, each.is_processed, each.times_ended) for each in kit.outcomes] == [
            (b"good", True, 1),
            (b"bad", True, 2),
        ]


async def test_a_paused_partition_is_not_read_until_it_is_resumed() -> None:
    async with ConsumerKit(good, partitions=2) as kit:
        await kit.pause(0)
        await kit.send(b"0", partition=0)
        await kit.send(b"1", partition=1)
        await kit.settled()
        assert [each.item.value for each in kit.outcomes] == [b"1"]

        await kit.resume(0)
        await kit.settled()
        assert [each.item.value for each in kit.outcomes] == [b"1", b"0"]


def test_a_plain_function_runs_in_threads_by_default_and_without_asyncio() -> None:
    with ConsumerKit(plain) as kit:
        kit.run(kit.send(b"good"), kit.send(b"bad"))

        assert sorted(told(kit.outcomes)) == [(b"bad", 3, "ValueError('bad')"), (b"good", 1, "None")]


def test_run_starts_the_consumer_where_nobody_has_and_close_stops_it() -> None:
    kit = ConsumerKit(good)
    kit.run(kit.send(b"1"))
    assert kit.run(kit.crash()) == [[]]
    kit.close()
    kit.close()
    assert kit.committed == {0: 1}


async def test_run_is_refused_on_a_running_loop() -> None:
    async with ConsumerKit(good) as kit:
        step = kit.send(b"1")
        with pytest.raises(StateError, match="await its methods"):
            kit.run(step)
        step.close()


async def test_a_failed_assertion_shows_the_ledger() -> None:
    async with ConsumerKit(touchy, execution_config=ExecutionConfig(max_attempts=2)) as kit:
        await kit.send(b"good", key=b"anna")
        await kit.send(b"bad", key=b"bob")
        await kit.settled()

        kit.assert_processed(b"good")
        with pytest.raises(AssertionError) as failed:
            kit.assert_processed()
        with pytest.raises(AssertionError, match="no message of value b'never' was sent"):
            kit.assert_processed(b"never")

    assert str(failed.value).splitlines() == [
        "1 of 2 messages are not processed:",
        "  message     key      value    attempts  outcome",
        "  orders-0-0  b'anna'  b'good'  1         processed",
        "  orders-0-1  b'bob'   b'bad'   2         failed: ValueError: bad",
        "  committed: orders[0] 2",
    ]


async def test_settled_says_what_still_runs() -> None:
    async def worker(item: WorkItem) -> None:
        await asyncio.Event().wait()

    async with ConsumerKit(worker, execution_config=ExecutionConfig(shutdown_drain_timeout_ms=1)) as kit:
        await kit.send(b"1", key=b"a")
        await kit.send(b"2", key=b"a")
        with pytest.raises(AssertionError) as failed:
            await kit.settled(timeout_seconds=0.05)

    assert "an attempt runs" in str(failed.value)
    assert "orders-0-0  b'a'  b'1'   1         runs" in str(failed.value)
    assert "orders-0-1  b'a'  b'2'   0         not started" in str(failed.value)


async def test_a_kit_that_is_not_open_says_how_to_open_it() -> None:
    kit = ConsumerKit(good)
    with pytest.raises(StateError, match="async with"):
        await kit.settled()


async def test_messages_may_be_sent_before_the_kit_is_open() -> None:
    kit = ConsumerKit(good)
    await kit.send(b"1")
    async with kit:
        await kit.settled()
        kit.assert_processed(b"1")


async def test_an_engine_of_the_users_runs_in_a_kit() -> None:
    engine = ThirdPartyEngine()
    async with ConsumerKit(None, engine=engine) as kit:
        await kit.send(b"1")
        await kit.settled()

        kit.assert_processed(b"1")
        assert len(engine.submitted) == 1


async def test_what_failed_in_an_engine_of_the_users_has_its_error() -> None:
    engine = ThirdPartyEngine(lambda channel, item: channel.failed(item, ValueError("bad"), 1))
    async with ConsumerKit(None, engine=engine) as kit:
        await kit.send(b"1")
        await kit.settled()

        assert told(kit.outcomes) == [(b"1", 1, "ValueError('bad')")]


async def test_messages_of_a_poisoned_key_end_untried() -> None:
    execution = ExecutionConfig(max_attempts=1, poison_key_failures=1)
    async with ConsumerKit(touchy, execution_config=execution) as kit:
        await kit.send(b"bad", key=b"k")
        await kit.send(b"good", key=b"k")
        await kit.settled()

        assert [(each.item.value, each.attempts, type(each.error)) for each in kit.outcomes] == [
            (b"bad", 1, ValueError),
            (b"good", 0, PoisonKeyError),
        ]
        assert [letter.value for letter in kit.dead_letters] == [b"bad", b"good"]


async def test_a_group_without_an_offset_that_may_not_begin_by_itself_fails() -> None:
    config = KafkaConfig(consumer_group="kit", auto_offset_reset="none")
    async with ConsumerKit(good, config=config) as kit:
        with pytest.raises(BrokerError, match="auto_offset_reset is 'none'"):
            await kit.settled()


async def test_a_latest_group_begins_after_what_was_there() -> None:
    kit = ConsumerKit(good, config=KafkaConfig(consumer_group="kit", auto_offset_reset="latest"))
    await kit.send(b"before")
    async with kit:
        await kit.send(b"after")
        await kit.settled()
        assert [each.item.value for each in kit.outcomes] == [b"after"]
        assert "orders-0-0  None  b'before'  0         not started" in kit.ledger


async def test_on_completion_is_told_in_a_kit_too() -> None:
    told: list[tuple[int, str, int]] = []

    def note(event: CompletionEvent) -> None:
        told.append((event.offset, event.status.value, event.attempt))

    async with ConsumerKit(touchy, on_completion=note) as kit:
        await kit.send(b"good")
        await kit.send(b"bad")
        await kit.settled()

    assert told == [(0, "success", 1), (1, "failure", 3)]


def test_a_topic_has_a_partition() -> None:
    with pytest.raises(ValueError, match="partitions=0"):
        ConsumerKit(good, partitions=0)
