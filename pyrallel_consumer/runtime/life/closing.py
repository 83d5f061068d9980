"""The end of a consumer, step by step: drain, commit, leave the group. Every step has its bound.

Unfinished messages are never committed: a message that is cut off here runs again. If the first run was interrupted,
the steps may run a second time, as an abort: each step then does the rest of its work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.execution_plane.booked_engine import any_item
from pyrallel_consumer.log import Log
from pyrallel_consumer.runtime.life.cut_off import names_of
from pyrallel_consumer.runtime.pump.control_loop import ControlLoop
from pyrallel_consumer.runtime.surroundings import Poller

CANCEL_SECONDS: Final = 1.0
"""How long cancelled workers may take to end."""
COMMIT_SECONDS: Final = 5.0
"""How long the last commits may take."""
LEAVE_SECONDS: Final = 1.0
"""The time reserved for leaving the group, however long the last commits take; then the poll thread is abandoned."""
REST_SECONDS: Final = 8.0
"""How long all steps after the drain may take."""
ABORT_SECONDS: Final = 3.0
"""How long all remaining steps may take after an abort."""
LET_GO_SECONDS: Final = 2.0
"""How long worker processes, threads and the endpoint together may take to end. With this a stop takes at most the
drain and ten seconds, as the guide says."""

logger = Log("pyrallel_consumer")


class Closing:
    """Closes the parts of one consumer, on their loop. ``abort`` may come at any time, before and during ``run``."""

    def __init__(
        self, control: ControlLoop, poller: Poller, *, drain_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._control = control
        self._poller = poller
        self._drain_seconds = drain_seconds
        self._clock = clock
        self._aborted_at: float | None = None
        self._ends_at = float("inf")
        self.cut_off = 0
        """How many messages were still running when the wait for them ended: they run again."""

    @property
    def is_aborted(self) -> bool:
        """Whether the stop does not wait for running messages."""
        return self._aborted_at is not None

    def abort(self) -> None:
        """Cancel running messages, and hurry with the rest."""
        if self._aborted_at is None:
            self._aborted_at = self._clock()
        self._control.wake()

    async def run(self) -> None:
        """All steps; steps that are no longer possible are skipped."""
        for step in (self._drain, self._commit, self._leave):
            if self._control.is_broken:
                return
            await step()

    async def _drain(self) -> None:
        control = self._control
        control.begin_draining()
        self._poller.stop_fetching()
        deadline = self._clock() + self._drain_seconds
        await control.until(lambda: self.is_aborted or self._is_drained(), deadline)
        self._ends_at = self._clock() + REST_SECONDS
        if not self._is_drained():
            unfinished = control.unfinished()
            control.engine.cancel(any_item)
            await control.until(self._is_drained, self._clock() + CANCEL_SECONDS)
            self._tell_cut_off([item for item in unfinished if control.manager.is_current(item)])

    def _tell_cut_off(self, items: list[WorkItem]) -> None:
        """Called after the wait for cancelled messages: some of them may have succeeded nevertheless."""
        if not items:
            return
        self.cut_off += len(items)
        letters = len(self._control.dead_letters) if self._control.dead_letters else 0
        why = f"the drain took longer than {self._drain_seconds:g} s (shutdown_drain_timeout_ms)"
        logger.warning(
            "%s: %d messages were cut off and will run again%s: %s",
            "the consumer was aborted" if self.is_aborted else why,
            len(items),
            f" ({letters} of them wait for their dead letters)" if letters else "",
            names_of(items),
            extra={"cut_off": len(items)},
        )

    def _is_drained(self) -> bool:
        """Whether the drain is over: no message runs, permanently failed ones are dead-lettered, and records are
        written as far as possible. Other failed messages are not tried again here.
        """
        control = self._control
        control.engine.withdraw(any_item)
        return (
            control.engine.running() == 0
            and not control.channel.has_items
            and not control.dead_letters
            and not control.outstanding.has_records
        )

    async def _commit(self) -> None:
        control = self._control
        control.begin_final_commits()
        await self._until(
            lambda: not (control.commits.is_under_way or control.manager.has_uncommitted),
            COMMIT_SECONDS,
            kept_seconds=LEAVE_SECONDS,
        )

    async def _leave(self) -> None:
        if not self._control.has_poller_ended:
            self._poller.close(max(0.0, self._rest_ends_at - self._clock()))
        await self._until(lambda: False, REST_SECONDS)

    @property
    def _rest_ends_at(self) -> float:
        return self._ends_at if self._aborted_at is None else min(self._ends_at, self._aborted_at + ABORT_SECONDS)

    async def _until(self, holds: Callable[[], bool], seconds: float, *, kept_seconds: float = 0.0) -> None:
        def is_over() -> bool:
            is_late = self._clock() >= self._rest_ends_at - kept_seconds
            return holds() or is_late or self._control.has_poller_ended or not self._poller.is_alive

        await self._control.until(is_over, self._clock() + seconds)


async def until_done(future: Future[None], seconds: float | None = None) -> bool:
    """Wait for the future of a thread, without a way to cancel it; returns whether it was done in time."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def tell(_: Future[None]) -> None:
        with suppress(RuntimeError):  # The loop was closed meanwhile: no waiter is left.
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(tell)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await done.wait()
    return future.done()
