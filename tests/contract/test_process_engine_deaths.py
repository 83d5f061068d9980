"""Worker processes that are killed, crash, hang or cannot report: one item is charged, and nothing hangs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.errors import ConfigurationError, ExecutionError, ProcessDiedError, TaskTimeoutError
from pyrallel_consumer.execution_plane.engine import CompletionChannel
from pyrallel_consumer.execution_plane.processes.parent.process_engine import ProcessEngine
from pyrallel_consumer.testing.engine_contract.rig import Rig
from pyrallel_consumer.testing.messages import PlainMessage, work_item
from tests.contract.dying_worker import fail_to_initialize, harmful_worker, initialize

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pyrallel_consumer.dto import WorkItem

TWICE = RetryPolicy(max_attempts=2, backoff_ms=0, jitter_ms=0, timeout_ms=0)


class Bench(Rig):
    """A rig whose items say which harm their worker does."""

    def __init__(self, log: Path, policy: RetryPolicy, processes: int, **settings: Any) -> None:
        super().__init__(ProcessEngine(harmful_worker, policy, 256, processes, **settings))
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


# A worker's own children


async def test_children_that_a_worker_forks_can_be_terminated(benches: list[Bench], tmp_path: Path) -> None:
    bench = await started(benches, tmp_path, RetryPolicy(max_attempts=1, timeout_ms=0), processes=2)
    items = [bench.send("end-children") for _ in range(4)]
    await bench.until_finished(4)
    assert bench.failures == []
    assert set(bench.successes) == set(items)


# Death


@pytest.mark.parametrize("harm", ["kill", "exit", "segfault"])
async def test_a_death_costs_the_item_that_ran_one_attempt_and_the_others_none(
    benches: list[Bench], tmp_path: Path, harm: str
) -> None:
    bench = await started(benches, tmp_path)
    before = [bench.send() for _ in range(20)]
    victim = bench.send(f"{harm} x once")
    after = [bench.send() for _ in range(20)]
    await bench.until_finished(41)
    assert {*bench.successes} == {*before, victim, *after}
    assert Counter((offset, attempt) for _, offset, attempt in bench.runs) == Counter(
        [(item.offset, 1) for item in (*before, victim, *after)] + [(victim.offset, 2)]
    )
    assert bench.engine.status().retries_total == 1
    assert len({pid for pid, _, _ in bench.runs}) == 2


@pytest.mark.parametrize(("harm", "how"), [("kill", "SIGKILL"), ("exit", "exit code 3"), ("segfault", "SIGSEGV")])
async def test_an_item_that_kills_every_process_is_exhausted_and_says_how_they_died(
    benches: list[Bench], tmp_path: Path, harm: str, how: str
) -> None:
    bench = await started(benches, tmp_path)
    bench.send(f"{harm} x")
    healthy = [bench.send() for _ in range(10)]
    await bench.until_finished(11)
    assert {*bench.successes} == {*healthy}
    [failed] = bench.failures
    assert failed.attempt == 2
    assert isinstance(failed.error, ProcessDiedError)
    assert how in str(failed.error)


async def test_a_process_killed_while_it_has_nothing_to_do_is_replaced(benches: list[Bench], tmp_path: Path) -> None:
    bench = await started(benches, tmp_path)
    bench.send()
    await bench.until_finished(1)
    os.kill(bench.runs[0][0], signal.SIGKILL)
    bench.send()
    await bench.until_finished(2)
    assert len(bench.successes) == 2
    assert bench.engine.status().retries_total == 0


async def test_a_process_that_dies_is_noticed_even_when_its_children_hold_its_socket(
    benches: list[Bench], tmp_path: Path
) -> None:
    bench = await started(benches, tmp_path)
    item = bench.send("leave-a-child x once")
    other = bench.send()
    await bench.until_finished(2)
    assert {*bench.successes} == {item, other}


async def test_processes_that_die_one_after_another_and_get_nothing_done_break_the_engine(
    benches: list[Bench], tmp_path: Path
) -> None:
    bench = await started(benches, tmp_path, RetryPolicy(max_attempts=1, timeout_ms=0), processes=2)
    for _ in range(30):
        bench.send("exit x")
    with pytest.raises(ExecutionError, match="die one after another"):
        await bench.until_finished(30)


# Time


@pytest.mark.parametrize("harm", ["c-code 20", "sleep 20"])
async def test_a_timeout_kills_the_process_even_in_c_code_and_charges_nobody_else(
    benches: list[Bench], tmp_path: Path, harm: str
) -> None:
    policy = RetryPolicy(max_attempts=1, timeout_ms=300)
    bench = await started(benches, tmp_path, policy)
    before = [bench.send() for _ in range(5)]
    bench.send(harm)
    after = [bench.send() for _ in range(5)]
    async with asyncio.timeout(10):
        await bench.until_finished(11)
    assert {*bench.successes} == {*before, *after}
    [failed] = bench.failures
    assert isinstance(failed.error, TaskTimeoutError)
    assert bench.engine.status().timeouts_total == 1


async def test_the_time_that_an_item_waits_behind_another_is_not_its_own(benches: list[Bench], tmp_path: Path) -> None:
    bench = await started(benches, tmp_path, RetryPolicy(max_attempts=1, timeout_ms=400))
    items = [bench.send("sleep 0.15") for _ in range(6)]
    await bench.until_finished(6)
    assert {*bench.successes} == {*items}


async def test_a_slow_item_holds_back_neither_what_ended_before_it_nor_what_was_sent_behind_it(
    benches: list[Bench], tmp_path: Path
) -> None:
    bench = await started(benches, tmp_path, processes=2)
    quick = [bench.send() for _ in range(200)]
    await bench.until_finished(200)
    gate = tmp_path / "gate"
    slow = bench.send(f"wait {gate}")
    quick += [bench.send() for _ in range(200)]
    await bench.until_finished(400)
    assert {*bench.successes} == {*quick}
    assert bench.engine.running(lambda item: item is slow) == 1
    gate.touch()
    await bench.until_finished(401)
    assert Counter(offset for _, offset, _ in bench.runs) == Counter(range(1, 402))


async def test_a_cancelled_item_that_runs_is_killed_and_nobody_else_is_charged_or_runs_twice(
    benches: list[Bench], tmp_path: Path
) -> None:
    bench = await started(benches, tmp_path)
    cancelled = bench.send("sleep 20")
    await bench.until(lambda: len(bench.runs) == 1)
    others = [bench.send() for _ in range(20)]
    bench.engine.cancel(lambda item: item is cancelled)
    await bench.until_finished(21)
    assert {*bench.successes} == {*others}
    assert [(given_back.item, given_back.attempt) for given_back in bench.cancellations] == [(cancelled, 1)]
    assert Counter(offset for _, offset, _ in bench.runs) == Counter(range(1, 22))


# What cannot be sent


@pytest.mark.parametrize(
    ("harm", "words"), [("unpicklable", "UnpicklableError: odd"), ("unrestorable", "UnrestorableError: quite odd")]
)
async def test_an_exception_that_cannot_be_sent_is_told_in_words(
    benches: list[Bench], tmp_path: Path, harm: str, words: str
) -> None:
    bench = await started(benches, tmp_path)
    bench.send(harm)
    await bench.until_finished(1)
    [failed] = bench.failures
    assert isinstance(failed.error, ExecutionError)
    assert words in str(failed.error)
    assert "harmful_worker" in failed.error.__notes__[0]


async def test_a_message_that_cannot_be_sent_fails_alone(benches: list[Bench], tmp_path: Path) -> None:
    bench = await started(benches, tmp_path)
    odd = work_item()
    message: Any = PlainMessage(value=threading.Lock())  # type: ignore[arg-type]
    odd._message = message  # noqa: SLF001 -- an item of a third party's message
    message.__class__ = OddMessage
    good = [bench.send() for _ in range(3)]
    bench.engine.submit(odd)
    good += [bench.send() for _ in range(3)]
    await bench.until_finished(7)
    assert {*bench.successes} == {*good}
    [failed] = bench.failures
    assert failed.item is odd
    assert "cannot be sent to a worker process" in str(failed.error)


class OddMessage(PlainMessage):
    """An item whose value has no length and cannot be pickled."""

    __slots__ = ()

    def __len__(self) -> int:
        return 0


async def test_a_worker_that_cannot_be_sent_is_refused_at_the_start() -> None:
    engine = ProcessEngine(lambda _: None, TWICE, 1, 1)
    with pytest.raises(ConfigurationError, match="cannot be sent to a process"):
        await engine.start(CompletionChannel(lambda: None), asyncio.get_running_loop().time)


# Start and replacement


async def test_the_initializer_runs_in_each_process_and_its_context_is_every_attempt_s(
    benches: list[Bench], tmp_path: Path
) -> None:
    for initializer in (initialize, partial(initialize), "tests.contract.dying_worker:initialize"):
        bench = await started(benches, tmp_path, processes=2, initializer=initializer)
        items = [bench.send("initialized? x") for _ in range(20)]
        await bench.until_finished(20)
        assert {*bench.successes} == {*items}


@pytest.mark.parametrize(
    ("initializer", "words"),
    [(fail_to_initialize, "RuntimeError: no database here"), ("no_such_module:function", "no_such_module")],
)
async def test_an_initializer_that_fails_is_the_error_of_the_start(initializer: Any, words: str) -> None:
    engine = ProcessEngine(harmful_worker, TWICE, 1, 2, initializer=initializer)
    with pytest.raises(ConfigurationError, match=words):
        await engine.start(CompletionChannel(lambda: None), asyncio.get_running_loop().time)


async def test_processes_are_replaced_after_about_so_many_items(benches: list[Bench], tmp_path: Path) -> None:
    bench = await started(benches, tmp_path, processes=2, max_tasks_per_child=50)
    items = [bench.send() for _ in range(250)]
    await bench.submit_all(more := [work_item(offset=1000 + number) for number in range(50)])
    await bench.until_finished(300)
    assert {*bench.successes} == {*items, *more}
    by_process = Counter(pid for pid, _, _ in bench.runs)
    assert len(by_process) >= 4
    assert bench.engine.status().retries_total == 0


# Signals and logs


async def test_signals_that_stop_the_program_do_not_stop_its_workers(benches: list[Bench], tmp_path: Path) -> None:
    bench = await started(benches, tmp_path)
    items = [bench.send("signals x"), bench.send()]
    await bench.until_finished(2)
    assert {*bench.successes} == {*items}
    assert len({pid for pid, _, _ in bench.runs}) == 1


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
