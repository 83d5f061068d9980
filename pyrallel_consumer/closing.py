"""The end of a consumer, step by step: drain, commit, leave the group. Every step has its bound.

Whatever happens, nothing unfinished is committed: what is cut off here runs again. It may be run a second time, as an
abort, when the first one was interrupted: each step finds what is left of it to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from pyrallel_consumer.control_loop import ControlLoop
from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.ingress.broker_poller import BrokerPoller

CANCEL_SECONDS: Final = 1.0
"""How long cancelled workers may take to end."""
COMMIT_SECONDS: Final = 5.0
"""How long the last commits may take."""
LEAVE_SECONDS: Final = 5.0
"""How long leaving the group may take; then the poll thread is abandoned."""
ABORT_SECONDS: Final = 3.0
"""How long all that is left may take after an abort."""


class Closing:
    """Closes the parts of one consumer, on their loop. ``abort`` may come at any time, before and during ``run``."""

    def __init__(
        self, control: ControlLoop, poller: BrokerPoller, *, drain_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._control = control
        self._poller = poller
        self._drain_seconds = drain_seconds
        self._clock = clock
        self._aborted_at: float | None = None

    @property
    def is_aborted(self) -> bool:
        """Whether what runs is not waited for."""
        return self._aborted_at is not None

    def abort(self) -> None:
        """Cancel what runs, and be quick about the rest."""
        if self._aborted_at is None:
            self._aborted_at = self._clock()
        self._control.wake()

    async def run(self) -> None:
        """All steps; those that cannot be done any more are passed over."""
        for step in (self._drain, self._commit, self._leave):
            if self._control.is_broken:
                return
            await step()

    async def _drain(self) -> None:
        control = self._control
        control.manager.stop_all_dispatching()
        self._poller.stop_fetching()
        deadline = self._clock() + self._drain_seconds
        await control.until(lambda: self.is_aborted or self._is_drained(), deadline)
        if not self._is_drained():
            control.engine.cancel(_any_item)
            await control.until(self._is_drained, self._clock() + CANCEL_SECONDS)

    def _is_drained(self) -> bool:
        """Nothing runs, what failed for good is dead-lettered, and what else failed is not tried again here."""
        control = self._control
        control.engine.withdraw(_any_item)
        return control.engine.running() == 0 and not control.channel.has_items and not control.dead_letters

    async def _commit(self) -> None:
        control = self._control
        control.begin_final_commits()
        await self._until(lambda: not (control.commits.is_under_way or control.manager.has_uncommitted), COMMIT_SECONDS)

    async def _leave(self) -> None:
        if not self._control.has_poller_ended:
            self._poller.close(LEAVE_SECONDS)
        await self._until(lambda: False, LEAVE_SECONDS)

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        def is_over() -> bool:
            is_late = self._aborted_at is not None and self._clock() >= self._aborted_at + ABORT_SECONDS
            return holds() or is_late or self._control.has_poller_ended or not self._poller.is_alive

        await self._control.until(is_over, self._clock() + seconds)


async def until_done(future: Future[None], seconds: float | None = None) -> bool:
    """Wait for what a thread does, without a way to cancel it; returns whether it was done in time."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def tell(_: Future[None]) -> None:
        with suppress(RuntimeError):  # The loop was closed meanwhile: nobody waits any more.
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(tell)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await done.wait()
    return future.done()


def _any_item(_: WorkItem) -> bool:
    return True
