"""The pump after a gap in time: nothing starts until the group's coordinator has confirmed a commit."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import pytest

from pyrallel_consumer.control_plane.events import (
    Assigned,
    Commit,
    CommitAnswered,
    CoordinatorSilent,
    Delivered,
    Lost,
    PollThreadFroze,
)
from pyrallel_consumer.control_plane.failures.letter import Letter
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import RetryPolicy, WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import DlqPayloadMode, Message, TopicPartition, WorkItem
from pyrallel_consumer.execution_plane.async_engine import AsyncEngine
from pyrallel_consumer.runtime.outcomes.dead_letters import DeadLetters
from pyrallel_consumer.runtime.pump import start_lease
from pyrallel_consumer.runtime.pump.control_loop import ControlLoop
from pyrallel_consumer.testing.messages import PlainMessage
from tests.unit.silent_pump import Silent, silent_pump

FIRST, SECOND = TopicPartition("orders", 0), TopicPartition("orders", 1)
PATIENCE_SECONDS = 30.0
GAP = 11.0


class Jumping:
    """A clock that goes on while everything else stands still."""

    def __init__(self) -> None:
        self.gaps = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.gaps


class Notes(Silent):
    """Keeps the commits; nobody answers them but the test."""

    def __init__(self) -> None:
        self.commits: list[Commit] = []

    def commit(self, command: Commit) -> None:
        self.commits.append(command)


class Zombie:
    """A pump that was frozen, or will be."""

    control: ControlLoop

    def __init__(self) -> None:
        self.clock = Jumping()
        self.notes = Notes()
        self.manager = WorkManager(WorkPolicy())

    def freeze(self) -> None:
        self.clock.gaps += GAP

    def deliver(self, tp: TopicPartition, offsets: Iterable[int]) -> None:
        messages: list[Message] = [PlainMessage(tp.topic, tp.partition, at, key=b"key-%d" % at) for at in offsets]
        self.control.deliver(Delivered(tp, 1, messages))

    def answer(self, number: int, error: str | None = None) -> None:
        [commit] = [commit for commit in self.notes.commits if commit.number == number]
        self.control.deliver(CommitAnswered(number, dict.fromkeys((s.tp for s in commit.snapshots), error)))

    async def until_asked(self, number: int) -> Commit:
        await until(lambda: any(commit.number == number for commit in self.notes.commits))
        return next(commit for commit in self.notes.commits if commit.number == number)

    async def ticks(self, count: int = 3) -> None:
        """Give time to everything that must not happen."""
        seen: list[float] = []
        self.control.on_tick.append(seen.append)
        self.control.send_pauses()
        await until(lambda: len(seen) >= count)
        self.control.on_tick.remove(seen.append)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def pumping(
    worker: Callable[[WorkItem], Awaitable[object]], *, is_suspended: bool = False
) -> AsyncIterator[Zombie]:
    """``FIRST`` and ``SECOND`` are assigned from offset 0, and nothing has been delivered.

    Where it ``is_suspended`` and not frozen, only the clock that counts suspended time tells of that.
    """
    zombie = Zombie()
    failures: list[BaseException] = []
    engine = AsyncEngine(worker, RetryPolicy(backoff_ms=1, jitter_ms=0), 100)
    zombie.control = await silent_pump(
        zombie.manager, engine, failures, time.monotonic if is_suspended else zombie.clock, zombie.clock
    )
    zombie.control.start(zombie.notes)
    for tp in (FIRST, SECOND):
        zombie.control.deliver(Assigned(tp, 1, 0, OffsetMap(0, 0)))
    await until(lambda: len(zombie.manager) == 2)
    yield zombie
    zombie.control.stop()
    await engine.stop(1.0)
    assert failures == []


@pytest.mark.parametrize("is_suspended", [False, True], ids=["a frozen process", "a suspended machine"])
async def test_after_a_gap_every_partition_is_committed_again_and_nothing_starts_before_that_is_confirmed(
    is_suspended: bool,
) -> None:
    begun: list[int] = []

    async def worker(item: WorkItem) -> None:
        begun.append(item.offset)

    async with pumping(worker, is_suspended=is_suspended) as zombie:
        zombie.freeze()
        zombie.deliver(FIRST, range(3))
        commit = await zombie.until_asked(1)
        assert {snapshot.tp: snapshot.offset for snapshot in commit.snapshots} == {FIRST: 0, SECOND: 0}
        await zombie.ticks()
        assert begun == []

        zombie.answer(1)

        await until(lambda: sorted(begun) == [0, 1, 2])


@pytest.mark.parametrize("code", ["ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID", "STALE_MEMBER_EPOCH", "_TIMED_OUT"])
async def test_while_commits_are_refused_nothing_starts_and_the_coordinator_is_asked_again(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    async def worker(item: WorkItem) -> None:
        begun.append(item.offset)

    async with pumping(worker) as zombie:
        zombie.freeze()
        zombie.deliver(FIRST, range(2))
        for number in (1, 2):
            await zombie.until_asked(number)
            zombie.answer(number, code)
        await zombie.until_asked(3)
        assert begun == []
        zombie.answer(3)
        await until(lambda: sorted(begun) == [0, 1])


async def test_while_the_coordinator_is_silent_nothing_starts_and_a_late_answer_proves_nothing() -> None:
    begun: list[int] = []

    async def worker(item: WorkItem) -> None:
        begun.append(item.offset)

    async with pumping(worker) as zombie:
        zombie.deliver(FIRST, [0])
        await zombie.until_asked(1)
        zombie.control.deliver(CoordinatorSilent(3.0, 1))
        zombie.deliver(FIRST, [1])
        zombie.answer(1)
        await zombie.until_asked(2)
        assert begun == [0]

        zombie.answer(2)

        await until(lambda: begun == [0, 1])


async def test_a_commit_that_was_under_way_when_the_gap_came_proves_nothing() -> None:
    begun: list[int] = []

    async def worker(item: WorkItem) -> None:
        begun.append(item.offset)

    async with pumping(worker) as zombie:
        zombie.deliver(FIRST, [0])
        await zombie.until_asked(1)
        zombie.freeze()
        zombie.deliver(FIRST, [1])
        zombie.answer(1)
        await zombie.until_asked(2)
        assert begun == [0]
        zombie.answer(2)
        await until(lambda: sorted(begun) == [0, 1])


async def test_what_was_lost_meanwhile_never_starts_and_what_comes_instead_does() -> None:
    begun: list[tuple[int, int]] = []

    async def worker(item: WorkItem) -> None:
        begun.append((item.epoch, item.offset))

    async with pumping(worker) as zombie:
        zombie.freeze()
        zombie.deliver(FIRST, range(5))
        await zombie.until_asked(1)
        zombie.answer(1, "UNKNOWN_MEMBER_ID")
        for tp in (FIRST, SECOND):
            zombie.control.deliver(Lost(tp, 1))
        zombie.control.deliver(Assigned(FIRST, 2, 4, OffsetMap(4, 4)))
        zombie.control.deliver(Delivered(FIRST, 2, [PlainMessage(FIRST.topic, FIRST.partition, 4, key=b"key-4")]))
        commit = await zombie.until_asked(2)
        assert [(snapshot.epoch, snapshot.offset) for snapshot in commit.snapshots] == [(2, 4)]
        assert begun == []
        zombie.answer(2)
        await until(lambda: begun == [(2, 4)])


async def test_a_retry_waits_as_well_and_keeps_the_number_of_its_attempt() -> None:
    attempts: list[int] = []

    async def worker(item: WorkItem) -> None:
        attempts.append(item.attempt)
        if item.attempt == 1:
            zombie.freeze()
            raise ValueError("later")

    async with pumping(worker) as zombie:
        zombie.deliver(FIRST, [0])
        await zombie.until_asked(1)
        await zombie.ticks()
        assert attempts == [1]
        zombie.answer(1)
        await until(lambda: attempts == [1, 2])


async def test_a_worker_that_keeps_the_loop_is_such_a_gap_and_the_next_message_waits() -> None:
    begun: list[int] = []

    async def worker(item: WorkItem) -> None:
        begun.append(item.offset)
        if item.offset == 0:
            zombie.freeze()

    async with pumping(worker) as zombie:
        zombie.deliver(FIRST, range(40))
        await zombie.until_asked(1)
        await zombie.ticks()
        assert begun == [0]
        zombie.answer(1)
        await until(lambda: sorted(begun) == list(range(40)))


async def test_a_poll_thread_that_stood_still_holds_starts_back_as_well() -> None:
    begun: list[int] = []

    async def worker(item: WorkItem) -> None:
        begun.append(item.offset)

    async with pumping(worker) as zombie:
        zombie.control.deliver(PollThreadFroze(GAP, 0))
        zombie.deliver(FIRST, [0])
        await zombie.until_asked(1)
        assert begun == []
        zombie.answer(1)
        await until(lambda: begun == [0])


async def test_a_dead_letter_is_not_produced_meanwhile() -> None:
    produced: list[Letter] = []

    class Producer:
        def produce(self, letters: Iterable[Letter]) -> None:
            produced.extend(letters)

    async def worker(item: WorkItem) -> None:
        if item.attempt == 3:
            zombie.freeze()
        raise ValueError("for good")

    async with pumping(worker) as zombie:
        zombie.control.dead_letters = DeadLetters(
            zombie.manager, Producer(), suffix=".dlq", payload_mode=DlqPayloadMode.FULL, clock=zombie.clock
        )
        zombie.deliver(FIRST, [0])
        await zombie.until_asked(1)
        await zombie.ticks()
        assert produced == []
        zombie.answer(1)
        await until(lambda: [letter.item.offset for letter in produced] == [0])


async def test_the_user_is_told_of_the_gap_of_a_long_wait_and_of_its_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_lease, "REMIND_SECONDS", 0.01)

    async def worker(_: WorkItem) -> None: ...

    with caplog.at_level(logging.WARNING, "pyrallel_consumer.start_lease"):
        async with pumping(worker) as zombie:
            zombie.freeze()
            await zombie.until_asked(1)
            await until(lambda: "has not confirmed a commit since" in caplog.text)
            assert zombie.control.lease.held_seconds(zombie.clock()) > 0
            zombie.answer(1)
            await until(lambda: "messages are started again" in caplog.text)
            assert zombie.control.lease.held_seconds(zombie.clock()) == 0.0
    assert "this process stood still for 11." in caplog.text
