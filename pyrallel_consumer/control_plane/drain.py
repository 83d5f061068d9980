"""The bounded wait for running work, at a revoke and at the stop: wait, then cancel, then go on without it."""

from __future__ import annotations

from enum import Enum


class DrainStep(Enum):
    """The next action of the drain. ``CANCEL`` comes once."""

    WAIT = "wait"
    CANCEL = "cancel"
    DONE = "done"


class Drain:
    """One deadline for all running work, and then a short time in which cancelled work may end."""

    def __init__(self, deadline: float, settle_seconds: float = 0.1) -> None:
        self.deadline = deadline
        self._settle_seconds = settle_seconds
        self._is_cancelled = False

    def step(self, running: int, now: float) -> DrainStep:
        """The next step, while ``running`` attempts still run at ``now``."""
        if running == 0:
            return DrainStep.DONE
        if now < self.deadline:
            return DrainStep.WAIT
        if not self._is_cancelled:
            self._is_cancelled = True
            self.deadline = max(self.deadline, now)
            return DrainStep.CANCEL
        return DrainStep.DONE if now >= self.deadline + self._settle_seconds else DrainStep.WAIT

    @property
    def next_step_at(self) -> float:
        """When ``step`` must be asked again at the latest."""
        return self.deadline + self._settle_seconds if self._is_cancelled else self.deadline
