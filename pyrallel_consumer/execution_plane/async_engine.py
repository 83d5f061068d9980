"""The async engine: ``AsyncEngine`` is the form that is fastest on this Python.

From Python 3.12 on a task can take its first step while it is made (*eager*), which is all there is to do for a worker
that does not wait. Before that, driver tasks step the messages (``driver_engine``). Both keep the same contract.
"""

from __future__ import annotations

import sys
from asyncio import Task
from typing import TYPE_CHECKING

from pyrallel_consumer.execution_plane.driver_engine import DriverEngine
from pyrallel_consumer.execution_plane.task_engine import TaskEngine

if TYPE_CHECKING:
    from pyrallel_consumer.dto import WorkItem

_SWEEP_SECONDS = 0.002
"""How long one sweep may start retries before the loop's other callbacks have a turn."""


if sys.version_info >= (3, 12):

    class EagerEngine(TaskEngine):
        """One task per attempt, begun on the spot. An attempt that never waits leaves no trace in the books."""

        def submit(self, item: WorkItem) -> None:
            # The context must be one that nobody has entered: an eager task in an entered one takes the loop down.
            task = Task(self._run(item, item), loop=self._loop, eager_start=True, context=self._base.copy())
            if not task.done():
                self._attempts.start(item, self._now(), task)

        def _start_due(self, now: float) -> None:
            give_way_at = self._now() + _SWEEP_SECONDS
            while started := self._attempts.due(now, 1):
                [attempt] = started
                run = self._run(attempt.root, attempt.item)
                task = Task(run, loop=self._loop, eager_start=True, context=self._base.copy())
                if not task.done():
                    attempt.handle = task
                if self._now() >= give_way_at:
                    self._channel.notify()  # What is still due is found by the sweep of the turn that this brings.
                    break

    AsyncEngine: type[TaskEngine] = EagerEngine
else:
    AsyncEngine: type[TaskEngine] = DriverEngine
