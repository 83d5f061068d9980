"""A third party's engine that breaks the contract on request; by default it keeps it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.execution_plane.engine import CompletionChannel, EngineStatus, ExecutionEngine, StuckAttempt


class ThirdPartyEngine(ExecutionEngine):
    """Ends each item as it is submitted, by ``complete``; an exception of ``complete`` leaves ``submit``."""

    def __init__(
        self, complete: Callable[[CompletionChannel, WorkItem], None] = CompletionChannel.succeeded, slots: int = 10
    ) -> None:
        self.submitted: list[WorkItem] = []
        self.start_error: Exception | None = None
        self.stop_error: Exception | None = None
        self._complete = complete
        self._slots = slots

    async def start(self, channel: CompletionChannel, now: Callable[[], float]) -> None:
        if self.start_error is not None:
            raise self.start_error
        self._channel = channel

    def capacity(self) -> int:
        return self._slots

    def submit(self, item: WorkItem) -> None:
        self.submitted.append(item)
        self._complete(self._channel, item)

    def sweep(self, now: float) -> None:
        """Nothing is ever due."""

    def next_sweep_at(self) -> float | None:
        return None

    def running(self, which: Callable[[WorkItem], bool] | None = None) -> int:
        return 0

    def waiting(self) -> Sequence[WorkItem]:
        return ()

    def withdraw(self, which: Callable[[WorkItem], bool]) -> None:
        """Nothing ever waits."""

    def cancel(self, which: Callable[[WorkItem], bool]) -> None:
        """Nothing ever runs on."""

    def stuck(self, now: float) -> Sequence[StuckAttempt]:
        return ()

    def status(self) -> EngineStatus:
        return EngineStatus(running=0, waiting_retries=0, due=0, retries_total=0, timeouts_total=0)

    async def stop(self, timeout_seconds: float) -> None:
        if self.stop_error is not None:
            raise self.stop_error
