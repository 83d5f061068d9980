"""Submitted items that have not begun when the lease ends: held, returned on request, begun when the lease goes on."""

from __future__ import annotations

import asyncio
import math
import sys
from abc import abstractmethod
from pathlib import Path

import pytest

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.execution_plane.async_engine import LateEngine
from pyrallel_consumer.execution_plane.engine import ExecutionEngine
from pyrallel_consumer.execution_plane.processes.parent.async_process_engine import AsyncProcessEngine
from pyrallel_consumer.execution_plane.processes.parent.members import hung_loops
from pyrallel_consumer.execution_plane.processes.parent.process_engine import ProcessEngine
from pyrallel_consumer.execution_plane.thread_engine import ThreadEngine
from pyrallel_consumer.testing.engine_contract import SLOTS, EngineRigs, Rig, async_worker, plain_worker


class HeldStarts(EngineRigs):
    @abstractmethod
    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine: ...

    async def test_what_was_submitted_begins_when_the_lease_goes_on(self, rigs: list[Rig], tmp_path: Path) -> None:
        rig, log = await self.rig(rigs), tmp_path / "log"
        rig.let_start(-math.inf)
        items = [rig.submit([], log=log) for _ in range(SLOTS)]
        await rig.settle()
        assert (rig.finished, rig.engine.running(), rig.engine.capacity()) == (0, SLOTS, 0)
        assert not log.exists()
        rig.let_start(math.inf)
        await rig.until_finished(SLOTS)
        assert set(rig.successes) == set(items)
        assert rig.engine.capacity() == SLOTS

    async def test_what_is_cancelled_meanwhile_never_begins(self, rigs: list[Rig], tmp_path: Path) -> None:
        rig, log = await self.rig(rigs), tmp_path / "log"
        rig.let_start(-math.inf)
        gone, kept = rig.submit([], log=log), rig.submit([], log=log)
        await rig.settle()
        rig.engine.cancel(lambda item: item is gone)
        await rig.until_finished(1)
        assert [(each.item, each.attempt) for each in rig.cancellations] == [(gone, 1)]
        rig.let_start(math.inf)
        await rig.until_finished(2)
        assert rig.successes == [kept]
        assert log.read_text().count("+") == 1

    async def test_what_is_withdrawn_meanwhile_is_given_back(self, rigs: list[Rig], tmp_path: Path) -> None:
        rig, log = await self.rig(rigs), tmp_path / "log"
        rig.let_start(-math.inf)
        gone, kept = rig.submit([], log=log), rig.submit([], log=log)
        await rig.settle()
        rig.engine.withdraw(lambda item: item is gone)
        await rig.until_finished(1)
        assert [each.item for each in rig.cancellations] == [gone]
        rig.let_start(math.inf)
        await rig.until_finished(2)
        assert rig.successes == [kept]

    async def test_a_stop_gives_back_what_is_held(self, rigs: list[Rig], tmp_path: Path) -> None:
        rig, log = await self.rig(rigs), tmp_path / "log"
        rig.let_start(-math.inf)
        items = [rig.submit([], log=log) for _ in range(SLOTS)]
        await rig.settle()
        await rig.engine.stop(5)
        rig.look()
        assert {each.item for each in rig.cancellations} == set(items)
        assert not log.exists()

    async def test_a_lease_that_goes_on_without_a_word_holds_nothing_for_ever(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs)
        rig.let_start(-math.inf)
        item = rig.submit([])
        await rig.settle()
        rig.channel.starts_until = rig.channel.starts_until_boot = math.inf
        rig.engine.heed_lease()  # The loop's next tick.
        await rig.until_finished(1)
        assert rig.successes == [item]


class TestLateEngine(HeldStarts):
    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
        return LateEngine(async_worker, policy, slots)


