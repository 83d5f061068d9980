"""The Ray engine keeps the engines' contract, with workers of both kinds."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.errors import TaskTimeoutError
from pyrallel_consumer.execution_plane.ray.cluster import ActorPlan, Cluster
from pyrallel_consumer.execution_plane.ray.ray_engine import RayEngine
from pyrallel_consumer.testing.engine_contract import EngineContract, async_worker, plain_worker, set_setting
from tests.ray.conftest import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.engine import ExecutionEngine
    from pyrallel_consumer.testing.engine_contract.rig import Rig


def made_engine(
    worker: Callable[[WorkItem], object], policy: RetryPolicy, slots: int, actors: int, *, is_async: bool
) -> ExecutionEngine:
    prepared = partial(set_setting, "as at start")
    return RayEngine(
        worker,
        policy,
        slots,
        Cluster("auto", ActorPlan(actors, actors, num_cpus=0.5, num_gpus=0, resources={}, runtime_env={})),
        is_async=is_async,
        initializer=prepared,
        start_seconds=PATIENCE_SECONDS,
    )


class RayContract(EngineContract):
    async def test_ten_thousand_items_and_five_restarts_leave_no_task_thread_process_or_file_behind(
        self, tmp_path: Path
    ) -> None:
        """Connections and threads of this process are Ray's, which keeps some; so fewer restarts, and tasks alone."""
        tasks = asyncio.all_tasks()
        for _ in range(3):
            rig = await self.rig([], slots=64)
            await rig.submit_all([rig.item([["raise", "ValueError"]], []) for _ in range(500)])
            await rig.until_finished(500)
            await rig.engine.stop(2)
            assert len(rig.successes) == 500
            assert asyncio.all_tasks() == tasks


@pytest.mark.usefixtures("cluster")
class TestAsyncWorkers(RayContract):
    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
        return made_engine(async_worker, policy, slots, 1, is_async=True)


@pytest.mark.usefixtures("cluster")
class TestPlainWorkers(RayContract):
    """A cancelled call ends with its actor, unless it returns before the actor learns of the cancel."""

    overdue_work_is_killed = True

    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
        return made_engine(plain_worker, policy, slots, 3, is_async=False)

    @pytest.mark.parametrize("kind", ["stubborn", "swallow"])
    async def test_a_call_that_returned_after_its_timeout_is_done(self, rigs: list[Rig], gate: Path, kind: str) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=1, timeout_ms=10))
        item = rig.submit([[kind, str(gate)]])
        await rig.until(lambda: rig.has_stuck or rig.finished > 0)
        gate.touch()
        await rig.until_finished(1)
        errors = [type(failed.error) for failed in rig.failures]
        assert (rig.successes, errors) in (([item], []), ([], [TaskTimeoutError]))
        assert rig.engine.status().timeouts_total == 1

    async def test_the_next_attempt_begins_only_after_the_timed_out_one_ended(
        self, rigs: list[Rig], tmp_path: Path, gate: Path
    ) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=2, backoff_ms=0, jitter_ms=0, timeout_ms=1000))
        log = tmp_path / "log"
        item = rig.submit([["stubborn", str(gate)], ["raise", "ValueError"]], [], log=log)
        await rig.until(lambda: rig.has_stuck)
        gate.touch()
        await rig.until_finished(1)
        assert rig.successes == [item]
        lines = [line[0] + line[-1] for line in log.read_text().splitlines()]
        assert lines in (["+1", "+2", "-2"], ["+1", "-1", "+2", "-2"])
