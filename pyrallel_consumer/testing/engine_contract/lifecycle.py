"""Attempts of every engine that take too long, are given back, or run when the engine stops; isolation and leaks.

Subclass, give ``make_engine``, and it is tested; see ``work``.
"""

from __future__ import annotations

import asyncio
import math
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.errors import TaskTimeoutError
from pyrallel_consumer.testing.engine_contract.rig import PATIENCE_SECONDS
from pyrallel_consumer.testing.engine_contract.rigs import SLOTS, EngineRigs
from pyrallel_consumer.testing.engine_contract.worker import SETTING

if TYPE_CHECKING:
    from pyrallel_consumer.testing.engine_contract.rig import Rig, Step


def children() -> set[str]:
    """Child processes whose exit code was not read yet, as far as the system tells."""
    found: set[str] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # Threads come and go.
            found |= set(path.read_text().split())
    return found


def open_files() -> int:
    """How many files and sockets this process has open, 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


class LifecycleContract(EngineRigs):
    """Timeouts, cancelling and withdrawing, contexts, stopping."""

    # Timeouts

    async def test_an_attempt_that_runs_too_long_fails_when_it_has_ended(self, rigs: list[Rig], gate: Path) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=1, timeout_ms=10))
        item = rig.submit([["stubborn", str(gate)], ["raise", "ValueError"]])
        await rig.until(lambda: rig.has_stuck)
        [stuck] = rig.engine.stuck(asyncio.get_running_loop().time())
        assert (stuck.item, stuck.attempt, stuck.is_timed_out) == (item, 1, True)
        assert stuck.marked_at >= stuck.started_at + 0.01
        assert (rig.engine.running(), rig.engine.capacity(), rig.finished) == (1, SLOTS - 1, 0)
        assert rig.engine.status().timeouts_total == 1
        gate.touch()
        await rig.until_finished(1)
        [failed] = rig.failures
        assert isinstance(failed.error, TaskTimeoutError)
        assert rig.engine.capacity() == SLOTS
        assert rig.engine.stuck(asyncio.get_running_loop().time()) == []

    @pytest.mark.parametrize("kind", ["stubborn", "swallow"])
    async def test_a_call_that_returned_after_its_timeout_is_done(self, rigs: list[Rig], gate: Path, kind: str) -> None:
        """``swallow``: it notices that it is cancelled, where it can, and returns."""
        rig = await self.rig(rigs, RetryPolicy(max_attempts=1, timeout_ms=10))
        item = rig.submit([[kind, str(gate)]])
        await rig.until(lambda: rig.has_stuck or rig.finished > 0)
        gate.touch()
        await rig.until_finished(1)
        assert rig.successes == ([] if self.overdue_work_is_killed else [item])
        assert rig.engine.status().timeouts_total == 1

    @pytest.mark.parametrize("kind", ["stubborn", "swallow"])
    async def test_a_call_that_returned_after_it_was_cancelled_is_done(
        self, rigs: list[Rig], tmp_path: Path, gate: Path, kind: str
    ) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=1, timeout_ms=0))
        log = tmp_path / "log"
        item = rig.submit([[kind, str(gate)]], log=log)
        await rig.until(log.exists)
        rig.engine.cancel(lambda _: True)
        gate.touch()
        await rig.until_finished(1)
        has_returned = log.read_text().count("-") == 1
        assert has_returned or self.overdue_work_is_killed
        assert (rig.successes, rig.failures) == ([item] if has_returned else [], [])

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
        assert lines == (["+1", "+2", "-2"] if self.overdue_work_is_killed else ["+1", "-1", "+2", "-2"])

    async def test_a_sweep_is_announced_for_the_first_timeout(self, rigs: list[Rig], gate: Path) -> None:
        rig = await self.rig(rigs, RetryPolicy(timeout_ms=50_000))
        assert rig.engine.next_sweep_at() is None
        before = asyncio.get_running_loop().time()
        rig.submit([["wait", str(gate)]])
        await rig.until(lambda: rig.engine.next_sweep_at() is not None)
        sweep_at = rig.engine.next_sweep_at()
        assert sweep_at is not None
        assert before + 50 <= sweep_at <= asyncio.get_running_loop().time() + 50
        gate.touch()
        await rig.until_finished(1)
        assert rig.engine.next_sweep_at() is None

    # Giving back

    async def test_cancelled_attempts_are_given_back_uncharged_when_they_ended(
        self, rigs: list[Rig], tmp_path: Path, gate: Path
    ) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=1, timeout_ms=0))
        log = tmp_path / "log"
        stubborn = rig.submit([["stubborn", str(gate)], ["raise", "DoNotRetry"]], log=log)
        failing = rig.submit([["stubborn", str(gate)], ["raise", "ValueError"]], log=log)
        other = rig.submit([["wait", str(gate)]], log=log)
        await rig.until(lambda: log.exists() and log.read_text().count("+") == 3)
        rig.engine.cancel(lambda item: item is not other)
        rig.engine.cancel(lambda item: item is stubborn)
        now = asyncio.get_running_loop().time()
        stuck = rig.engine.stuck(now)
        assert [(attempt.item, attempt.is_timed_out) for attempt in stuck] == [(stubborn, False), (failing, False)]
        assert rig.engine.running() == 3
        gate.touch()
        await rig.until_finished(3)
        assert rig.successes == [other]
        assert {(cancelled.item, cancelled.attempt) for cancelled in rig.cancellations} == {(stubborn, 1), (failing, 1)}
        assert rig.engine.capacity() == SLOTS

    async def test_an_item_cancelled_right_after_its_submission_is_reported_once(
        self, rigs: list[Rig], gate: Path
    ) -> None:
        rig = await self.rig(rigs)
        items = [rig.submit([["wait", str(gate)], ["raise", "DoNotRetry"]]) for _ in range(3)]
        rig.engine.cancel(lambda item: item is not items[1])
        gate.touch()
        await rig.until_finished(3)
        assert {cancelled.item for cancelled in rig.cancellations} == {items[0], items[2]}
        assert [failed.item for failed in rig.failures] == [items[1]]
        assert rig.engine.capacity() == SLOTS

    async def test_a_timed_out_attempt_that_is_cancelled_is_given_back_and_not_failed(
        self, rigs: list[Rig], gate: Path
    ) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=1, timeout_ms=10))
        item = rig.submit([["stubborn", str(gate)], ["raise", "ValueError"]])
        await rig.until(lambda: rig.has_stuck)
        rig.engine.cancel(lambda _: True)
        gate.touch()
        await rig.until_finished(1)
        assert [cancelled.item for cancelled in rig.cancellations] == [item]

    async def test_withdrawing_gives_back_waiting_retries_at_once_and_leaves_what_runs(
        self, rigs: list[Rig], tmp_path: Path, gate: Path
    ) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=3, backoff_ms=60_000, timeout_ms=0))
        withdrawn, kept = rig.submit([["raise", "ValueError"]]), rig.submit([["raise", "ValueError"]])
        log = tmp_path / "log"
        running = rig.submit([["wait", str(gate)]], log=log)
        await rig.until(lambda: rig.engine.status().waiting_retries == 2 and log.exists())
        assert set(rig.engine.waiting()) == {withdrawn, kept}
        rig.engine.withdraw(lambda item: item is not kept)
        rig.look()
        assert [(cancelled.item, cancelled.attempt) for cancelled in rig.cancellations] == [(withdrawn, 2)]
        assert rig.engine.status().waiting_retries == 1
        assert list(rig.engine.waiting()) == [kept]
        gate.touch()
        await rig.until_finished(2)
        assert rig.successes == [running]

    async def test_after_a_withdrawal_nothing_begins_that_had_not(
        self, rigs: list[Rig], tmp_path: Path, gate: Path
    ) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=3, backoff_ms=60_000, timeout_ms=0), slots=16)
        log = tmp_path / "log"
        items = [rig.submit([["wait", str(gate)], ["raise", "ValueError"]], log=log) for _ in range(8)]
        items += [rig.submit([["wait", str(gate)]], log=log) for _ in range(8)]
        await rig.until(lambda: log.exists() and "+" in log.read_text())

        def begun() -> int:
            rig.engine.withdraw(lambda _: True)  # As the loop does at every turn of a drain.
            return log.read_text().count("+")

        await rig.until(lambda: rig.engine.running() == begun() == 16 - rig.finished)
        running = rig.engine.running()
        gate.touch()
        await rig.until(lambda: begun() > 0 and rig.finished == 16)
        assert begun() == running
        assert rig.failures == []
        assert set(rig.successes) | {cancelled.item for cancelled in rig.cancellations} == set(items)

    async def test_what_is_not_withdrawn_begins_all_the_same(self, rigs: list[Rig], tmp_path: Path, gate: Path) -> None:
        rig = await self.rig(rigs, slots=32)
        log = tmp_path / "log"
        items = [rig.submit([["wait", str(gate)]], log=log) for _ in range(32)]
        kept = set(items[::2])
        await rig.until(lambda: log.exists() and "+" in log.read_text())
        rig.engine.withdraw(lambda item: item not in kept)
        gate.touch()
        await rig.until_finished(32)
        assert kept <= set(rig.successes)
        assert rig.failures == []
        assert len(rig.successes) + len(rig.cancellations) == 32
        assert log.read_text().count("+") == len(rig.successes), log.read_text()

    # While the group may have given our partitions to others

    async def test_no_retry_begins_after_the_lease_and_none_is_lost(
        self, rigs: list[Rig], tmp_path: Path, gate: Path
    ) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=3, backoff_ms=0, jitter_ms=0, timeout_ms=0))
        log = tmp_path / "log"
        item = rig.submit([["wait", str(gate)], ["raise", "ValueError"]], [], log=log)
        await rig.until(lambda: log.exists() and "+" in log.read_text())
        rig.let_start(-math.inf)
        gate.touch()
        await rig.until(lambda: list(rig.engine.waiting()) == [item])
        rig.engine.sweep(asyncio.get_running_loop().time() + 60)
        assert rig.engine.running() == 0
        assert rig.engine.next_sweep_at() is None
        assert log.read_text().count("+") == 1
        rig.let_start(math.inf)
        await rig.until_finished(1)
        assert rig.successes == [item]
        assert log.read_text().count("+") == 2

    # Isolation

    async def test_every_attempt_gets_the_context_of_the_start_and_keeps_its_changes_to_itself(
        self, rigs: list[Rig], tmp_path: Path
    ) -> None:
        opened = tmp_path / "opened"
        opened.touch()
        SETTING.set("as at start")
        rig = await self.rig(rigs)
        SETTING.set("changed after the start")
        scripts: list[list[list[Step]]] = [
            [[["context"]]],
            [[["context"], ["wait", str(opened)]]],
            [[["context"], ["raise", "ValueError"]], [["context"]]],
        ]
        await rig.submit_all([rig.item(*scripts[number % 3]) for number in range(60)])
        await rig.until_finished(60)
        assert rig.failures == []
        assert SETTING.get() == "changed after the start"

    # What operators see

    async def test_the_longest_running_attempts_are_told_with_their_numbers_and_beginnings(
        self, rigs: list[Rig], gate: Path, tmp_path: Path
    ) -> None:
        log = tmp_path / "log"
        rig = await self.rig(rigs, RetryPolicy(max_attempts=2, backoff_ms=1, timeout_ms=0), slots=2)
        began_at = asyncio.get_running_loop().time()
        items = [rig.submit([["raise", "ValueError"]], [["wait", str(gate)]], log=log) for _ in range(2)]
        await rig.until(lambda: [each.attempt for each in rig.engine.longest_running(10)] == [2, 2])
        told = rig.engine.longest_running(10)
        now = asyncio.get_running_loop().time()
        assert {each.item for each in told} == set(items)
        times = [each.started_at for each in told]
        assert all(time is not None and began_at <= time <= now for time in times)
        assert rig.engine.longest_running(1) == told[:1]
        gate.touch()
        await rig.until_finished(2)
        assert rig.engine.longest_running(10) == []

    # The end

    async def test_stopping_gives_back_what_runs_and_what_waits(self, rigs: list[Rig], gate: Path) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=3, backoff_ms=60_000, timeout_ms=0))
        waiting = rig.submit([["raise", "ValueError"]])
        await rig.until(lambda: rig.engine.status().waiting_retries == 1)
        running = rig.submit([["wait", str(gate)], ["raise", "ValueError"]])
        asyncio.get_running_loop().call_later(0.02, gate.touch)
        await rig.engine.stop(PATIENCE_SECONDS)
        rig.look()
        assert {(cancelled.item, cancelled.attempt) for cancelled in rig.cancellations} == {(waiting, 2), (running, 1)}
        assert (rig.engine.running(), rig.engine.capacity(), rig.engine.status().waiting_retries) == (0, 0, 0)

    async def test_what_will_not_end_is_abandoned_at_the_deadline_and_then_ignored(
        self, rigs: list[Rig], tmp_path: Path, gate: Path
    ) -> None:
        rig = await self.rig(rigs)
        log = tmp_path / "log"
        item = rig.submit([["stubborn", str(gate)]], log=log)
        failing = rig.submit([["stubborn", str(gate)], ["raise", "ValueError"]], log=log)
        await rig.until(lambda: log.exists() and log.read_text().count("+") == 2)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await rig.engine.stop(0.01)
        rig.look()
        assert {cancelled.item for cancelled in rig.cancellations} == {item, failing}
        gate.touch()
        is_killed = self.overdue_work_is_killed or self.abandoned_work_is_killed
        await rig.until(lambda: log.read_text().count("-") == 2 or is_killed)
        await asyncio.sleep(0)
        rig.look()
        assert rig.finished == 2
        assert rig.engine.running() == 0

    async def test_stopping_right_after_a_submission_reports_it_and_leaves_no_task(
        self, rigs: list[Rig], gate: Path
    ) -> None:
        tasks = asyncio.all_tasks()
        rig = await self.rig(rigs)
        items = [rig.submit([["wait", str(gate)]]) for _ in range(SLOTS)]
        gate.touch()
        await rig.engine.stop(PATIENCE_SECONDS)
        rig.look()
        assert asyncio.all_tasks() == tasks
        assert {cancelled.item for cancelled in rig.cancellations} | set(rig.successes) == set(items)
        assert rig.finished == SLOTS

    async def test_a_second_stop_does_nothing(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs)
        await rig.engine.stop(1)
        await rig.engine.stop(1)
        assert rig.engine.capacity() == 0

    async def test_ten_thousand_items_and_five_restarts_leave_no_task_thread_process_or_file_behind(
        self, tmp_path: Path
    ) -> None:
        opened = tmp_path / "opened"
        opened.touch()
        tasks, threads, processes, files = asyncio.all_tasks(), threading.active_count(), children(), open_files()
        for _ in range(5):
            rig = await self.rig([], slots=64)
            scripts: list[list[list[Step]]] = [[[]], [[["raise", "ValueError"]], []], [[["wait", str(opened)]]]]
            await rig.submit_all([rig.item(*scripts[number % 50 % 3]) for number in range(2_000)])
            await rig.until_finished(2_000)
            await rig.engine.stop(PATIENCE_SECONDS)
            assert len(rig.successes) == 2_000
            assert asyncio.all_tasks() == tasks
            assert children() <= processes
        async with asyncio.timeout(PATIENCE_SECONDS):
            while threading.active_count() > threads:
                await asyncio.sleep(0.001)
        assert open_files() <= files

    async def test_an_engine_that_never_started_can_be_stopped(self) -> None:
        engine = self.make_engine(RetryPolicy(), SLOTS)
        await engine.stop(1)
        assert engine.capacity() == 0
