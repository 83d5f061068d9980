"""A small control loop: calls an engine as the contract promises, and notes all its reports."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.execution_plane.engine import Cancelled, CompletionChannel, ExecutionEngine, Failed
from pyrallel_consumer.testing.messages import work_item

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE_SECONDS = 30
"""How long a condition may take to come true on a busy machine before the test fails."""

Step = list[Any]


class OneKey:
    """An origin whose items are kept in order."""

    epoch = 1
    is_ordered = True

    def seal(self) -> None:
        """Nothing more is sent of it anyway, unless a test says so."""


class Rig:
    """An engine, its channel, and everything the channel has handed out."""

    def __init__(self, engine: ExecutionEngine) -> None:
        self.engine = engine
        self.successes: list[WorkItem] = []
        self.failures: list[Failed] = []
        self.cancellations: list[Cancelled] = []
        self.wakes = 0
        self.most_running = 0
        self._loop = asyncio.get_running_loop()
        self._awake = asyncio.Event()
        self.channel = CompletionChannel(self._wake)
        self._offset = 0

    def _wake(self) -> None:
        self.wakes += 1
        self._loop.call_soon_threadsafe(self._awake.set)

    async def start(self) -> Rig:
        await self.engine.start(self.channel, self._loop.time)
        return self

    def item(
        self, *attempts: list[Step], key: bytes | None = None, log: Path | None = None, attempt: int = 1
    ) -> WorkItem:
        """An item with a script, see ``worker``."""
        self._offset += 1
        headers = [] if log is None else [("log", str(log).encode())]
        value = json.dumps(attempts).encode()
        return work_item(value, key=key, offset=self._offset, headers=headers, attempt=attempt)

    def run(self, *scripts: list[list[Step]], log: Path | None = None) -> list[WorkItem]:
        """Items of one ordered origin, each with its script."""
        origin = OneKey()
        items = [self.item(*script, log=log) for script in scripts]
        return [WorkItem(item.message, item.offset, origin) for item in items]

    def submit(self, *attempts: list[Step], log: Path | None = None) -> WorkItem:
        item = self.item(*attempts, log=log)
        self.engine.submit(item)
        return item

    async def submit_all(self, items: list[WorkItem]) -> None:
        """Submit as the loop does: as many as there is capacity for, the rest when there is more."""
        left = list(reversed(items))
        while left:
            self.engine.submit_all([left.pop() for _ in range(min(self.engine.capacity(), len(left)))])
            if left:
                await self._turn()

    def let_start(self, until: float) -> None:
        """As the loop does while it turns, and with ``-inf`` after a gap in time."""
        self.channel.starts_until = self.channel.starts_until_boot = until
        self.engine.heed_lease()

    @property
    def finished(self) -> int:
        return len(self.successes) + len(self.failures) + len(self.cancellations)

    @property
    def has_stuck(self) -> bool:
        return bool(self.engine.stuck(self._loop.time()))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Turn until ``condition`` holds."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await self._turn()

    async def settle(self, turns: int = 20) -> None:
        """Turn for a while, so that forbidden events would have time to happen."""
        for _ in range(turns):
            await self._turn()

    async def until_finished(self, count: int) -> None:
        await self.until(lambda: self.finished >= count)

    async def _turn(self) -> None:
        """The loop's work when it is woken, when a sweep is due, and now and then."""
        wait_seconds = 0.005
        if (sweep_at := self.engine.next_sweep_at()) is not None:
            wait_seconds = max(0, min(wait_seconds, sweep_at - self._loop.time()))
        try:
            async with asyncio.timeout(wait_seconds):
                await self._awake.wait()
        except TimeoutError:
            pass
        self.look()

    def look(self) -> None:
        self._awake.clear()
        finished = self.channel.drain(1_000_000)
        self.successes += finished.successes
        self.failures += finished.failures
        self.cancellations += finished.cancellations
        sweep_at = self.engine.next_sweep_at()
        if sweep_at is not None and sweep_at <= self._loop.time():
            self.engine.sweep(self._loop.time())
        self.most_running = max(self.most_running, self.engine.running())
