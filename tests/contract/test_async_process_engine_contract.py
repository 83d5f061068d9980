"""The engine for async workers in processes keeps the engines' contract."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pyrallel_consumer.execution_plane.processes.parent.async_process_engine import AsyncProcessEngine
from pyrallel_consumer.testing.engine_contract import EngineContract, async_worker, set_setting

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.execution_plane.engine import ExecutionEngine

PROCESSES = 2


class TestAsyncProcessEngine(EngineContract):
    abandoned_work_is_killed = True

    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
        prepared = partial(set_setting, "as at start")
        return AsyncProcessEngine(async_worker, policy, slots, min(slots, PROCESSES), initializer=prepared)
