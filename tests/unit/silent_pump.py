"""A pump without a poll thread: its grants and commands go nowhere."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable

from pyrallel_consumer.control_plane.events import Commit, Pause, Resume
from pyrallel_consumer.control_plane.offsets.commit_sequence import CommitSequence
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.execution_plane.engine import ExecutionEngine
from pyrallel_consumer.runtime.pump.control_loop import ControlLoop


class Silent:
    def grant(self, total: int) -> None: ...
    def commit(self, command: Commit) -> None: ...
    def pause(self, command: Pause) -> None: ...
    def resume(self, command: Resume) -> None: ...


async def silent_pump(
    manager: WorkManager,
    engine: ExecutionEngine,
    failures: list[BaseException],
    clock: Callable[[], float] | None = None,
    boot_clock: Callable[[], float] | None = None,
) -> ControlLoop:
    """One on the running loop, with its engine started; facts may be delivered, and ``start(Silent())`` begins it."""
    loop = asyncio.get_running_loop()
    control = ControlLoop(
        manager=manager,
        commits=CommitSequence(manager, 1.0),
        engine=engine,
        revoke_grace_seconds=0.1,
        loop=loop,
        base=contextvars.copy_context(),
        fail=failures.append,
        clock=clock,
        boot_clock=boot_clock,
    )
    await engine.start(control.channel, clock or loop.time)
    return control
