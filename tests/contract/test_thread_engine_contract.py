"""The thread engine keeps the engines' contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.execution_plane.thread_engine import ThreadEngine
from pyrallel_consumer.testing.engine_contract import EngineContract, plain_worker

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.execution_plane.engine import ExecutionEngine


class TestThreadEngine(EngineContract):
    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
        return ThreadEngine(plain_worker, policy, slots)
