"""Actors start while messages wait, and end when they are idle; a start that fails gives its reason."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.execution_plane.ray import actors
from pyrallel_consumer.execution_plane.ray.ray_engine import RayEngine
from pyrallel_consumer.testing.engine_contract.rig import Rig
from pyrallel_consumer.testing.messages import work_item
from tests.unit.execution_plane.ray.local_cluster import LocalActor, LocalCluster, plan

if TYPE_CHECKING:
    from pyrallel_consumer.dto import WorkItem

ONCE = RetryPolicy(max_attempts=1, timeout_ms=0)


class Waiting:
    """A worker whose messages all wait until ``gate``."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.running = 0
        self.most = 0

    async def __call__(self, item: WorkItem) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        await self.gate.wait()
        self.running -= 1


async def test_what_waits_behind_slow_messages_brings_more_actors_up_to_the_most_and_idle_ones_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actors, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(actors, "LEAVE_SECONDS", 0.0)
    worker, cluster = Waiting(), LocalCluster(plan(1, 3))
    rig = Rig(RayEngine(worker, ONCE, 64, cluster, is_async=True, concurrency=1, start_seconds=20))
    await rig.start()
    await rig.submit_all([work_item(b"", offset=number) for number in range(40)])
    await rig.until(lambda: worker.running == 3)
    worker.gate.set()
    await rig.until_finished(40)
    assert worker.most == 3
    await rig.until(lambda: len(cluster.living) == 1)
    assert len(rig.successes) == 40
    await rig.engine.stop(1)


async def test_where_nothing_waits_the_fewest_actors_stay_alone() -> None:
    worker, cluster = Waiting(), LocalCluster(plan(1, 3))
    rig = Rig(RayEngine(worker, ONCE, 64, cluster, is_async=True, concurrency=8, start_seconds=20))
    await rig.start()
    await rig.submit_all([work_item(b"", offset=number) for number in range(8)])
    await rig.until(lambda: worker.running == 8)
    looks = len(cluster.actors)
    worker.gate.set()
    await rig.until_finished(8)
    assert looks == len(cluster.actors) == 1
    await rig.engine.stop(1)


class Full(LocalCluster):
    """Others hold its resources: actors never start."""

    def made_actor(self, setup: bytes) -> LocalActor:
        actor = super().made_actor(setup)
        if len(self.actors) > 1:
            never = asyncio.Event()

            async def open_never() -> tuple[str, None]:
                await never.wait()
                return "", None

            open_never.__self__ = actor  # type: ignore[attr-defined]
            actor.open = open_never  # type: ignore[method-assign]
        return actor


async def test_a_start_that_waits_for_resources_in_vain_says_how_many_actors_there_are() -> None:
    engine = RayEngine(Waiting(), ONCE, 8, Full(plan(2)), is_async=True, start_seconds=0.2)
    with pytest.raises(ConfigurationError, match=r"1 of 2 actors \(RayConfig.min_actors\) have started: others hold"):
        await Rig(engine).start()
    await engine.stop(1)


async def test_a_start_without_the_resources_names_what_is_missing() -> None:
    class Small(Full):
        def nodes(self) -> list[dict[str, float]]:
            return [{"CPU": 1.0}]

    engine = RayEngine(Waiting(), ONCE, 8, Small(plan(2)), is_async=True, start_seconds=0.2)
    with pytest.raises(ConfigurationError, match=r"has CPU 1 on 1 nodes and room for 1; missing: CPU 1"):
        await Rig(engine).start()
    await engine.stop(1)
