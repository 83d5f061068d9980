"""What a program changes in a running consumer: pauses of partitions, and the rate at which messages start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.control_plane.work_manager import WorkManager
    from pyrallel_consumer.dto import TopicPartition
    from pyrallel_consumer.execution_plane.engine import ExecutionEngine
    from pyrallel_consumer.runtime.pump.control_loop import ControlLoop


class Steering:
    """Passes changes on to the work manager, and has the control loop carry them out: pauses at once."""

    def __init__(
        self, manager: WorkManager, control: ControlLoop, engine: ExecutionEngine, clock: Callable[[], float]
    ) -> None:
        self._manager = manager
        self._control = control
        self._engine = engine
        self._clock = clock

    def pause_partition(self, tp: TopicPartition) -> None:
        """Fetch no more of ``tp``. Raises StateError if it is not assigned now."""
        if all(work.tp != tp for work in self._manager):
            raise StateError(f"{tp} is not assigned to this consumer: only what it has can be paused")
        self._manager.pause(tp, "user")
        self._control.send_pauses()

    def resume_partition(self, tp: TopicPartition) -> None:
        """End ``pause_partition`` and the pause after an exhausted message."""
        self._manager.resume(tp, "user")
        self._manager.resume(tp, "exhausted")
        self._control.send_pauses()
        self._control.wake()

    def pause(self) -> None:
        """Fetch no more of any partition, even one that is assigned later."""
        self._manager.pause_all()
        self._control.send_pauses()

    def resume(self) -> None:
        """Take back ``pause``, and the pauses of all partitions."""
        self._manager.resume_all()
        self._control.send_pauses()
        self._control.wake()

    def set_rate(self, max_per_second: float) -> None:
        """Start at most this many messages a second from now on, 0 for any number."""
        self._manager.rate.set(max_per_second, self._clock(), self._engine.status().retries_total)
        self._control.wake()
