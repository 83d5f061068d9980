"""The async engine: timeouts, cancellations, the program's end, and a loop that goes on; for each of its forms."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.errors import InvariantViolation, TaskTimeoutError
from pyrallel_consumer.execution_plane.async_engine import LateEngine, PlainEngine
from pyrallel_consumer.execution_plane.engine import CompletionChannel
from pyrallel_consumer.testing.engine_contract.rig import PATIENCE_SECONDS, Rig
from pyrallel_consumer.testing.messages import work_item
from tests.unit.execution_plane.loop_runs import ONCE, VARIABLE, current, offsets, run, suspend

if TYPE_CHECKING:
    from pyrallel_consumer.dto import WorkItem


async def test_a_timeout_cancels_the_worker_once_and_its_cleanup_runs(form: type[PlainEngine]) -> None:
    cleaned = []

    async def worker(item: WorkItem) -> None:
        VARIABLE.set("in the worker")
        try:
            await asyncio.Event().wait()
        finally:
            assert VARIABLE.get() == "in the worker"
            await suspend()
            cleaned.append((item.offset, current().cancelling()))

    rig = await run(form, worker, count=3, policy=RetryPolicy(max_attempts=1, timeout_ms=5))
    assert cleaned == [(1, 1), (2, 1), (3, 1)]
    assert [type(failed.error) for failed in rig.failures] == [TaskTimeoutError] * 3


async def test_a_worker_that_swallows_its_timeout_and_returns_is_done(form: type[PlainEngine]) -> None:
    async def worker(item: WorkItem) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    rig = await run(form, worker, count=1, policy=RetryPolicy(max_attempts=2, backoff_ms=0, jitter_ms=0, timeout_ms=5))
    assert (len(rig.successes), rig.failures) == (1, [])
    assert rig.engine.status().timeouts_total == 1


async def test_a_cancelled_worker_is_given_back_where_it_stops_and_done_where_it_returns(
    form: type[PlainEngine],
) -> None:
    begun = 0

    async def worker(item: WorkItem) -> None:
        nonlocal begun
        begun += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if item.offset % 2:
                raise

    rig = await Rig(form(worker, ONCE, 4)).start()
    for _ in range(4):
        rig.submit()
    await rig.until(lambda: begun == 4)
    rig.engine.cancel(lambda _: True)
    await rig.until_finished(4)
    assert offsets([cancelled.item for cancelled in rig.cancellations]) == [1, 3]
    assert offsets(rig.successes) == [2, 4]
    await rig.engine.stop(1)


@pytest.mark.parametrize("waits_first", [True, False])
async def test_ctrl_c_in_a_step_of_a_worker_gives_its_item_back_and_interrupts(
    form: type[PlainEngine], *, waits_first: bool
) -> None:
    async def worker(item: WorkItem) -> None:
        if waits_first:
            await suspend()
        if item.offset == 1:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        rig = await run(form, worker, count=2, policy=ONCE)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [(cancelled.item.offset, cancelled.attempt) for cancelled in rig.cancellations] == [(1, 1)]
    assert (offsets(rig.successes), rig.failures) == ([2], [])
    assert rig.channel.is_interrupted


async def test_running_work_that_nobody_else_refers_to_is_not_collected(form: type[PlainEngine]) -> None:
    futures: list[weakref.ref[asyncio.Future[None]]] = []

    async def worker(item: WorkItem) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        futures.append(weakref.ref(future))
        await future

    rig = await Rig(form(worker, ONCE, 4)).start()
    for _ in range(4):
        rig.submit()
    await rig.until(lambda: len(futures) == 4)
    gc.collect()
    for reference in futures:
        future = reference()
        assert future is not None
        future.set_result(None)
    await rig.until_finished(4)
    assert len(rig.successes) == 4
    await rig.engine.stop(1)


# The program's end


def test_tasks_that_asyncio_run_cancels_are_given_back_when_that_is_a_shutdown(form: type[PlainEngine]) -> None:
    rigs: list[Rig] = []

    async def worker(item: WorkItem) -> None:
        if item.offset % 2:
            await asyncio.Event().wait()

    async def main() -> None:
        rig = await Rig(form(worker, ONCE, 10, is_shutting_down=current().done)).start()
        rigs.append(rig)
        for _ in range(2):
            for _ in range(4):
                rig.submit()
            await suspend()
        for _ in range(4):
            rig.submit()

    asyncio.run(main())
    rigs[0].look()
    given_back = [cancelled.item for cancelled in rigs[0].cancellations]
    assert rigs[0].failures == []
    assert {1, 3, 5} <= set(offsets(given_back))
    assert offsets([*rigs[0].successes, *given_back]) == list(range(1, 13))
    assert rigs[0].engine.running() == 0


async def test_tasks_that_somebody_else_cancels_are_failed_attempts_and_the_others_go_on(
    form: type[PlainEngine],
) -> None:
    async def worker(item: WorkItem) -> None:
        await suspend()

    rig = await Rig(form(worker, ONCE, 10)).start()
    for _ in range(4):
        rig.submit()
    others = asyncio.all_tasks() - {current()}
    assert others
    for task in others:
        task.cancel()
    await rig.until_finished(4)
    assert all(isinstance(failed.error, asyncio.CancelledError) for failed in rig.failures)
    assert offsets([*rig.successes, *(failed.item for failed in rig.failures)]) == [1, 2, 3, 4]
    await rig.engine.stop(1)


def test_a_loop_that_is_closed_over_unfinished_work_brings_no_further_trouble(form: type[PlainEngine]) -> None:
    complaints: list[str] = []
    unraisable: list[Any] = []
    channel = CompletionChannel(lambda: None)

    async def worker(item: WorkItem) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        engine = form(worker, ONCE, 4)
        await engine.start(channel, asyncio.get_running_loop().time)
        engine.submit(work_item(offset=1))
        engine.submit(work_item(offset=2))
        await suspend()
        engine.submit(work_item(offset=3))
        for _ in range(10):  # A task that never began is asyncio's own to complain of.
            await suspend()

    hook, sys.unraisablehook = sys.unraisablehook, unraisable.append
    try:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
        loop.run_until_complete(main())
        loop.close()
        del loop
        gc.collect()
    finally:
        sys.unraisablehook = hook
    assert set(complaints) <= {"Task was destroyed but it is pending!"}
    assert unraisable == []
    assert not channel.has_items


# Keeping the loop and the channel going


async def test_first_steps_give_way_to_the_loop_s_other_callbacks() -> None:
    clock = iter(range(10**9))
    done: list[int] = []
    seen: list[int] = []

    async def worker(item: WorkItem) -> None:
        done.append(item.offset)
        if len(done) == 1:
            asyncio.get_running_loop().call_soon(lambda: seen.append(len(done)))

    engine = LateEngine(worker, ONCE, 1000)
    rig = Rig(engine)
    await engine.start(rig.channel, lambda: next(clock) / 1000)
    for _ in range(1000):
        rig.submit()
    await rig.until(lambda: len(done) == 1000)
    assert seen[0] < 10
    await engine.stop(1)


async def test_due_retries_give_way_to_the_loop_s_other_callbacks(form: type[PlainEngine]) -> None:
    clock = iter(range(10**9))
    started = []

    async def worker(item: WorkItem) -> None:
        started.append(item.attempt)
        if item.attempt == 1:
            raise ValueError

    policy = RetryPolicy(max_attempts=2, backoff_ms=0, jitter_ms=0, timeout_ms=0)
    engine = form(worker, policy, 1000)
    rig = Rig(engine)
    await engine.start(rig.channel, lambda: next(clock) / 1000)
    for _ in range(100):
        rig.submit()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while engine.status().waiting_retries < 100:
            await asyncio.sleep(0)
    engine.sweep(1e9)
    assert started.count(2) < 10
    await rig.until_finished(100)
    assert rig.failures == []
    await engine.stop(1)


async def test_an_attempt_that_times_out_before_its_first_step_is_cancelled_in_its_first_wait(
    form: type[PlainEngine],
) -> None:
    async def worker(item: WorkItem) -> None:
        if item.attempt == 1:
            raise ValueError
        await asyncio.Event().wait()

    engine = form(worker, RetryPolicy(max_attempts=2, backoff_ms=0, jitter_ms=0, timeout_ms=60_000), 4)
    rig = await Rig(engine).start()
    rig.submit()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while engine.status().waiting_retries == 0:
            await asyncio.sleep(0)
    now = asyncio.get_running_loop().time() + 1
    engine.sweep(now)
    engine.sweep(now + 60)
    await rig.until_finished(1)
    assert [type(failed.error) for failed in rig.failures] == [TaskTimeoutError]
    await engine.stop(1)


async def test_a_failure_of_the_books_themselves_reaches_the_loop(form: type[PlainEngine]) -> None:
    async def worker(item: WorkItem) -> None:
        raise ValueError

    def broken_jitter() -> float:
        raise InvariantViolation("no more randomness")

    with pytest.raises(InvariantViolation, match="no more randomness"):
        await run(form, worker, policy=RetryPolicy(), jitter=broken_jitter)


async def test_a_bug_of_ours_reaches_the_loop_and_not_only_a_task(form: type[PlainEngine]) -> None:
    async def worker(item: WorkItem) -> None:
        await suspend()

    rig = await Rig(form(worker, ONCE, 1)).start()

    async def submit_too_many() -> None:
        rig.submit()
        rig.submit()
        await rig.until_finished(2)

    with pytest.raises(InvariantViolation, match="without capacity"):
        await submit_too_many()
    rig.engine.cancel(lambda _: True)
    await rig.engine.stop(1)


async def test_the_channel_takes_reports_from_any_thread_and_hands_them_out_in_bounded_pieces() -> None:
    woken: list[bool] = []
    channel = CompletionChannel(lambda: woken.append(True))
    items = [work_item(offset=offset) for offset in range(100)]

    def report(part: list[WorkItem]) -> None:
        for item in part:
            channel.succeeded(item)

    await asyncio.gather(*(asyncio.to_thread(report, items[number::4]) for number in range(4)))
    error = ValueError()
    channel.failed(items[0], error, 3)
    channel.cancelled(items[1], 2)
    first = channel.drain(60)
    assert [(failed.item, failed.error, failed.attempt) for failed in first.failures] == [(items[0], error, 3)]
    assert [(cancelled.item, cancelled.attempt) for cancelled in first.cancellations] == [(items[1], 2)]
    assert len(first.successes) == 58
    second = channel.drain(60)
    assert offsets([*first.successes, *second.successes]) == list(range(100))
    assert not channel.has_items
    assert 1 <= len(woken) <= 4


def test_both_forms_run_on_uvloop(form: type[PlainEngine]) -> None:
    uvloop = pytest.importorskip("uvloop", reason="the uvloop extra is not installed")

    async def worker(item: WorkItem) -> None:
        VARIABLE.set("changed")
        async with asyncio.timeout(10):
            if item.offset % 2:
                await suspend()
            if item.offset % 5 == 0:
                raise ValueError

    async def main() -> None:
        rig = await run(form, worker, count=100)
        assert (len(rig.successes), len(rig.failures)) == (80, 20)
        assert VARIABLE.get() == "none"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
