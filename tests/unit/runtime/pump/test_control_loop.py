"""The pump with a real work manager and engine, between facts of the test and a poll thread that only takes notes."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pyrallel_consumer.control_plane.events import (
    Assigned,
    Commit,
    CommitAnswered,
    CommitSnapshot,
    Delivered,
    Lost,
    Pause,
    PollerClosed,
    PollerFailed,
    Resume,
    RevokeAsked,
)
from pyrallel_consumer.control_plane.membership import Membership
from pyrallel_consumer.control_plane.offsets.commit_sequence import CommitSequence
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import FlowLimits, RetryPolicy, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import Message, OnExhausted, TopicPartition, WorkItem
from pyrallel_consumer.errors import BrokerError
from pyrallel_consumer.execution_plane.async_engine import AsyncEngine
from pyrallel_consumer.runtime.pump.control_loop import ControlLoop
from pyrallel_consumer.testing.messages import PlainMessage

PATIENCE_SECONDS = 30.0
AT_ONCE = RetryPolicy(backoff_ms=0, jitter_ms=0)
FIRST, SECOND = TopicPartition("orders", 0), TopicPartition("orders", 1)


class Notes:
    """What the pump asked of the poll thread."""

    def __init__(self) -> None:
        self.granted = 0
        self.commits: list[Commit] = []
        self.pauses: list[Pause | Resume] = []

    def grant(self, total: int) -> None:
        self.granted = total

    def commit(self, command: Commit) -> None:
        self.commits.append(command)

    def pause(self, command: Pause) -> None:
        self.pauses.append(command)

    def resume(self, command: Resume) -> None:
        self.pauses.append(command)


class Pump:
    """A control loop with everything around it, and the answers and failures that it gave."""

    def __init__(
        self,
        worker: Callable[[WorkItem], Awaitable[object]],
        retry: RetryPolicy,
        grace_seconds: float,
        engine: Callable[..., Any] = AsyncEngine,
    ) -> None:
        self.notes = Notes()
        self.failures: list[BaseException] = []
        self.answers: list[dict[TopicPartition, int]] = []
        self.processed_when_answered = 0
        self.manager = WorkManager(WorkPolicy(limits=FlowLimits(100_000), on_exhausted=OnExhausted.SKIP))
        self.engine = engine(worker, retry, 1000, contextvars.copy_context())
        self.control = ControlLoop(
            manager=self.manager,
            commits=CommitSequence(self.manager, 0.01),
            engine=self.engine,
            revoke_grace_seconds=grace_seconds,
            loop=asyncio.get_running_loop(),
            base=contextvars.copy_context(),
            fail=self.failures.append,
            clock=time.monotonic,
            # Nobody answers the commits of these tests, so a gap on a busy machine must not ask for an answer.
            membership=Membership(PATIENCE_SECONDS),
        )

    def assign(self, *tps: TopicPartition, epoch: int = 1) -> None:
        for tp in tps:
            self.control.deliver(Assigned(tp, epoch, 0, OffsetMap(0, 0)))

    def deliver(self, tp: TopicPartition, offsets: Sequence[int], epoch: int = 1) -> None:
        messages: list[Message] = [
            PlainMessage(tp.topic, tp.partition, offset, key=b"key-%d" % offset) for offset in offsets
        ]
        self.control.deliver(Delivered(tp, epoch, messages))

    def revoke(self, *tps: TopicPartition, epoch: int = 1) -> None:
        def answer(snapshots: tuple[CommitSnapshot, ...]) -> None:
            self.processed_when_answered = self.manager.processed
            self.answers.append({snapshot.tp: snapshot.offset for snapshot in snapshots})

        self.control.deliver(RevokeAsked(tuple((tp, epoch) for tp in tps), answer))


@asynccontextmanager
async def pump(
    worker: Callable[[WorkItem], Awaitable[object]],
    *,
    retry: RetryPolicy = AT_ONCE,
    grace_seconds: float = PATIENCE_SECONDS,
    engine: Callable[..., Any] = AsyncEngine,
) -> AsyncIterator[Pump]:
    running = Pump(worker, retry, grace_seconds, engine)
    await running.engine.start(running.control.channel, time.monotonic)
    running.control.start(running.notes)
    try:
        yield running
    finally:
        running.control.stop()
        await running.engine.stop(0.0)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0.001)


async def done_at_once(item: WorkItem) -> None:
    """A worker without work."""


async def test_an_attempt_that_fails_while_its_partition_is_revoked_is_left_to_the_next_owner() -> None:
    go_on, attempts = asyncio.Event(), []

    async def worker(item: WorkItem) -> None:
        attempts.append((item.offset, item.attempt))
        await go_on.wait()
        if item.offset == 1:
            raise ValueError("just now")

    async with pump(worker) as running:
        running.assign(FIRST)
        running.deliver(FIRST, range(3))
        await until(lambda: len(attempts) == 3)
        running.revoke(FIRST)
        await until(lambda: running.control.is_rebalancing)
        go_on.set()
        await until(lambda: running.answers)

        assert running.answers == [{FIRST: 1}]
        assert running.engine.waiting() == []
        await until(lambda: not running.control.channel.has_items)
        assert attempts == [(0, 1), (1, 1), (2, 1)]
    assert running.failures == []


async def test_a_revocation_is_answered_however_busy_the_other_partitions_are() -> None:
    begun, go_on = 0, asyncio.Event()

    async def worker(item: WorkItem) -> None:
        nonlocal begun
        begun += 1
        await go_on.wait()

    async with pump(worker) as running:
        running.assign(FIRST, SECOND)
        running.deliver(FIRST, range(1))
        running.deliver(SECOND, range(20_000))
        await until(lambda: begun == 1000 and running.manager.ready == 19_001)
        running.revoke(FIRST)
        go_on.set()
        await until(lambda: running.answers)

        assert running.answers == [{FIRST: 1}]
        assert running.processed_when_answered < 20_001
        await until(lambda: running.manager.processed == 20_001)


async def test_what_outlasts_the_grace_is_cancelled_and_stays_uncommitted() -> None:
    ended: list[int] = []

    async def worker(item: WorkItem) -> None:
        try:
            await (asyncio.sleep(0) if item.offset == 0 else asyncio.Event().wait())
        finally:
            ended.append(item.offset)

    async with pump(worker, grace_seconds=0.02) as running:
        running.assign(FIRST, SECOND)
        running.deliver(FIRST, range(2))
        running.deliver(SECOND, range(1, 2))
        await until(lambda: ended == [0])
        running.revoke(FIRST)
        await until(lambda: running.answers)

        assert running.answers == [{FIRST: 1}]
        assert ended == [0, 1]
        assert running.engine.running() == 1  # the other partition's goes on
        assert [work.tp for work in running.manager] == [SECOND]


async def test_a_lost_partition_is_cancelled_without_an_answer_and_a_waiting_revocation_is_forgotten() -> None:
    cancelled: list[int] = []

    async def worker(item: WorkItem) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(item.offset)
            raise

    async with pump(worker) as running:
        running.assign(FIRST)
        running.deliver(FIRST, range(2))
        await until(lambda: running.engine.running() == 2)
        running.revoke(FIRST)
        await until(lambda: running.control.is_rebalancing)
        running.control.deliver(Lost(FIRST, 1))
        await until(lambda: cancelled == [0, 1])
        await until(lambda: not running.control.is_rebalancing)
        await until(lambda: running.manager.fenced_completions == 2)

    assert (running.answers, running.notes.commits, running.failures) == ([], [], [])


async def test_retries_in_quick_succession_do_not_make_ticks_any_quicker() -> None:
    ticks: list[float] = []

    async def worker(item: WorkItem) -> None:
        raise ValueError("again and again")

    async with pump(
        worker, retry=RetryPolicy(max_attempts=100, backoff_ms=1, max_backoff_ms=1, jitter_ms=0)
    ) as running:
        running.control.on_tick.append(ticks.append)
        running.assign(FIRST)
        running.deliver(FIRST, range(5))
        await until(lambda: running.manager.failed == 5)

    assert all(after - before >= 0.049 for before, after in itertools.pairwise(ticks))


async def test_a_retry_that_is_due_before_the_next_tick_begins_when_it_is_due() -> None:
    attempts: list[float] = []

    async def worker(item: WorkItem) -> None:
        attempts.append(time.monotonic())
        await asyncio.sleep(0)
        raise ValueError("again")

    ticks: list[float] = []
    async with pump(worker, retry=RetryPolicy(max_attempts=40, backoff_ms=1, max_backoff_ms=1, jitter_ms=0)) as running:
        running.control.on_tick.append(ticks.append)
        running.assign(FIRST)
        running.deliver(FIRST, [0])
        await until(lambda: len(attempts) == 40)

    assert len(ticks) < 20


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_the_users_own_coroutines_have_their_turn_between_messages_that_never_wait(kind: str) -> None:
    module: Any = asyncio if kind == "asyncio" else pytest.importorskip("uvloop", reason="uvloop is an extra")
    done = 0

    async def worker(item: WorkItem) -> None:
        nonlocal done
        done += 1

    async def main() -> list[int]:
        async with pump(worker) as running:
            running.assign(FIRST)
            running.deliver(FIRST, range(30_000))
            seen = []
            while done < 30_000:
                seen.append(done)
                await asyncio.sleep(0)
            return seen

    loop = module.new_event_loop()
    try:
        seen = loop.run_until_complete(main())
    finally:
        loop.close()

    assert max(after - before for before, after in itertools.pairwise(seen)) < 15_000  # a turn is 2 ms


@pytest.mark.parametrize("fact", ["not a fact", None])
async def test_a_fact_that_nobody_knows_breaks_the_pump_and_nothing_is_committed_or_started_any_more(
    fact: object,
) -> None:
    started: list[int] = []

    async def worker(item: WorkItem) -> None:
        started.append(item.offset)

    async with pump(worker) as running:
        running.assign(FIRST)
        running.control.deliver(fact)
        running.deliver(FIRST, range(3))
        await until(lambda: running.control.is_broken)
        assert not await running.control.until(lambda: False, time.monotonic() + PATIENCE_SECONDS)

    [failure] = running.failures
    assert isinstance(failure, TypeError)
    assert (started, running.notes.commits) == ([], [])


async def test_only_the_poll_threads_last_facts_tell_that_it_is_over() -> None:
    error = BrokerError("gone", code="_FATAL")
    async with pump(done_at_once) as running:
        running.control.deliver(PollerFailed(error))
        await until(lambda: running.control.has_poller_ended)
        assert running.failures == [error]
    async with pump(done_at_once) as running:
        running.control.deliver(PollerClosed())
        await until(lambda: running.control.has_poller_ended)
        assert running.failures == []


async def test_being_fenced_off_at_a_commit_fails_the_consumer_and_other_refusals_do_not() -> None:
    async with pump(done_at_once) as running:
        running.assign(FIRST)
        running.deliver(FIRST, range(3))
        await until(lambda: len(running.notes.commits) == 1)
        running.control.deliver(CommitAnswered(1, {FIRST: "REBALANCE_IN_PROGRESS"}))
        await until(lambda: len(running.notes.commits) == 2)
        assert running.failures == []
        running.control.deliver(CommitAnswered(2, {FIRST: "FENCED_INSTANCE_ID"}))
        await until(lambda: running.failures)

    [failure] = running.failures
    assert isinstance(failure, BrokerError)
    assert failure.code == "FENCED_INSTANCE_ID"


async def test_the_first_grant_is_one_message_and_the_next_ones_fit_its_size() -> None:
    async with pump(done_at_once) as running:
        assert running.notes.granted == 1
        running.assign(FIRST)
        running.deliver(FIRST, [0])
        await until(lambda: running.notes.granted > 1)
        assert running.notes.granted == 100_001


def test_a_closed_loop_takes_no_facts() -> None:
    loop = asyncio.new_event_loop()

    async def made() -> Pump:
        return Pump(done_at_once, RetryPolicy(), 1.0)

    running = loop.run_until_complete(made())
    loop.close()

    with pytest.raises(RuntimeError, match="closed"):
        running.control.deliver(PollerClosed())


async def test_a_pause_is_sent_at_once_and_not_with_the_next_tick() -> None:
    async with pump(done_at_once) as running:
        running.assign(FIRST)
        await until(lambda: [work.tp for work in running.manager] == [FIRST])
        running.manager.pause_all()
        running.control.send_pauses()
        assert running.notes.pauses == [Pause(FIRST, 1)]


class RunsElsewhere(AsyncEngine):  # type: ignore[valid-type, misc]  # the form that fits this Python
    """An engine that keeps its items: the test reports them."""

    given: list[WorkItem]

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self.given = [*items]


async def test_engines_may_report_from_threads_of_their_own() -> None:
    loop = asyncio.get_running_loop()
    async with pump(done_at_once, engine=RunsElsewhere) as running:
        running.assign(FIRST)
        running.deliver(FIRST, [0])
        await until(lambda: hasattr(running.engine, "given"))
        loop.set_debug(True)  # Now the loop refuses calls from other threads that it would not wake up for.
        await asyncio.to_thread(running.control.channel.succeeded, running.engine.given[0])
        await until(lambda: running.manager.processed == 1)
        running.control.stop()
        await asyncio.to_thread(running.control.channel.notify)

    assert running.failures == []
