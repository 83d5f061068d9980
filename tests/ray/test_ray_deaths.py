"""Actors and nodes that die: messages that ran there are charged an attempt, the others are not, nothing is lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.errors import ConfigurationError, ExecutionError, ProcessDiedError
from pyrallel_consumer.execution_plane.ray import actors
from pyrallel_consumer.execution_plane.ray.cluster import ActorPlan, Cluster
from pyrallel_consumer.execution_plane.ray.ray_engine import RayEngine
from pyrallel_consumer.testing.engine_contract.rig import Rig
from pyrallel_consumer.testing.messages import work_item
from tests.ray.conftest import PATIENCE_SECONDS, node_settings
from tests.ray.ray_workers import deadly, gated, nothing, waiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pyrallel_consumer.dto import WorkItem

MANY = RetryPolicy(max_attempts=50, backoff_ms=0, jitter_ms=0, timeout_ms=0)
FIVE_TIMES = RetryPolicy(max_attempts=5, backoff_ms=0, jitter_ms=0, timeout_ms=0)
ONCE = RetryPolicy(max_attempts=1, backoff_ms=0, jitter_ms=0, timeout_ms=0)
TWICE = RetryPolicy(max_attempts=2, backoff_ms=0, jitter_ms=0, timeout_ms=0)
TWO_ACTORS = ActorPlan(2, 2, 1, 0, {}, {})

pytestmark = pytest.mark.usefixtures("cluster")


class Bench(Rig):
    """A rig with items that say where their worker may leave its journal."""

    def __init__(
        self,
        folder: Path,
        worker: Callable[[WorkItem], Any],
        policy: RetryPolicy,
        *,
        is_async: bool,
        plan: ActorPlan = TWO_ACTORS,
    ) -> None:
        cluster = Cluster("auto", plan)
        super().__init__(RayEngine(worker, policy, 256, cluster, is_async=is_async, start_seconds=PATIENCE_SECONDS))
        self.folder = folder

    async def finish(self, count: int, at: Callable[[int], None]) -> list[WorkItem]:
        """Have so many items run; ``at`` is called with how many have finished, again and again. Returns the items."""
        items = [self.made(number) for number in range(count)]
        left = list(reversed(items))

        def turn() -> bool:
            some = [left.pop() for _ in range(min(self.engine.capacity(), len(left)))]
            if some:
                self.engine.submit_all(some)
            at(self.finished)
            return self.finished == count

        await self.until(turn)
        return items

    def made(self, number: int, value: bytes = b"", key: bytes | None = None) -> WorkItem:
        return work_item(value, key=key, offset=number, headers=[("folder", str(self.folder).encode())])

    @property
    def journal(self) -> list[list[str]]:
        """The journal's lines: sign, key, offset, attempt, pid."""
        path = self.folder / "journal"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def pids(self) -> list[int]:
        return sorted({int(line[4]) for line in self.journal})


@pytest_asyncio.fixture
async def benches() -> AsyncIterator[list[Bench]]:
    made: list[Bench] = []
    yield made
    for bench in made:
        await bench.engine.stop(2)


@pytest.mark.parametrize("policy", [ONCE, FIVE_TIMES], ids=["once", "five times"])
async def test_a_message_that_kills_its_actors_is_given_up_and_all_others_are_done(
    benches: list[Bench], tmp_path: Path, policy: RetryPolicy
) -> None:
    """Of those before it, whose end may not have been told, one of each actor may pay an attempt."""
    bench = Bench(tmp_path, deadly, policy, is_async=False)
    benches.append(bench)
    await bench.start()
    (tmp_path / "armed").touch()
    items = [bench.made(number, b"deadly" if number == 20 else b"") for number in range(60)]
    await bench.submit_all(items)
    await bench.until_finished(60)
    [failed] = bench.failures
    assert failed.item is items[20]
    assert isinstance(failed.error, ProcessDiedError)
    assert str(failed.error).endswith(f"while it ran {items[20].id}")
    assert len(bench.pids()) >= policy.max_attempts


async def test_a_node_that_is_removed_under_load_loses_nothing(
    benches: list[Bench], tmp_path: Path, cluster: Any
) -> None:
    node = cluster.add_node(**node_settings(1), resources={"here": 2})
    plan = ActorPlan(1, 2, 0.25, 0, {"here": 1}, {})
    bench = Bench(tmp_path, waiting, MANY, is_async=True, plan=plan)
    benches.append(bench)
    await bench.start()
    nodes = [node]

    def remove(finished: int) -> None:
        if nodes and finished > 500:
            cluster.add_node(**node_settings(1), resources={"here": 2})
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    items = await bench.finish(2000, remove)
    assert nodes == []
    assert bench.failures == []
    assert Counter(map(id, bench.successes)) == Counter(map(id, items))


async def test_while_messages_wait_actors_come_up_to_the_most_and_idle_ones_go(
    benches: list[Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actors, "IDLE_SECONDS", 1.0)
    bench = Bench(tmp_path, gated, TWICE, is_async=False, plan=ActorPlan(1, 3, 0.5, 0, {}, {}))
    benches.append(bench)
    await bench.start()
    await bench.submit_all([bench.made(number) for number in range(40)])
    await bench.until(lambda: len(bench.pids()) == 3)
    (tmp_path / "gate").touch()
    await bench.until_finished(40)
    assert len(bench.successes) == 40

    def living() -> list[int]:
        return [pid for pid in bench.pids() if Path(f"/proc/{pid}").exists()]

    await bench.until(lambda: len(living()) == 1)


async def test_a_cluster_without_the_resources_is_told_at_the_start(benches: list[Bench], tmp_path: Path) -> None:
    wanted = ActorPlan(1, 1, 1, 1, {}, {})
    engine = RayEngine(nothing, TWICE, 8, Cluster("auto", wanted), is_async=True, start_seconds=1)
    rig = Rig(engine)
    with pytest.raises(ConfigurationError, match=r"need CPU 1, GPU 1 each .* missing: GPU 1"):
        await rig.start()
    await engine.stop(1)


async def test_a_worker_that_cannot_be_made_on_an_actor_is_told_at_the_start() -> None:
    def fails() -> None:
        raise ValueError("no such model")

    cluster = Cluster("auto", ActorPlan(1, 1, 1, 0, {}, {}))
    engine = RayEngine(nothing, TWICE, 8, cluster, is_async=True, start_seconds=PATIENCE_SECONDS, initializer=fails)
    with pytest.raises(ExecutionError, match="no such model"):
        await Rig(engine).start()
    await engine.stop(1)
