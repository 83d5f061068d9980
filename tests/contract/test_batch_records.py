"""Records of batches reach the channel with their messages, whatever engine makes the call."""

from __future__ import annotations

import pytest

from pyrallel_consumer.control_plane.policies import BatchPolicy, RetryPolicy
from pyrallel_consumer.dto import ExecutionMode, WorkItem
from pyrallel_consumer.execution_plane.async_engine import AsyncEngine
from pyrallel_consumer.execution_plane.batches.batch import packed_batch
from pyrallel_consumer.execution_plane.batches.call import batch_call
from pyrallel_consumer.execution_plane.batches.engine import BatchEngine, call_policy
from pyrallel_consumer.execution_plane.engine import ExecutionEngine
from pyrallel_consumer.execution_plane.processes.parent.async_process_engine import AsyncProcessEngine
from pyrallel_consumer.execution_plane.processes.parent.process_engine import ProcessEngine
from pyrallel_consumer.execution_plane.worker.returned import RecordMaker
from pyrallel_consumer.ingress.serialization import serialization_context
from pyrallel_consumer.record import Record
from pyrallel_consumer.testing.engine_contract.rig import Rig

SLOTS = 60
BATCH = 20
POLICY = RetryPolicy(max_attempts=2, backoff_ms=1, jitter_ms=0)
MAKER = RecordMaker(None, serialization_context)
LARGE = b"x" * 100_000
"""Twenty of these are more than an error may carry out of a process."""


def entry_of(item: WorkItem) -> Record | BaseException | None:
    if item.offset % 5 == 1 and item.attempt == 1:
        return ValueError("the first attempt fails")
    if item.offset % 5 == 2:
        return ValueError("every attempt fails")
    return None if item.offset % 5 == 3 else Record("out", LARGE + b"%d" % item.offset)


def plain(items: list[WorkItem]) -> list[Record | BaseException | None]:
    return [entry_of(item) for item in items]


async def awaited(items: list[WorkItem]) -> list[Record | BaseException | None]:
    return plain(items)


def engine_of(kind: str) -> ExecutionEngine:
    inner: ExecutionEngine
    calls = call_policy(POLICY)
    if kind == "async":
        inner = AsyncEngine(batch_call(awaited, ExecutionMode.ASYNC, None, MAKER), calls, SLOTS, is_recording=True)
    elif kind == "process":
        call = batch_call(plain, ExecutionMode.PROCESS, None, MAKER)
        inner = ProcessEngine(call, calls, 4, 2, pack=packed_batch, is_recording=True)
    else:
        call = batch_call(awaited, ExecutionMode.PROCESS, None, MAKER)
        inner = AsyncProcessEngine(call, calls, SLOTS, 2, pack=packed_batch, is_recording=True)
    return BatchEngine(inner, BatchPolicy(size=BATCH, linger_seconds=0.001), POLICY, SLOTS)


@pytest.mark.parametrize("kind", ["async", "process", "async process"])
async def test_each_message_that_is_done_has_its_records_and_its_attempt_and_no_other_has_any(kind: str) -> None:
    engine = engine_of(kind)
    rig = await Rig(engine).start()
    try:
        items = [rig.item() for _ in range(100)]
        await rig.submit_all(items)
        await rig.until_finished(len(items))
    finally:
        await engine.stop(5)

    failed = {item for item in items if item.offset % 5 == 2}
    assert {failure.item for failure in rig.failures} == failed
    assert set(rig.successes) == set(items) - failed
    expected = {
        item: (2 if item.offset % 5 == 1 else 1, b"%d" % item.offset) for item in items if item.offset % 5 not in (2, 3)
    }
    found = {
        item: (attempt, record.value.removeprefix(LARGE)) for item, (attempt, [record]) in rig.channel.returned.items()
    }
    assert found == expected