if sys.version_info >= (3, 12):
    from pyrallel_consumer.execution_plane.async_engine import EagerEngine

    class TestEagerEngine(HeldStarts):
        def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
            return EagerEngine(async_worker, policy, slots)

        async def test_the_lease_ends_while_items_are_being_started(self, rigs: list[Rig], tmp_path: Path) -> None:
            rig = await self.rig(rigs)
            begun = []

            async def worker(item: object) -> None:
                begun.append(item)
                rig.channel.starts_until = -math.inf

            rig.engine = EagerEngine(worker, RetryPolicy(), SLOTS)
            await rig.start()
            rigs.append(Rig(rig.engine))
            rig.engine.submit_all([rig.item([]) for _ in range(3)])
            assert len(begun) == 1
            rig.let_start(math.inf)
            assert len(begun) == 2


class TestThreadEngine(HeldStarts):
    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
        return ThreadEngine(plain_worker, policy, slots, threads=2)


class TestProcessEngine(HeldStarts):
    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
        return ProcessEngine(plain_worker, policy, slots, 2)

    async def test_what_was_sent_ahead_does_not_begin_after_the_lease(
        self, rigs: list[Rig], tmp_path: Path, gate: Path
    ) -> None:
        rig, log = await self.rig(rigs), tmp_path / "log"
        run = rig.run([[["wait", str(gate)]]], [[]], [[]], log=log)
        rig.engine.submit_all(run)
        await rig.until(lambda: log.exists() and "+" in log.read_text())
        rig.let_start(-math.inf)
        gate.touch()
        await rig.until_finished(1)
        await rig.settle()
        assert log.read_text().count("+") == 1
        rig.let_start(math.inf)
        await rig.until_finished(3)
        assert rig.successes == run

    async def test_a_process_whose_parent_says_nothing_more_begins_nothing_after_the_lease(
        self, rigs: list[Rig], tmp_path: Path, gate: Path
    ) -> None:
        rig, log = await self.rig(rigs), tmp_path / "log"
        rig.channel.starts_until_boot = 0.0  # Long ago; the parent does not know it.
        run = rig.run([[]], [[]], log=log)
        rig.engine.submit_all(run)
        await rig.settle()
        assert not log.exists()
        rig.engine.cancel(lambda _: True)
        await rig.until_finished(2)
        assert {each.item for each in rig.cancellations} == set(run)
        assert not log.exists()


class TestAsyncProcessEngine(HeldStarts):
    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine:
        return AsyncProcessEngine(async_worker, policy, slots, 2)

    async def test_a_process_whose_parent_says_nothing_more_begins_nothing_after_the_lease(
        self, rigs: list[Rig], tmp_path: Path
    ) -> None:
        rig, log = await self.rig(rigs), tmp_path / "log"
        rig.channel.starts_until_boot = 0.0  # Long ago; the parent does not know it.
        items = [rig.submit([], log=log) for _ in range(SLOTS)]
        await rig.settle()
        assert not log.exists()
        assert rig.engine.longest_running(SLOTS) == []
        rig.engine.cancel(lambda item: item is not items[0])
        await rig.until_finished(SLOTS - 1)
        assert {each.item for each in rig.cancellations} == set(items[1:])
        assert not log.exists()
        rig.let_start(math.inf)
        await rig.until_finished(SLOTS)
        assert rig.successes == items[:1]

    async def test_a_process_that_holds_back_for_longer_than_a_timeout_is_left_alive(
        self, rigs: list[Rig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hung_loops, "HUNG_SECONDS", 0.2)
        rig, log = await self.rig(rigs, RetryPolicy(max_attempts=1, timeout_ms=300)), tmp_path / "log"
        rig.channel.starts_until_boot = 0.0
        items = [rig.submit([], log=log) for _ in range(SLOTS)]
        give_up_at = asyncio.get_running_loop().time() + 1.5
        await rig.until(lambda: asyncio.get_running_loop().time() > give_up_at)
        rig.let_start(math.inf)
        await rig.until_finished(SLOTS)
        assert set(rig.successes) == set(items)
        assert rig.engine.status().timeouts_total == 0
