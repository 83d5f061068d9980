"""The task that holds the lifespan on the consumer's event loop: the same task enters and leaves it, as task groups
require.

It runs in the context that all attempts copy. ``asyncio.run`` cancels all tasks at its end. This task then still waits
until the consumer, which is cancelled as well, says that the attempts have ended.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pyrallel_consumer.errors import LifespanError

if TYPE_CHECKING:
    from contextvars import Context

    from pyrallel_consumer.execution_plane.worker.lifespan import Lifespan

CANCEL_SECONDS: Final = 1.0
"""How long a cancelled lifespan may take to end."""


class LifespanTask:
    """Holds ``lifespan`` between ``enter`` and ``leave``, in the context ``base``. Belongs to the running loop."""

    def __init__(self, lifespan: Lifespan, base: Context) -> None:
        self._lifespan = lifespan
        self._base = base
        self._task: asyncio.Task[None] | None = None
        self._entered = asyncio.Event()
        self._leave = asyncio.Event()
        self._is_leaving = False

    async def enter(self) -> None:
        """Return when all is entered. Raises LifespanError if that fails. If cancelled, it leaves the contexts that it
        entered.
        """
        loop = asyncio.get_running_loop()
        # Not with create_task: a task factory belongs to the user, and is for the user's tasks.
        task = self._task = asyncio.Task(self._hold(), loop=loop, name="pyrallel-lifespan", context=self._base)
        entered = asyncio.ensure_future(self._entered.wait())
        try:
            await asyncio.wait({task, entered}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            entered.cancel()
        if task.done():
            task.result()

    async def leave(self, seconds: float) -> None:
        """Leave all; does nothing if nothing was entered. Raises LifespanError if that fails or takes longer."""
        task = self._task
        if task is None or (task.done() and not self._entered.is_set()):
            return
        if not self._entered.is_set():
            task.cancel()  # It was stopped while it entered the lifespan: it leaves the part that it had entered.
            await _ended(task, seconds)
            return
        self._is_leaving = True
        self._leave.set()
        if not await _ended(task, seconds):
            task.cancel()
            await _ended(task, CANCEL_SECONDS)
            raise LifespanError(f"the lifespan had not ended {seconds:g} s after the last attempt, and was cancelled")
        if task.cancelled():
            raise LifespanError("the lifespan was cancelled while it was left")
        task.result()

    def hurry(self) -> None:
        """Cancel a lifespan that is being left: the program is aborted."""
        if self._task is not None and self._is_leaving:
            self._task.cancel()

    async def _hold(self) -> None:
        await self._lifespan.enter()
        self._entered.set()
        while not self._leave.is_set():
            with suppress(asyncio.CancelledError):  # See the module's docstring.
                await self._leave.wait()
        await self._lifespan.leave()


async def _ended(task: asyncio.Task[None], seconds: float) -> bool:
    await asyncio.wait({task}, timeout=seconds)
    return task.done()
