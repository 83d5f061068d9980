"""An engine that calls no worker: what the library costs without one, which is the floor under every engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.execution_plane.engine import CompletionChannel, EngineStatus, ExecutionEngine, StuckAttempt


class InstantEngine(ExecutionEngine):
    """Every item has succeeded when it is submitted; ``note`` gets their number."""

    def __init__(self, slots: int, note: Callable[[int], None]) -> None:
        self._slots = slots
        self._note = note

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:  # noqa: ARG002 -- the contract
        self._channel = channel

    def capacity(self) -> int:
        return self._slots

    def submit(self, item: WorkItem) -> None:
        self.submit_all((item,))

    def submit_all(self, items: Sequence[WorkItem]) -> None:
        self._note(len(items))
        self._channel.successes += items
        self._channel.notify()

    def sweep(self, now: float) -> None: ...

    def next_sweep_at(self) -> float | None:
        return None

    def running(self, which: Callable[[WorkItem], bool] | None = None) -> int:  # noqa: ARG002 -- nothing ever runs
        return 0

    def waiting(self) -> Sequence[WorkItem]:
        return ()

    def withdraw(self, which: Callable[[WorkItem], bool]) -> None: ...

    def cancel(self, which: Callable[[WorkItem], bool]) -> None: ...

    def stuck(self, now: float) -> Sequence[StuckAttempt]:  # noqa: ARG002 -- nothing ever runs
        return ()

    def status(self) -> EngineStatus:
        return EngineStatus(running=0, waiting_retries=0, due=0, retries_total=0, timeouts_total=0)

    async def stop(self, timeout_seconds: float) -> None: ...
