"""Workers in threads: how many threads there are, what remains of them, and what they are given."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.errors import ExecutionError, WorkerMismatchError
from pyrallel_consumer.execution_plane.engine import CompletionChannel
from pyrallel_consumer.execution_plane.thread_engine import THREADS_AT_ONCE, ThreadEngine, pause_seconds
from pyrallel_consumer.testing.engine_contract.rig import PATIENCE_SECONDS, Rig
from pyrallel_consumer.testing.messages import work_item

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.dto import WorkItem

ONCE = RetryPolicy(max_attempts=1, timeout_ms=0)
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="none")


def worker_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("pyrallel-worker")]


@pytest.fixture(autouse=True)
def only_threads_of_the_test() -> None:
    """Threads of earlier tests may still be ending."""
    for thread in worker_threads():
        thread.join(PATIENCE_SECONDS)


async def until_no_thread_is_left() -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while worker_threads():
            await asyncio.sleep(0.001)


async def started(worker: Callable[[WorkItem], Any], slots: int = 4, policy: RetryPolicy = ONCE) -> Rig:
    return await Rig(ThreadEngine(worker, policy, slots)).start()


async def test_calls_run_in_daemon_threads_at_most_as_many_as_slots_and_no_more_than_needed() -> None:
    seen: set[threading.Thread] = set()

    def worker(item: WorkItem) -> None:
        seen.add(threading.current_thread())

    rig = await started(worker)
    rig.submit()
    await rig.until_finished(1)
    assert len(worker_threads()) == 1
    await rig.submit_all([rig.item() for _ in range(200)])
    await rig.until_finished(201)
    assert 1 <= len(seen) <= 4
    assert all(thread.daemon for thread in seen)
    assert threading.main_thread() not in seen
    await rig.engine.stop(1)
    await until_no_thread_is_left()


async def test_calls_of_several_items_run_at_the_same_time() -> None:
    barrier = threading.Barrier(4, timeout=PATIENCE_SECONDS)
    rig = await started(lambda _: barrier.wait())
    for _ in range(4):
        rig.submit()
    await rig.until_finished(4)
    assert len(rig.successes) == 4
    await rig.engine.stop(1)


async def test_a_call_that_hangs_keeps_its_slot_is_shown_as_stuck_and_its_thread_ends_after_it() -> None:
    gate = threading.Event()
    rig = await started(lambda _: gate.wait(PATIENCE_SECONDS), slots=2, policy=RetryPolicy(timeout_ms=10))
    item = rig.submit()
    await rig.until(lambda: rig.has_stuck)
    assert [stuck.item for stuck in rig.engine.stuck(asyncio.get_running_loop().time())] == [item]
    assert (rig.engine.capacity(), rig.engine.status().timeouts_total) == (1, 1)
    await rig.engine.stop(0)
    rig.look()
    assert [cancelled.item for cancelled in rig.cancellations] == [item]
    gate.set()
    await until_no_thread_is_left()
    assert not rig.channel.has_items


def test_a_thread_whose_loop_is_gone_ends_after_its_call() -> None:
    gate = threading.Event()

    async def leave_it_behind() -> None:
        engine = ThreadEngine(lambda _: gate.wait(PATIENCE_SECONDS), ONCE, 1)
        await engine.start(CompletionChannel(lambda: None), asyncio.get_running_loop().time)
        engine.submit(work_item())

    asyncio.run(leave_it_behind())
    threads = worker_threads()
    assert len(threads) == 1
    gate.set()
    threads[0].join(PATIENCE_SECONDS)
    assert not threads[0].is_alive()


async def test_a_coroutine_that_a_plain_worker_returns_fails_the_attempt_with_the_mode_that_fits() -> None:
    async def forgotten() -> None: ...

    rig = await started(lambda _: forgotten())
    rig.submit()
    await rig.until_finished(1)
    [failed] = rig.failures
    assert isinstance(failed.error, WorkerMismatchError)
    assert "ExecutionMode.ASYNC" in str(failed.error)
    await rig.engine.stop(1)


async def test_a_given_context_beats_that_of_the_start() -> None:
    given = contextvars.Context()
    given.run(VARIABLE.set, "given")
    seen: list[str] = []
    engine = ThreadEngine(lambda _: seen.append(VARIABLE.get()), ONCE, 1, given)
    VARIABLE.set("at start")
    rig = await Rig(engine).start()
    rig.submit()
    await rig.until_finished(1)
    assert seen == ["given"]
    await rig.engine.stop(1)


async def test_nothing_of_a_finished_item_is_kept() -> None:
    def worker(item: WorkItem) -> None:
        raise ValueError(item.offset)

    rig = await started(worker, slots=20)
    for _ in range(20):
        rig.submit()
    await rig.until_finished(20)
    kept = [weakref.ref(failed.item) for failed in rig.failures]
    rig.failures.clear()
    gc.collect()
    assert [item for item in kept if item() is not None] == []
    await rig.engine.stop(1)


async def test_calls_that_wait_for_a_thread_are_timed_from_their_beginning() -> None:
    gate = threading.Event()
    engine = ThreadEngine(lambda _: gate.wait(0.1), RetryPolicy(max_attempts=1, timeout_ms=5000), 8, threads=1)
    rig = await Rig(engine).start()
    items = [rig.submit() for _ in range(8)]
    await rig.until(lambda: rig.engine.next_sweep_at() is not None)
    assert len(worker_threads()) == 1
    gate.set()
    await rig.until_finished(8)
    assert rig.successes == items
    await rig.engine.stop(1)


async def test_calls_that_wait_behind_one_that_hangs_are_given_back_unbegun() -> None:
    gate, begun = threading.Event(), []

    def worker(item: WorkItem) -> None:
        begun.append(item)
        gate.wait(PATIENCE_SECONDS)

    rig = await Rig(ThreadEngine(worker, ONCE, 8, threads=1)).start()
    items = [rig.submit() for _ in range(8)]
    await rig.until(lambda: bool(begun))
    rig.engine.withdraw(lambda item: item in items[1:4])
    rig.look()
    assert [cancelled.item for cancelled in rig.cancellations] == items[1:4]
    rig.engine.cancel(lambda item: item in items[:6])
    rig.look()
    assert [cancelled.item for cancelled in rig.cancellations] == items[1:6]
    assert rig.engine.running() == 3
    gate.set()
    await rig.until_finished(8)
    assert [cancelled.item for cancelled in rig.cancellations] == items[1:6]
    assert rig.successes == [items[0], *items[6:]]
    assert begun == [items[0], *items[6:]]
    await rig.engine.stop(1)


async def test_many_threads_are_started_a_few_at_a_time_and_all_of_them_by_themselves() -> None:
    count = 5 * THREADS_AT_ONCE + 3
    barrier = threading.Barrier(count, timeout=PATIENCE_SECONDS)
    rig = await started(lambda _: barrier.wait(), slots=count)
    await rig.submit_all([rig.item() for _ in range(count)])
    assert len(worker_threads()) == THREADS_AT_ONCE
    await rig.until_finished(count)
    assert len(rig.successes) == count
    await rig.engine.stop(1)
    await until_no_thread_is_left()


async def test_once_it_stops_no_more_threads_are_started() -> None:
    gate = threading.Event()
    rig = await started(lambda _: gate.wait(PATIENCE_SECONDS), slots=3 * THREADS_AT_ONCE)
    await rig.submit_all([rig.item() for _ in range(3 * THREADS_AT_ONCE)])
    stopping = asyncio.create_task(rig.engine.stop(PATIENCE_SECONDS))
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(worker_threads()) == 2 * THREADS_AT_ONCE  # The second lot was on its way before.
    gate.set()
    await stopping
    await until_no_thread_is_left()


def machine_that_gives(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def start_if_there_are_more(thread: threading.Thread) -> None:
        if len(worker_threads()) >= threads:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_if_there_are_more)


async def test_where_the_machine_gives_no_more_threads_those_that_are_there_do_all_the_work(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine_that_gives(2, monkeypatch)
    rig = await started(lambda _: None, slots=8)
    for _ in range(2):
        await rig.submit_all([rig.item() for _ in range(20)])
    await rig.until_finished(40)
    assert len(rig.successes) == 40
    assert len(worker_threads()) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "the machine gives no more than 2 threads for workers: can't start new thread"
    ]
    await rig.engine.stop(1)


async def test_without_a_single_thread_the_consumer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_that_gives(0, monkeypatch)
    rig = await started(lambda _: None)
    rig.submit()
    with pytest.raises(ExecutionError, match="no thread could be started"):
        rig.look()
    await rig.engine.stop(0)


@pytest.mark.parametrize(
    ("seconds", "count", "waiting", "pause"),
    [(0.001, 40, 200, 0.0025), (0.001, 10, 200, 0.004), (10.0, 8, 200, 0.004), (0.001, 40, 0, 0.0004)],
)
def test_the_loop_looks_again_when_half_of_the_calls_that_can_wait_have_begun_within_bounds(
    seconds: float, count: int, waiting: int, pause: float
) -> None:
    assert pause_seconds(seconds, count, waiting) == pytest.approx(pause)


async def test_a_bug_where_calls_are_taken_in_ends_the_consumer_and_not_in_silence() -> None:
    def jitter() -> float:
        raise ZeroDivisionError  # Stands for any bug of ours behind the end of a call.

    rig = await Rig(ThreadEngine(_raise, RetryPolicy(), 4, jitter=jitter)).start()
    rig.submit()
    with pytest.raises(ZeroDivisionError):
        await rig.until_finished(1)
    await rig.engine.stop(1)


async def test_a_bug_in_a_thread_ends_the_consumer_and_not_only_the_thread() -> None:
    rig = Rig(ThreadEngine(lambda _: None, ONCE, 4))

    def now() -> float:
        if threading.current_thread() is not threading.main_thread():
            raise ZeroDivisionError
        return 0.0

    await rig.engine.start(rig.channel, now)
    rig.submit()
    with pytest.raises(ZeroDivisionError):
        await rig.until_finished(1)
    await rig.engine.stop(1)


async def test_a_call_that_passes_its_timeout_is_told_while_it_hangs(caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()
    rig = await started(lambda _: gate.wait(PATIENCE_SECONDS), policy=RetryPolicy(timeout_ms=10))
    for _ in range(4):
        rig.submit()
    await rig.until(lambda: rig.engine.status().timeouts_total == 4)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 3
    assert told[0] == (
        "attempt 1 of test-0-1 runs longer than task_timeout_ms (10 ms) in a thread, which cannot be stopped: it keeps "
        "its thread and its key until it returns"
    )
    gate.set()
    await rig.until_finished(4)
    await rig.engine.stop(1)


def _raise(_: WorkItem) -> None:
    raise ValueError
