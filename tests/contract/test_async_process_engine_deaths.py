"""Processes of async workers that are killed, crash or hang: every message that ran there is charged once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.errors import ProcessDiedError, TaskTimeoutError
from pyrallel_consumer.execution_plane.processes.parent.async_process_engine import AsyncProcessEngine
from pyrallel_consumer.execution_plane.processes.parent.members import hung_loops
from pyrallel_consumer.testing.engine_contract.rig import Rig
from pyrallel_consumer.testing.messages import work_item
from tests.contract.dying_worker import async_harmful_worker, initialize

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pyrallel_consumer.dto import WorkItem

TWICE = RetryPolicy(max_attempts=2, backoff_ms=0, jitter_ms=0, timeout_ms=0)
ONCE = RetryPolicy(max_attempts=1, backoff_ms=0, jitter_ms=0, timeout_ms=0)


class Bench(Rig):
    """A rig whose items say which harm their worker does."""

    def __init__(self, log: Path, policy: RetryPolicy, processes: int, **settings: Any) -> None:
        super().__init__(AsyncProcessEngine(async_harmful_worker, policy, 256, processes, **settings))
        self._log = log
        self._next_offset = 0

    def send(self, value: str = "") -> WorkItem:
        self._next_offset += 1
        headers = [("log", str(self._log).encode())]
        item = work_item(value.encode(), offset=self._next_offset, headers=headers)
        self.engine.submit(item)
        return item

    @property
    def runs(self) -> list[tuple[int, int, int]]:
        """(pid, offset, attempt) of all that began, in order."""
        if not self._log.exists():
            return []
        lines = self._log.read_text().splitlines()
        return [(int(pid), int(offset), int(attempt)) for pid, offset, attempt in map(str.split, lines)]

    def attempts_of(self, item: WorkItem) -> list[int]:
        return [attempt for _, offset, attempt in self.runs if offset == item.offset]


@pytest_asyncio.fixture
async def benches() -> AsyncIterator[list[Bench]]:
    made: list[Bench] = []
    yield made
    for bench in made:
        await bench.engine.stop(1)


async def started(
    benches: list[Bench], folder: Path, policy: RetryPolicy = TWICE, processes: int = 1, **settings: Any
) -> Bench:
    bench = Bench(folder / "log", policy, processes, **settings)
    benches.append(bench)
    await bench.start()
    return bench


# Death


async def test_a_death_costs_what_ran_one_attempt_and_what_had_returned_none(
    benches: list[Bench], tmp_path: Path
) -> None:
    bench = await started(benches, tmp_path, RetryPolicy(max_attempts=5, backoff_ms=0, jitter_ms=0, timeout_ms=0))
    done = [bench.send() for _ in range(20)]
    await bench.until_finished(20)
    gate = tmp_path / "gate"
    running = [bench.send(f"idle-until {gate}") for _ in range(5)]
    await bench.until(lambda: len(bench.runs) == 25)
    os.kill(bench.runs[0][0], signal.SIGKILL)
    gate.touch()
    await bench.until_finished(25)
    assert {*bench.successes} == {*done, *running}
    assert all(bench.attempts_of(item) == [1] for item in done)
    assert all(bench.attempts_of(item) == [1, 2] for item in running)


async def test_what_returned_in_the_very_moment_of_a_death_is_done(benches: list[Bench], tmp_path: Path) -> None:
    bench = await started(benches, tmp_path)
    returned = [bench.send() for _ in range(30)]
    poison = bench.send("kill x")
    await bench.until_finished(31)
    assert {*bench.successes} == {*returned}
    assert [failed.item for failed in bench.failures] == [poison]
    assert all(bench.attempts_of(item) == [1] for item in returned)


@pytest.mark.parametrize("policy", [ONCE, TWICE], ids=["once", "twice"])
async def test_only_who_kills_its_process_alone_is_given_up(
    benches: list[Bench], tmp_path: Path, policy: RetryPolicy
) -> None:
    bench = await started(benches, tmp_path, policy)
    innocent = [bench.send("idle 0.05") for _ in range(10)]
    poison = bench.send("kill x")
    innocent += [bench.send("idle 0.05") for _ in range(10)]
    await bench.until_finished(21)
    assert {*bench.successes} == {*innocent}
    [failed] = bench.failures
    assert (failed.item, failed.attempt) == (poison, policy.max_attempts)
    assert isinstance(failed.error, ProcessDiedError)
    assert "SIGKILL" in str(failed.error)
    assert "others" not in str(failed.error)


async def test_others_go_on_while_a_suspect_runs_alone(benches: list[Bench], tmp_path: Path) -> None:
    bench = await started(benches, tmp_path, ONCE)
    gate = tmp_path / "gate"
    suspects = [bench.send(f"idle-until {gate}") for _ in range(3)]
    await bench.until(lambda: len(bench.runs) == 3)
    os.kill(bench.runs[0][0], signal.SIGKILL)
    await bench.until(lambda: len(bench.runs) == 4)
    others = [bench.send() for _ in range(50)]
    await bench.until_finished(50)
    assert {*bench.successes} == {*others}
    assert sum(len(bench.attempts_of(suspect)) for suspect in suspects) == 4, "one suspect at a time"
    gate.touch()
    await bench.until_finished(53)
    assert {*bench.successes} == {*others, *suspects}
    first, alone = bench.runs[0][0], {pid for pid, offset, _ in bench.runs[4:] if offset <= 3} | {bench.runs[3][0]}
    assert len(alone) == 1
    assert alone.isdisjoint({first} | {pid for pid, offset, _ in bench.runs if offset > 3})


async def test_suspects_that_wait_for_their_turn_can_be_withdrawn(benches: list[Bench], tmp_path: Path) -> None:
    bench = await started(benches, tmp_path, ONCE)
    gate = tmp_path / "gate"
    suspects = [bench.send(f"idle-until {gate}") for _ in range(4)]
    await bench.until(lambda: len(bench.runs) == 4)
    os.kill(bench.runs[0][0], signal.SIGKILL)
    await bench.until(lambda: len(bench.runs) == 5)
    bench.engine.withdraw(lambda _: True)
    await bench.until_finished(3)
    assert len(bench.cancellations) == 3
    gate.touch()
    await bench.until_finished(4)
    assert len(bench.successes) == 1
    assert {*bench.successes, *(each.item for each in bench.cancellations)} == {*suspects}


# Time


async def test_a_timeout_ends_its_message_and_not_its_process(benches: list[Bench], tmp_path: Path) -> None:
    bench = await started(benches, tmp_path, RetryPolicy(max_attempts=1, timeout_ms=200))
    slow = bench.send("idle 20")
    await bench.until_finished(1)
    [failed] = bench.failures
    assert failed.item is slow
    assert isinstance(failed.error, TaskTimeoutError)
    later = bench.send()
    await bench.until_finished(2)
    assert bench.successes == [later]
    assert len({pid for pid, _, _ in bench.runs}) == 1
    assert bench.engine.status().timeouts_total == 1


async def test_a_message_that_will_not_end_does_not_cost_its_process(
    benches: list[Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hung_loops, "HUNG_SECONDS", 0.5)
    bench = await started(benches, tmp_path, RetryPolicy(max_attempts=1, timeout_ms=300))
    gate = tmp_path / "gate"
    stubborn = bench.send(f"stubborn {gate}")
    began_at = asyncio.get_running_loop().time()
    await bench.until(lambda: bench.has_stuck and asyncio.get_running_loop().time() > began_at + 2.5)
    quick = bench.send()
    await bench.until_finished(1)
    assert bench.successes == [quick]
    gate.touch()
    await bench.until_finished(2)
    assert {*bench.successes} == {quick, stubborn}
    assert len({pid for pid, _, _ in bench.runs}) == 1


async def test_a_loop_that_hangs_costs_its_process_and_only_who_hangs_alone_is_given_up(
    benches: list[Bench], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = await started(benches, tmp_path, RetryPolicy(max_attempts=1, backoff_ms=0, timeout_ms=2000))
    neighbour = bench.send("idle 0.5")
    hanging = bench.send("sleep 60")
    await bench.until_finished(2)
    assert bench.successes == [neighbour]
    [failed] = bench.failures
    assert failed.item is hanging
    assert "its event loop had been kept busy" in str(failed.error)
    assert "its event loop had been kept busy" in caplog.text


async def test_what_was_sent_to_a_process_that_computes_goes_to_another(benches: list[Bench], tmp_path: Path) -> None:
    bench = await started(benches, tmp_path, processes=2)
    await bench.until(lambda: all(each.is_ready for each in bench.engine._members))  # type: ignore[attr-defined]  # noqa: SLF001 -- nothing else tells
    gate = tmp_path / "gate"
    slow = bench.send(f"wait {gate}")
    await bench.until(lambda: len(bench.runs) == 1)
    quick = [bench.send() for _ in range(100)]
    await bench.until_finished(100)
    assert {*bench.successes} == {*quick}
    gate.touch()
    await bench.until_finished(101)
    assert Counter(offset for _, offset, _ in bench.runs) == Counter(range(1, 102))
    assert slow in bench.successes


# Start, replacement, logs


async def test_the_initializer_runs_in_each_process_and_its_context_is_every_attempt_s(
    benches: list[Bench], tmp_path: Path
) -> None:
    bench = await started(benches, tmp_path, processes=2, initializer=initialize)
    items = [bench.send("initialized? x") for _ in range(20)]
    await bench.until_finished(20)
    assert {*bench.successes} == {*items}


async def test_processes_are_replaced_after_about_so_many_items(benches: list[Bench], tmp_path: Path) -> None:
    bench = await started(benches, tmp_path, processes=2, max_tasks_per_child=50)
    items = [
        work_item(offset=1000 + number, headers=[("log", str(tmp_path / "log").encode())]) for number in range(300)
    ]
    for at in range(0, 300, 25):
        await bench.submit_all(items[at : at + 25])
        await bench.until_finished(at + 25)
    assert {*bench.successes} == {*items}
    assert len({pid for pid, _, _ in bench.runs}) >= 4
    assert bench.engine.status().retries_total == 0


async def test_what_workers_log_is_handled_where_the_program_s_logging_is(
    benches: list[Bench], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "tests.dying_worker")
    bench = await started(benches, tmp_path)
    bench.send("log hello")
    await bench.until_finished(1)
    pid = bench.runs[0][0]
    told = [record for record in caplog.records if record.name == "tests.dying_worker"]
    assert [(record.getMessage(), record.process) for record in told] == [(f"hello from {pid}", pid)]


async def test_signals_that_stop_the_program_do_not_stop_its_workers(benches: list[Bench], tmp_path: Path) -> None:
    bench = await started(benches, tmp_path)
    items = [bench.send("signals x"), bench.send()]
    await bench.until_finished(2)
    assert {*bench.successes} == {*items}
    assert len({pid for pid, _, _ in bench.runs}) == 1


async def test_what_runs_when_the_engine_stops_is_cancelled_where_it_runs(benches: list[Bench], tmp_path: Path) -> None:
    bench = await started(benches, tmp_path)
    item = bench.send("idle 60")
    await bench.until(lambda: len(bench.runs) == 1)
    async with asyncio.timeout(20):
        await bench.engine.stop(15)
    bench.look()
    assert [each.item for each in bench.cancellations] == [item]
