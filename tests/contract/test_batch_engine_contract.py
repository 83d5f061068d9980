"""The engine of batches keeps the engines' contract before each engine, with batches of one and of many."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.policies import BatchPolicy
from pyrallel_consumer.dto import ExecutionMode
from pyrallel_consumer.execution_plane.async_engine import AsyncEngine
from pyrallel_consumer.execution_plane.batches.batch import packed_batch
from pyrallel_consumer.execution_plane.batches.call import batch_call
from pyrallel_consumer.execution_plane.batches.engine import BatchEngine, call_policy
from pyrallel_consumer.execution_plane.processes.parent.process_engine import ProcessEngine
from pyrallel_consumer.execution_plane.thread_engine import ThreadEngine
from pyrallel_consumer.testing.engine_contract import EngineContract, OrderContract, set_setting
from tests.contract.batch_worker import async_batch_worker, plain_batch_worker

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.execution_plane.engine import ExecutionEngine

PROCESSES = 3
ONE_BY_ONE = BatchPolicy(size=1, linger_seconds=0.0)


class BatchOrderContract(OrderContract):
    """The tests that tell sent-ahead items from running ones do not apply: items behind a batch do not run."""

    test_a_run_that_is_cancelled_comes_back_whole = None  # type: ignore[assignment]


class TestBeforeTheAsyncEngine(EngineContract, BatchOrderContract):
    # What fails in its first step has failed when submit returns, and the loop takes that in before it submits more.
    test_after_a_message_that_failed_for_good_the_key_goes_on = None  # type: ignore[assignment]

    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
        calls = AsyncEngine(batch_call(async_batch_worker, ExecutionMode.ASYNC), call_policy(policy), slots)
        return BatchEngine(calls, ONE_BY_ONE, policy, slots)


class TestBeforeTheThreadEngine(EngineContract, BatchOrderContract):
    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
        calls = ThreadEngine(batch_call(plain_batch_worker, ExecutionMode.THREAD), call_policy(policy), slots)
        return BatchEngine(calls, ONE_BY_ONE, policy, slots)


class TestBeforeTheProcessEngine(EngineContract, BatchOrderContract):
    overdue_work_is_killed = True

    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
        prepared = partial(set_setting, "as at start")
        call = batch_call(plain_batch_worker, ExecutionMode.PROCESS)
        processes = min(slots, PROCESSES)
        calls = ProcessEngine(call, call_policy(policy), slots, processes, initializer=prepared, pack=packed_batch)
        return BatchEngine(calls, ONE_BY_ONE, policy, slots)
