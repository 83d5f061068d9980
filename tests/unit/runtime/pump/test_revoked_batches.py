"""A partition is revoked while its messages wait to be joined to a batch: they do not begin any more."""

from __future__ import annotations

from collections.abc import Sequence

from pyrallel_consumer.control_plane.events import Assigned, CommitSnapshot, Delivered, RevokeAsked
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import BatchPolicy, RetryPolicy, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import ExecutionMode, Message, TopicPartition, WorkItem
from pyrallel_consumer.execution_plane.async_engine import AsyncEngine
from pyrallel_consumer.execution_plane.batches.call import batch_call
from pyrallel_consumer.execution_plane.batches.engine import BatchEngine, call_policy
from pyrallel_consumer.testing.messages import PlainMessage
from tests.unit.runtime.pump.test_control_loop import until
from tests.unit.silent_pump import Silent, silent_pump

REVOKED, KEPT = TopicPartition("orders", 0), TopicPartition("orders", 1)
RETRY = RetryPolicy(timeout_ms=0)
LINGER_SECONDS = 600.0


def delivered(tp: TopicPartition, offsets: Sequence[int]) -> Delivered:
    messages: list[Message] = [PlainMessage(tp.topic, tp.partition, offset, b"%d" % offset, b"") for offset in offsets]
    return Delivered(tp, 1, messages)


async def test_a_message_that_waits_for_others_is_not_joined_to_those_that_come_with_the_question() -> None:
    async def worker(items: list[WorkItem]) -> None:
        calls.append([item.tp for item in items])

    calls: list[list[TopicPartition]] = []
    answers: list[tuple[CommitSnapshot, ...]] = []
    failures: list[BaseException] = []
    manager = WorkManager(WorkPolicy(is_sending_ahead=True))
    inner = AsyncEngine(batch_call(worker, ExecutionMode.ASYNC), call_policy(RETRY), 8)
    engine = BatchEngine(inner, BatchPolicy(size=2, linger_seconds=LINGER_SECONDS), RETRY, 8)
    control = await silent_pump(manager, engine, failures)
    control.start(Silent())
    for tp in (REVOKED, KEPT):
        control.deliver(Assigned(tp, 1, 0, OffsetMap(0, 0)))
    control.deliver(delivered(REVOKED, [0]))
    await until(lambda: manager.in_flight == 1)

    control.deliver(RevokeAsked(((REVOKED, 1),), answers.append))
    control.deliver(delivered(KEPT, [0, 1]))
    await until(lambda: answers and calls)

    assert calls == [[KEPT, KEPT]]
    assert failures == []
    control.stop()
    await engine.stop(0.0)
