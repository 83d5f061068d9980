"""The contract tests of every execution engine: subclass this, give ``make_engine``, and the engine is tested.

The tests speak to the engine through its public contract only and tell the worker what to do through the message
(``worker``), so they hold for tasks, threads and processes alike. None relies on a cancel to end a worker.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.testing.engine_contract.lifecycle import LifecycleContract
from pyrallel_consumer.testing.engine_contract.rig import PATIENCE_SECONDS
from pyrallel_consumer.testing.engine_contract.rigs import SLOTS, EngineRigs
from pyrallel_consumer.testing.engine_contract.touchy_errors import TOUCHY_ERRORS
from pyrallel_consumer.testing.engine_contract.worker import ERRORS

if TYPE_CHECKING:
    from pathlib import Path

    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.testing.engine_contract.rig import Rig, Step


class WorkContract(EngineRigs):
    """Completions, retries, slots."""

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
        assert rig.wakes > 1  # An engine may also wake the loop for a free slot.

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

    async def test_whatever_a_worker_raises_is_a_failed_attempt_and_nothing_more(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs)
        names = sorted(ERRORS.keys() - {"DoNotRetry", "KeyboardInterrupt"})
        raising = {name: rig.item([["raise", name]]) for name in names}
        healthy = await self._fail_between_healthy_ones(rig, raising)
        assert set(rig.successes) == healthy
        failures = {failed.item: failed for failed in rig.failures}
        assert {name for name, item in raising.items() if failures[item].attempt != 3} == set()
        for name, item in raising.items():
            error = failures[item].error
            assert isinstance(error, ERRORS[name]) or isinstance(error.__cause__, ERRORS[name]), name

    async def test_an_exception_that_resists_being_touched_is_a_failed_attempt_and_nothing_more(
        self, rigs: list[Rig]
    ) -> None:
        rig = await self.rig(rigs)
        raising = {name: rig.item([["raise", name]]) for name in sorted(TOUCHY_ERRORS)}
        healthy = await self._fail_between_healthy_ones(rig, raising)
        assert set(rig.successes) == healthy
        attempts = {failed.item: failed.attempt for failed in rig.failures}
        assert {name: attempts.get(item) for name, item in raising.items()} == dict.fromkeys(raising, 3)
        assert rig.engine.capacity() == SLOTS

    async def _fail_between_healthy_ones(self, rig: Rig, raising: dict[str, WorkItem]) -> set[WorkItem]:
        """Returns the healthy items, one behind each of ``raising``, when all are finished."""
        healthy = [rig.item() for _ in raising]
        await rig.submit_all([item for pair in zip(raising.values(), healthy, strict=True) for item in pair])
        await rig.until_finished(2 * len(raising))
        return set(healthy)

    async def test_keyboard_interrupt_is_no_attempt_and_interrupts(self, rigs: list[Rig]) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=1))
        item = rig.submit([["raise", "KeyboardInterrupt"]])
        await rig.until_finished(1)
        assert [(cancelled.item, cancelled.attempt) for cancelled in rig.cancellations] == [(item, 1)]
        assert rig.channel.is_interrupted
        assert (rig.engine.running(), rig.engine.capacity()) == (0, SLOTS)

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

    async def test_retry_later_without_a_charge_leaves_the_attempt_its_number(
        self, rigs: list[Rig], tmp_path: Path
    ) -> None:
        rig = await self.rig(rigs, RetryPolicy(max_attempts=1))
        log = tmp_path / "log"
        rig.submit([["postponed", 3]], log=log)
        await rig.until_finished(1)
        assert [failed.attempt for failed in rig.failures] == [1]
        assert [line.split("/")[1] for line in log.read_text().splitlines() if line[0] == "+"] == ["1"] * 4
        assert rig.engine.status().retries_total == 3

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
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while rig.engine.status().waiting_retries == 0:
                await asyncio.sleep(0)  # No turn of the rig: on a busy machine it would come late, and start the retry.
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
                before = running.get(key_name)
                assert before is None or self.overdue_work_is_killed, f"{attempt} began while {before} ran"
                running[key_name] = attempt
                order[key_name].append(int(attempt.split("/")[0]))
            else:
                assert running.pop(key_name) == attempt
        assert all(offsets == sorted(offsets) for offsets in order.values())
        assert len(order) == 8


class EngineContract(WorkContract, LifecycleContract):
    """The whole suite; ``make_engine`` gives a fresh engine that runs the suite's worker with that many slots."""
