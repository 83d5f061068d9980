"""The latest figures of the engine, read for each snapshot.

If a user's engine raises, the other figures are still shown.
"""

from __future__ import annotations

from collections.abc import Callable

from pyrallel_consumer.execution_plane.engine import ExecutionEngine
from pyrallel_consumer.observability.snapshot import EngineFigures


class EngineLook:
    """``note_failure`` takes the action and the error. Until the engine has started, all figures are 0."""

    def __init__(self, engine: ExecutionEngine, note_failure: Callable[[str, Exception], None]) -> None:
        self.is_started = False
        self.free_slots = 0
        self.figures = EngineFigures()
        self._engine = engine
        self._note_failure = note_failure

    def look(self, now: float) -> None:
        """Read the figures. If the engine raises, the last ones stay."""
        if not self.is_started:
            return
        engine = self._engine
        try:
            self.free_slots = engine.capacity()
            status = engine.status()
            self.figures = EngineFigures(
                running=status.running,
                waiting_retries=status.waiting_retries,
                retries_total=status.retries_total,
                timeouts_total=status.timeouts_total,
                stuck=len(engine.stuck(now)),
                batches=status.batches,
            )
        except Exception as error:  # noqa: BLE001 -- a user's engine may raise anything
            self._note_failure("asking the engine how it is", error)
