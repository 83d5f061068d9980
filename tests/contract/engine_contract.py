"""What every execution engine must do, whatever runs the worker: subclass, give ``make_engine``, and it is tested.

The tests speak to the engine through its public contract only and tell the worker what to do through the message
(``scripted_worker``), so they hold for tasks, threads and processes alike. None relies on a cancel to end a worker.
"""

from __future__ import annotations

import asyncio
import random
import threading
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.errors import TaskTimeoutError
from tests.contract.rig import PATIENCE_SECONDS, Rig
from tests.contract.scripted_worker import ERRORS, SETTING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.engine import ExecutionEngine
    from tests.contract.rig import Step

AT_ONCE = RetryPolicy(max_attempts=3, backoff_ms=0, jitter_ms=0, timeout_ms=0)
SLOTS = 4


class EngineContract(ABC):
    """The suite; ``make_engine`` gives a fresh engine that runs ``scripted_worker`` with that many slots."""

    @abstractmethod
    def make_engine(self, policy: RetryPolicy, slots: int) -> ExecutionEngine: ...

    @pytest_asyncio.fixture
    async def rigs(self) -> AsyncIterator[list[Rig]]:
        """All rigs that a test made; stopped at its end."""
        made: list[Rig] = []
        yield made
        for rig in made:
            await rig.engine.stop(1)

    @pytest.fixture
    def gate(self, tmp_path: Path) -> Path:
        """A file that workers wait for; `touch` opens it."""
        return tmp_path / "gate"

    async def rig(self, rigs: list[Rig], policy: RetryPolicy = AT_ONCE, slots: int = SLOTS) -> Rig:
        rig = Rig(self.make_engine(policy, slots))
        rigs.append(rig)
        return await rig.start()

    # One completion per item

    async def test_every_item_succeeds_once_and_is_reported_as_the_object_submitted(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs)
        items = [rig.item() for _ in range(100)]
        await rig.submit_all(items)
        await rig.until_finished(100)
        assert Counter(map(id, rig.successes)) == Counter(map(id, items))
        assert rig.engine.running() == 0
        assert rig.engine.capacity() == SLOTS

    async def test_whatever_happens_to_them_all_items_are_reported_once(self, rigs: list[Rig], tmp_path: Path) -> None:
        policy = RetryPolicy(max_attempts=2, backoff_ms=1, jitter_ms=2, timeout_ms=20)
        rig = await self.rig(rigs, policy, slots=16)
        opened = tmp_path / "opened"
        opened.touch()
        chance = random.Random(7)
        choices: list[list[list[Step]]] = [
            [[]],
            [[["wait", str(opened)]]],
            [[["raise", "ValueError"]], []],
            [[["raise", "SystemExit"]]],
            [[["raise", "DoNotRetry"]]],
            [[["retry_later", 1]], [["wait", str(opened)]]],
        ]
        items = [rig.item(*chance.choice(choices)) for _ in range(300)]
        await rig.submit_all(items)
        await rig.until_finished(300)
        reported = [*rig.successes, *(failed.item for failed in rig.failures)]
        assert Counter(map(id, reported)) == Counter(map(id, items))
        assert (rig.engine.running(), rig.engine.capacity(), rig.engine.next_sweep_at()) == (0, 16, None)

    async def test_the_channel_wakes_the_loop_once_until_it_is_drained(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs)
        for _ in range(SLOTS):
            rig.submit()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(rig.channel.successes) < SLOTS:
                await asyncio.sleep(0)
        assert rig.wakes == 1
        rig.look()
        rig.submit()
        await rig.until_finished(SLOTS + 1)
        assert rig.wakes == 2

    async def test_keys_without_a_value_and_values_without_a_key_arrive_as_they_are(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs)
        tombstone = rig.item(key=b"gone")
        tombstone.message._value = None  # type: ignore[attr-defined]  # noqa: SLF001 -- a plain message of our own
        rig.engine.submit(tombstone)
        await rig.until_finished(1)
        assert rig.successes == [tombstone]

    # Retries

    async def test_a_failed_item_runs_again_with_the_next_attempt_number(self, rigs: list[Rig], tmp_path: Path) -> None:
        rig = await self.rig(rigs)
        log = tmp_path / "log"
        item = rig.submit([["raise", "ValueError"]], [["raise", "ValueError"]], [], log=log)
        await rig.until_finished(1)
        assert rig.successes == [item]
        assert [line.split("/")[1] for line in log.read_text().splitlines() if line[0] == "+"] == ["1", "2", "3"]
        assert rig.engine.status().retries_total == 2

    async def test_after_the_last_attempt_the_error_and_its_number_are_told(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs)
        item = rig.submit([["raise", "ValueError"]])
        await rig.until_finished(1)
        [failed] = rig.failures
        assert failed.item is item
        assert failed.attempt == 3
        assert isinstance(failed.error, ValueError)
        assert str(failed.error) == "attempt 3"

    async def test_an_item_that_comes_with_attempts_behind_it_goes_on_counting(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs)
        rig.engine.submit(rig.item([["raise", "ValueError"]], attempt=3))
        await rig.until_finished(1)
        assert [failed.attempt for failed in rig.failures] == [3]
        assert str(rig.failures[0].error) == "attempt 3"

    @pytest.mark.parametrize("name", sorted(ERRORS.keys() - {"DoNotRetry"}))
    async def test_whatever_a_worker_raises_is_a_failed_attempt_and_nothing_more(
        self, rigs: list[Rig], name: str
    ) -> None:
        rig = await self.rig(rigs)
        rig.submit([["raise", name]])
        healthy = rig.submit()
        await rig.until_finished(2)
        assert rig.successes == [healthy]
        [failed] = rig.failures
        assert failed.attempt == 3
        error = failed.error if isinstance(failed.error, ERRORS[name]) else failed.error.__cause__
        assert isinstance(error, ERRORS[name])

    async def test_do_not_retry_ends_an_item_after_one_attempt(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs)
        rig.submit([["raise", "DoNotRetry"]])
        await rig.until_finished(1)
        assert [failed.attempt for failed in rig.failures] == [1]

    async def test_retry_later_waits_as_long_as_it_says(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs)
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        item = rig.submit([["retry_later", 120]], [])
        await rig.until(lambda: rig.engine.status().waiting_retries == 1)
        sweep_at = rig.engine.next_sweep_at()
        assert sweep_at is not None
        assert sweep_at >= began_at + 0.12
        await rig.until_finished(1)
        assert loop.time() >= began_at + 0.12
        assert rig.successes == [item]

    async def test_a_waiting_retry_holds_no_slot(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=2, backoff_ms=60_000), slots=1)
        waiting = [rig.item([["raise", "ValueError"]]) for _ in range(5)]
        await rig.submit_all(waiting)
        await rig.until(lambda: rig.engine.status().waiting_retries == 5)
        assert (rig.engine.capacity(), rig.engine.running()) == (1, 0)
        healthy = rig.submit()
        await rig.until_finished(1)
        assert rig.successes == [healthy]

    async def test_a_due_retry_takes_the_next_free_slot_before_new_work(self, rigs: list[Rig], gate: Path) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=2, backoff_ms=1, jitter_ms=0, timeout_ms=0), slots=1)
        retried = rig.submit([["raise", "ValueError"]], [])
        await rig.until(lambda: rig.engine.status().waiting_retries == 1)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (rig.engine.next_sweep_at() or loop.time()) > loop.time():
                await asyncio.sleep(0)
        blocking = rig.submit([["wait", str(gate)]])
        rig.engine.sweep(loop.time())
        gate.touch()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not rig.channel.has_items:
                await asyncio.sleep(0)
        assert rig.engine.capacity() == 0
        await rig.until_finished(2)
        assert rig.successes == [blocking, retried]
        assert rig.engine.capacity() == 1

    async def test_messages_that_fail_for_ever_do_not_stop_the_others(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=1_000_000, backoff_ms=0, jitter_ms=0, timeout_ms=0))
        poison = [rig.item([["raise", "ValueError"]]) for _ in range(50)]
        await rig.submit_all(poison)
        healthy = [rig.item() for _ in range(50)]
        await rig.submit_all(healthy)
        await rig.until(lambda: len(rig.successes) == 50)
        assert rig.failures == []
        rig.engine.withdraw(lambda _: True)
        rig.engine.cancel(lambda _: True)
        await rig.until(lambda: len(rig.cancellations) == 50)

    # Slots

    async def test_no_more_attempts_run_than_there_are_slots(self, rigs: list[Rig], tmp_path: Path) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=3, backoff_ms=1, jitter_ms=1, timeout_ms=0))
        log, opened = tmp_path / "log", tmp_path / "opened"
        opened.touch()
        await rig.submit_all(
            [rig.item([["wait", str(opened)], ["raise", "ValueError"]], [], log=log) for _ in range(60)]
        )
        await rig.until_finished(60)
        begun = ended = most = 0
        for line in log.read_text().splitlines():
            begun, ended = begun + (line[0] == "+"), ended + (line[0] == "-")
            most = max(most, begun - ended)
        assert begun == ended == 120
        assert 0 < most <= SLOTS
        assert rig.most_running <= SLOTS

    async def test_capacity_is_what_is_left_of_the_slots(self, rigs: list[Rig], gate: Path) -> None:
        rig = await self.rig(rigs)
        items = []
        for taken in range(SLOTS):
            assert rig.engine.capacity() == SLOTS - taken
            items.append(rig.submit([["wait", str(gate)]]))
        assert rig.engine.capacity() == 0
        assert rig.engine.running() == SLOTS
        assert rig.engine.running(lambda item: item is items[0]) == 1
        gate.touch()
        await rig.until_finished(SLOTS)
        assert rig.engine.capacity() == SLOTS

    async def test_a_key_submitted_item_by_item_never_overlaps_even_when_it_fails_and_times_out(
        self, rigs: list[Rig], tmp_path: Path
    ) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=3, backoff_ms=1, jitter_ms=3, timeout_ms=5), slots=8)
        log, opened = tmp_path / "log", tmp_path / "opened"
        opened.touch()
        slow: Step = ["stubborn", str(tmp_path / "late")]
        scripts: list[list[list[Step]]] = [
            [[]],
            [[["raise", "ValueError"]], []],
            [[["wait", str(opened)]]],
            [[slow], []],
        ]
        chance = random.Random(11)
        keys = {str(number).encode(): iter(range(12)) for number in range(8)}
        open_items: dict[WorkItem, bytes] = {}

        def submit_next(key: bytes) -> None:
            if next(keys[key], None) is not None:
                item = rig.item(*chance.choice(scripts), key=key, log=log)
                open_items[item] = key
                rig.engine.submit(item)

        seen, late = [0], tmp_path / "late"
        for key in keys:
            submit_next(key)
        while open_items:
            await rig.until(lambda: rig.finished > seen[-1] or (rig.has_stuck and not late.exists()))
            if rig.has_stuck:
                late.touch()
            done = [*rig.successes, *(failed.item for failed in rig.failures)]
            for item in [item for item in done if item in open_items]:
                submit_next(open_items.pop(item))
            seen.append(rig.finished)
        running: dict[str, str] = {}
        order = defaultdict(list)
        for line in log.read_text().splitlines():
            key_name, attempt = line[1:].split(":")
            if line[0] == "+":
                assert key_name not in running, f"{attempt} began while {running[key_name]} ran"
                running[key_name] = attempt
                order[key_name].append(int(attempt.split("/")[0]))
            else:
                assert running.pop(key_name) == attempt
        assert all(offsets == sorted(offsets) for offsets in order.values())
        assert len(order) == 8

    # Timeouts

    async def test_an_attempt_that_runs_too_long_fails_when_it_has_ended(self, rigs: list[Rig], gate: Path) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=1, timeout_ms=10))
        item = rig.submit([["stubborn", str(gate)]])
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

    async def test_the_next_attempt_begins_only_after_the_timed_out_one_ended(
        self, rigs: list[Rig], tmp_path: Path, gate: Path
    ) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=2, backoff_ms=0, jitter_ms=0, timeout_ms=10))
        log = tmp_path / "log"
        item = rig.submit([["stubborn", str(gate)]], [], log=log)
        await rig.until(lambda: rig.has_stuck)
        gate.touch()
        await rig.until_finished(1)
        assert rig.successes == [item]
        assert [line[0] + line[-1] for line in log.read_text().splitlines()] == ["+1", "-1", "+2", "-2"]

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
        stubborn = rig.submit([["stubborn", str(gate)]], log=log)
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
        items = [rig.submit([["wait", str(gate)]]) for _ in range(3)]
        rig.engine.cancel(lambda item: item is not items[1])
        gate.touch()
        await rig.until_finished(3)
        assert [cancelled.item for cancelled in rig.cancellations] == [items[0], items[2]]
        assert rig.successes == [items[1]]
        assert rig.engine.capacity() == SLOTS

    async def test_a_timed_out_attempt_that_is_cancelled_is_given_back_and_not_failed(
        self, rigs: list[Rig], gate: Path
    ) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=1, timeout_ms=10))
        item = rig.submit([["stubborn", str(gate)]])
        await rig.until(lambda: rig.has_stuck)
        rig.engine.cancel(lambda _: True)
        gate.touch()
        await rig.until_finished(1)
        assert [cancelled.item for cancelled in rig.cancellations] == [item]

    async def test_withdrawing_gives_back_waiting_retries_at_once_and_leaves_the_rest(
        self, rigs: list[Rig], gate: Path
    ) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=3, backoff_ms=60_000, timeout_ms=0))
        withdrawn, kept = rig.submit([["raise", "ValueError"]]), rig.submit([["raise", "ValueError"]])
        running = rig.submit([["wait", str(gate)]])
        await rig.until(lambda: rig.engine.status().waiting_retries == 2)
        rig.engine.withdraw(lambda item: item is not kept)
        rig.look()
        assert [(cancelled.item, cancelled.attempt) for cancelled in rig.cancellations] == [(withdrawn, 2)]
        assert rig.engine.status().waiting_retries == 1
        gate.touch()
        await rig.until_finished(2)
        assert rig.successes == [running]

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

    # The end

    async def test_stopping_gives_back_what_runs_and_what_waits(self, rigs: list[Rig], gate: Path) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=3, backoff_ms=60_000, timeout_ms=0))
        waiting = rig.submit([["raise", "ValueError"]])
        await rig.until(lambda: rig.engine.status().waiting_retries == 1)
        running = rig.submit([["wait", str(gate)]])
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
        await rig.until(lambda: log.read_text().count("-") == 2 or self.abandoned_work_is_killed)
        await asyncio.sleep(0)
        rig.look()
        assert rig.finished == 2
        assert rig.engine.running() == 0

    abandoned_work_is_killed = False
    """Whether what is abandoned dies, as processes do, and so never gets to its end."""

    async def test_a_second_stop_does_nothing(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs)
        await rig.engine.stop(1)
        await rig.engine.stop(1)
        assert rig.engine.capacity() == 0

    async def test_ten_thousand_items_and_twenty_restarts_leave_no_task_and_no_thread_behind(
        self, rigs: list[Rig], tmp_path: Path
    ) -> None:
        opened = tmp_path / "opened"
        opened.touch()
        tasks, threads = asyncio.all_tasks(), threading.active_count()
        for _ in range(20):
            rig = await self.rig([], slots=64)
            scripts: list[list[list[Step]]] = [[[]], [[["raise", "ValueError"]], []], [[["wait", str(opened)]]]]
            await rig.submit_all([rig.item(*scripts[number % 50 % 3]) for number in range(500)])
            await rig.until_finished(500)
            await rig.engine.stop(PATIENCE_SECONDS)
            assert len(rig.successes) == 500
            assert asyncio.all_tasks() == tasks
        async with asyncio.timeout(PATIENCE_SECONDS):
            while threading.active_count() > threads:
                await asyncio.sleep(0.001)
