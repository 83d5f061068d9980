"""The async engine keeps the engines' contract, in each of its forms."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pyrallel_consumer.execution_plane.async_engine import LateEngine
from pyrallel_consumer.testing.engine_contract import EngineContract, async_worker

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.execution_plane.engine import ExecutionEngine


class TestLateEngine(EngineContract):
    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
        return LateEngine(async_worker, policy, slots)


if sys.version_info >= (3, 12):
    from pyrallel_consumer.execution_plane.async_engine import EagerEngine

    class TestEagerEngine(EngineContract):
        def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
            return EagerEngine(async_worker, policy, slots)
