"""Messages that kill their actor: only those are given up, and only after an attempt alone."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.errors import ProcessDiedError
from pyrallel_consumer.execution_plane.ray import actors
from pyrallel_consumer.execution_plane.ray.ray_engine import RayEngine
from pyrallel_consumer.testing.engine_contract.rig import Rig
from pyrallel_consumer.testing.messages import work_item
from tests.unit.execution_plane.ray.local_cluster import ACTOR, ActorUnreachableError, LocalCluster, plan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pyrallel_consumer.dto import WorkItem

pytestmark = pytest.mark.usefixtures("_quick_replacements")


def at_most(attempts: int) -> RetryPolicy:
    return RetryPolicy(max_attempts=attempts, backoff_ms=0, jitter_ms=0, timeout_ms=0)


class Bench(Rig):
    """Items whose value says what they do: ``deadly`` kills its actor, ``gate`` waits for ``gate``."""

    def __init__(self, attempts: int, *, actors: int = 2, concurrency: int = 1) -> None:
        self.cluster = LocalCluster(plan(actors))
        self.gate = asyncio.Event()
        self.runs: dict[int, list[int]] = defaultdict(list)
        """The numbers of the attempts that began, by offset."""
        self.running: set[int] = set()
        self._next = 0
        engine = RayEngine(
            self.work, at_most(attempts), 256, self.cluster, is_async=True, concurrency=concurrency, start_seconds=20
        )
        super().__init__(engine)

    async def work(self, item: WorkItem) -> None:
        self.runs[item.offset].append(item.attempt)
        self.running.add(item.offset)
        try:
            if item.payload == b"deadly":
                ACTOR.get().fall()
                await asyncio.Event().wait()
            if item.payload == b"gate":
                await self.gate.wait()
        finally:
            self.running.discard(item.offset)

    def send(self, *values: bytes) -> list[WorkItem]:
        items = [work_item(value, offset=self._next + number) for number, value in enumerate(values)]
        self._next += len(values)
        self.engine.submit_all(items)
        return items

    def is_running(self, items: list[WorkItem]) -> int:
        return len(self.running & {item.offset for item in items})


@pytest.fixture
def _quick_replacements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "LONGEST_BACKOFF_SECONDS", 0.01)


@pytest_asyncio.fixture
async def started() -> AsyncIterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def start(attempts: int, **settings: int) -> Bench:
        made.append(Bench(attempts, **settings))
        return made[-1]

    yield start
    for bench in made:
        bench.gate.set()
        await bench.engine.stop(1)


@pytest.mark.parametrize("attempts", [1, 2, 5])
@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("count", [1, 2])
async def test_only_who_dies_alone_is_given_up(
    started: Callable[..., Bench], attempts: int, concurrency: int, count: int
) -> None:
    bench = started(attempts, actors=count, concurrency=concurrency)
    await bench.start()
    items = bench.send(*[b""] * 20, b"deadly", *[b""] * 40)
    await bench.until_finished(61)
    [failed] = bench.failures
    assert (failed.item, failed.attempt) == (items[20], attempts)
    assert isinstance(failed.error, ProcessDiedError)
    assert "others" not in str(failed.error)
    assert {*bench.successes} == {*items} - {items[20]}


async def test_who_may_not_have_begun_is_not_charged(started: Callable[..., Bench]) -> None:
    bench = started(5, actors=1)
    await bench.start()
    items = bench.send(*[b""] * 10, b"deadly", *[b""] * 40)
    await bench.until_finished(51)
    assert all(max(bench.runs[item.offset]) == 1 for item in items[11:])
    assert sum(max(bench.runs[item.offset]) > 1 for item in items[:10]) <= 1


async def test_several_deadly_messages_are_found_out_and_nobody_else_is_given_up(
    started: Callable[..., Bench],
) -> None:
    bench = started(2, concurrency=16)
    await bench.start()
    items = bench.send(*[b"", b"", b"", b"deadly"] * 12)
    await bench.until_finished(48)
    assert {failed.item for failed in bench.failures} == {item for item in items if item.payload == b"deadly"}
    assert len(bench.successes) == 36


async def test_others_go_on_while_suspects_run_alone_one_at_a_time(started: Callable[..., Bench]) -> None:
    bench = started(1, concurrency=4)
    await bench.start()
    suspects = bench.send(b"gate", b"gate")
    await bench.until(lambda: bench.is_running(suspects) == 2)
    for actor in bench.cluster.living:
        actor.fall()
    await bench.until(lambda: len(bench.running) == 0)
    await bench.until(lambda: bench.is_running(suspects) == 1)
    others = bench.send(*[b""] * 50)
    await bench.until_finished(50)
    assert {*bench.successes} == {*others}
    assert bench.is_running(suspects) == 1
    bench.gate.set()
    await bench.until_finished(52)
    assert {*bench.successes} == {*others, *suspects}


async def test_where_there_is_one_actor_suspects_and_others_take_turns(started: Callable[..., Bench]) -> None:
    bench = started(1, actors=1, concurrency=8)
    await bench.start()
    suspects = bench.send(*[b"gate"] * 8)
    await bench.until(lambda: bench.is_running(suspects) == 8)
    others = bench.send(*[b""] * 30)
    bench.cluster.living[0].fall()
    await bench.until(lambda: bench.is_running(suspects) == 1)
    await bench.settle()
    assert bench.is_running(suspects) == 1
    bench.gate.set()
    await bench.until_finished(38)
    assert {*bench.successes} == {*others, *suspects}


async def test_an_actor_out_of_reach_is_killed_and_costs_what_ran_there(started: Callable[..., Bench]) -> None:
    """Ray reports a killed process as unreachable at first."""
    bench = started(2, actors=1, concurrency=4)
    await bench.start()
    items = bench.send(*[b"gate"] * 3)
    await bench.until(lambda: bench.is_running(items) == 3)
    lost = bench.cluster.living[0]
    lost.fall(ActorUnreachableError())
    bench.gate.set()
    await bench.until_finished(3)
    assert {*bench.successes} == {*items}
    assert all(bench.runs[item.offset] == [1, 2] for item in items)


async def test_suspects_that_wait_for_their_turn_can_be_withdrawn(started: Callable[..., Bench]) -> None:
    bench = started(1, actors=1, concurrency=4)
    await bench.start()
    suspects = bench.send(*[b"gate"] * 4)
    await bench.until(lambda: bench.is_running(suspects) == 4)
    bench.cluster.living[0].fall()
    await bench.until(lambda: bench.is_running(suspects) == 1)
    bench.engine.withdraw(lambda _: True)
    await bench.until_finished(3)
    assert len(bench.cancellations) == 3
    bench.gate.set()
    await bench.until_finished(4)
    assert len(bench.successes) == 1


async def test_suspects_are_cleared_by_an_end_and_then_run_with_the_others(started: Callable[..., Bench]) -> None:
    bench = started(1, actors=1, concurrency=4)
    await bench.start()
    bench.gate.set()
    bench.send(b"gate", b"deadly", b"gate")
    await bench.until_finished(3)
    bench.gate.clear()
    later = bench.send(*[b"gate"] * 4)
    await bench.until(lambda: bench.is_running(later) == 4)
