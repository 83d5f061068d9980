"""The Ray engine keeps the engines' contract, with workers of both kinds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from pyrallel_consumer.execution_plane.ray.cluster import ActorPlan
from pyrallel_consumer.execution_plane.ray.ray_engine import RayEngine
from pyrallel_consumer.testing.engine_contract import EngineContract, async_worker, plain_worker, set_setting

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.policies import RetryPolicy
    from pyrallel_consumer.execution_plane.engine import ExecutionEngine

PLAN = ActorPlan(fewest=2, most=2, num_cpus=1, num_gpus=0, resources={}, runtime_env={})
PREPARED = partial(set_setting, "as at start")
START_SECONDS = 120


@pytest.mark.usefixtures("cluster")
class TestAsyncWorkers(EngineContract):
    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
        return RayEngine(
            async_worker, policy, slots, PLAN, is_async=True, initializer=PREPARED, start_seconds=START_SECONDS
        )


@pytest.mark.usefixtures("cluster")
class TestPlainWorkers(EngineContract):
    overdue_work_is_killed = True

    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
        return RayEngine(
            plain_worker, policy, slots, PLAN, is_async=False, initializer=PREPARED, start_seconds=START_SECONDS
        )
