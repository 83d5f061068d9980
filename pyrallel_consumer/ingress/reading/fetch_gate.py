"""What the poll thread does while it has no credit to read: hold back for a moment, then pause. Pure.

So a blocked loop stops the reading too.
"""

from __future__ import annotations

from enum import Enum

HOLD_SECONDS_EACH = 0.0003
"""How long a want of credit is waited out for each partition, where that is longer; 0.6 s for 2,000."""


class GateState(Enum):
    """What the poll thread does next."""

    READ = "read"
    HOLD = "hold"
    PAUSED = "paused"


class FetchGate:
    """Read while there is credit; without it hold back for a moment, and pause when that lasts.

    Pausing throws away what the client has fetched ahead, so a short want of credit is waited out: longer with many
    partitions, for each of them is paused, resumed and fetched anew.
    """

    def __init__(self, hold_seconds: float = 0.1) -> None:
        self._least_seconds = self._hold_seconds = hold_seconds
        self._since: float | None = None

    def step(self, credit: int, now: float, partitions: int = 1) -> GateState:
        """The state for a credit of so many messages at ``now``, while so many partitions are assigned."""
        self._hold_seconds = max(self._least_seconds, partitions * HOLD_SECONDS_EACH)
        if credit > 0:
            self._since = None
            return GateState.READ
        if self._since is None:
            self._since = now
        return GateState.HOLD if self.hold_remaining(now) > 0 else GateState.PAUSED

    def hold_remaining(self, now: float) -> float:
        """Seconds for which holding back is still right."""
        return 0.0 if self._since is None else max(0.0, self._since + self._hold_seconds - now)
