"""What the poll thread does without credit: wait for a moment, then pause fetching. Pure.

So a blocked loop also stops the reading.
"""

from __future__ import annotations

from enum import Enum

HOLD_SECONDS_EACH = 0.0003
"""How long a lack of credit is waited out per partition, if that is longer; 0.6 s for 2,000 partitions."""


class GateState(Enum):
    """The next step of the poll thread."""

    READ = "read"
    HOLD = "hold"
    PAUSED = "paused"


class FetchGate:
    """Read while there is credit; without it wait for a moment, and pause if that lasts.

    Pausing discards messages that the client has fetched ahead, so a short lack of credit is waited out. With many
    partitions the wait is longer, because each of them would be paused, resumed and fetched again.
    """

    def __init__(self, hold_seconds: float = 0.1) -> None:
        self._least_seconds = self._hold_seconds = hold_seconds
        self._since: float | None = None

    def step(self, credit: int, now: float, partitions: int) -> GateState:
        """The state at ``now``, with a credit of ``credit`` messages and ``partitions`` assigned partitions."""
        self._hold_seconds = max(self._least_seconds, partitions * HOLD_SECONDS_EACH)
        if credit > 0:
            self._since = None
            return GateState.READ
        if self._since is None:
            self._since = now
        return GateState.HOLD if self.hold_remaining(now) > 0 else GateState.PAUSED

    def hold_remaining(self, now: float) -> float:
        """Seconds for which waiting is still right."""
        return 0.0 if self._since is None else max(0.0, self._since + self._hold_seconds - now)
