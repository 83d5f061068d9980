"""Workers in the kit: modes, typed payloads, records, lifespans, batches and transactions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from pyrallel_consumer import DecodeError, DoNotRetry, ExecutionConfig, ExecutionMode, OutputConfig, Record, WorkItem
from pyrallel_consumer.testing import ConsumerKit
from tests.unit.testing.kit_workers import plain, told


@pytest.mark.parametrize("mode", [ExecutionMode.THREAD, ExecutionMode.PROCESS])
async def test_plain_functions_run_in_threads_and_processes(mode: ExecutionMode) -> None:
    execution = ExecutionConfig(mode=mode, worker_pool_size=1, max_attempts=2)
    async with ConsumerKit(plain, execution_config=execution) as kit:
        await kit.send(b"good")
        await kit.send(b"bad")
        await kit.settled(timeout_seconds=60)

        assert sorted(told(kit.outcomes)) == [(b"bad", 2, "ValueError('bad')"), (b"good", 1, "None")]
        assert len(kit.dead_letters) == 1


@dataclass
class Order:
    id: int


@pytest.mark.parametrize("mode", [ExecutionMode.ASYNC, ExecutionMode.THREAD])
async def test_values_are_decoded_and_what_cannot_be_is_a_dead_letter_at_once(mode: ExecutionMode) -> None:
    async def worker(item: WorkItem[Order]) -> None:
        note(item)

    def note(item: WorkItem[Order]) -> None:
        seen.append(item.value.id)

    seen: list[int] = []
    execution = ExecutionConfig(mode=mode)
    async with ConsumerKit(
        worker if mode is ExecutionMode.ASYNC else note, execution_config=execution, value_type=Order
    ) as kit:
        await kit.send(b'{"id": 7}')
        await kit.send(b"{")
        await kit.settled()

        assert seen == [7]
        failed = next(each for each in kit.outcomes if not each.is_processed)
        assert (failed.item.payload, failed.attempts, type(failed.error)) == (b"{", 1, DecodeError)
        assert [letter.value for letter in kit.dead_letters] == [b"{"]


@pytest.mark.parametrize("mode", [ExecutionMode.ASYNC, ExecutionMode.THREAD])
async def test_records_that_a_worker_returns_are_seen_as_they_are_written(mode: ExecutionMode) -> None:
    async def worker(item: WorkItem) -> Record | None:
        return answer(item)

    def answer(item: WorkItem) -> Record | None:
        if item.value == b"quiet":
            return None
        return Record("invoices", {"of": "anna"}, key=item.key, headers=[("a", b"1")], timestamp=12)

    execution = ExecutionConfig(mode=mode)
    output = OutputConfig(value_serializer=lambda value, _: json.dumps(value).encode())
    async with ConsumerKit(
        worker if mode is ExecutionMode.ASYNC else answer, execution_config=execution, output=output
    ) as kit:
        await kit.send(b"loud", key=b"anna")
        await kit.send(b"quiet", key=b"bob")
        await kit.settled()

        [record] = kit.records_out
        assert (record.topic, record.key, record.value) == ("invoices", b"anna", b'{"of": "anna"}')
        assert (record.header("a"), record.timestamp) == ("1", 12)
        kit.assert_processed(b"loud", b"quiet")
        assert kit.committed == {0: 2}


async def test_a_lifespan_is_entered_before_the_first_message_and_left_after_the_last() -> None:
    told: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        told.append("entered")
        yield
        told.append("left")

    async def worker(item: WorkItem) -> None:
        told.append("worked")

    async with ConsumerKit(worker, lifespan=lifespan) as kit:
        await kit.send(b"1")
        await kit.settled()
    assert told == ["entered", "worked", "left"]


@pytest.mark.parametrize("mode", [ExecutionMode.ASYNC, ExecutionMode.THREAD])
async def test_one_bad_message_in_a_batch_is_found_and_the_others_are_done(mode: ExecutionMode) -> None:
    async def worker(items: list[WorkItem]) -> None:
        call(items)

    def call(items: list[WorkItem]) -> None:
        calls.append(len(items))
        if any(item.value == b"7" for item in items):
            raise ValueError("seven")

    calls: list[int] = []
    execution = ExecutionConfig(mode=mode, batch_size=16)
    async with ConsumerKit(worker if mode is ExecutionMode.ASYNC else call, execution_config=execution) as kit:
        for number in range(16):
            await kit.send(b"%d" % number, key=b"%d" % number)
        await kit.settled()

        failed = [each for each in kit.outcomes if not each.is_processed]
        assert told(failed) == [(b"7", 3, "ValueError('seven')")]
        assert len(kit.outcomes) == 16
        assert [letter.value for letter in kit.dead_letters] == [b"7"]
        assert max(calls) > 1
        assert len(calls) < 16


async def test_exactly_once_records_and_letters_are_written_with_the_offsets() -> None:
    async def worker(item: WorkItem) -> Record:
        if item.value == b"bad":
            raise DoNotRetry("bad")
        if item.value == b"slow":
            await may_end.wait()
        return Record("invoices", item.value)

    may_end = asyncio.Event()
    async with ConsumerKit(worker, output=OutputConfig(delivery="exactly_once")) as kit:
        for value in (b"slow", b"1", b"bad"):
            await kit.send(value, key=value)
        await kit.advance(1)
        assert [record.value for record in kit.records_out] == [b"1"]
        assert [letter.value for letter in kit.dead_letters] == [b"bad"]

        assert [item.value for item in await kit.crash()] == [b"slow"]
        may_end.set()
        await kit.settled()

        assert [record.value for record in kit.records_out] == [b"1", b"slow"]
        assert len(kit.dead_letters) == 1
        assert kit.committed == {0: 3}
