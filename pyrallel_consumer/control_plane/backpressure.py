"""Load into pause and resume. Load is what was read and is not finished, in messages and in bytes.

``Backpressure`` and ``FairShares`` belong to the loop: how much more may be read in all, and which partition has taken
more than its part. ``FetchGate`` belongs to the poll thread: what to do while nothing may be read, so that a blocked
loop stops the reading too. None of them acts or knows the time but by what is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyrallel_consumer.control_plane.policies import FlowLimits
    from pyrallel_consumer.dto import TopicPartition

RESUME_FREES = 0.3
"""Share of the room not held by failing keys that must be free again before fetching resumes."""


@dataclass(frozen=True, slots=True)
class Load:
    """Read and not finished; ``blocked`` counts the messages held up by failing keys among them."""

    messages: int
    size_bytes: int
    blocked: int = 0


class Backpressure:
    """How many more messages may be read now: none from ``load >= limit`` on until load fell well below it."""

    def __init__(self, limits: FlowLimits) -> None:
        self._limits = limits
        self._message_bytes = 1.0
        self.is_active = False

    def observe_size(self, messages: int, size_bytes: int) -> None:
        """Learn the size of messages from a read; larger at once, smaller by and by."""
        mean = size_bytes / messages
        self._message_bytes = max(1.0, mean, self._message_bytes + (mean - self._message_bytes) / 16)

    def room(self, load: Load) -> int:
        """Messages that may be read beyond ``load``. One is always admissible when nothing is loaded."""
        limits = self._limits
        if self.is_active:
            free_share = RESUME_FREES * (1 - min(1.0, load.blocked / limits.max_messages))
            resumable = 1 - free_share
            is_low = (
                load.messages <= resumable * limits.max_messages and load.size_bytes <= resumable * limits.max_bytes
            )
            self.is_active = not is_low and load.messages > 0
        if not self.is_active:
            self.is_active = load.messages >= limits.max_messages or (
                load.size_bytes >= limits.max_bytes and load.messages > 0
            )
        if self.is_active:
            return 0
        by_bytes = int((limits.max_bytes - load.size_bytes) / self._message_bytes)
        return max(1, min(limits.max_messages - load.messages, by_bytes))


class FairShares:
    """Which partitions have filled their part of the buffer.

    Every other partition keeps a reserve of half an equal share; what is left is anybody's. So one hot partition may
    take more than half of the buffer, and never the last room of the others.
    """

    def __init__(self, limits: FlowLimits) -> None:
        self._limits = limits

    def review(self, loads: Mapping[TopicPartition, Load], full: set[TopicPartition]) -> set[TopicPartition]:
        """The partitions that are full now, given those that were; with the same hysteresis as the whole."""
        if len(loads) <= 1:
            return set()
        used = {tp: self._used(load) for tp, load in loads.items()}
        reserve = 0.5 / len(loads)
        reserved = sum(max(0.0, reserve - share) for share in used.values())
        now_full = set()
        for tp, share in used.items():
            bound = 1.0 - (reserved - max(0.0, reserve - share))
            blocked = min(bound, loads[tp].blocked / self._limits.max_messages)
            resumable = bound - RESUME_FREES * (bound - blocked)
            if share >= bound or (tp in full and share > resumable):
                now_full.add(tp)
        return now_full

    def _used(self, load: Load) -> float:
        return max(load.messages / self._limits.max_messages, load.size_bytes / self._limits.max_bytes)


class GateState(Enum):
    """What the poll thread does next."""

    READ = "read"
    HOLD = "hold"
    PAUSED = "paused"


class FetchGate:
    """Read while there is credit; without it hold back for a moment, and pause when that lasts.

    Pausing throws away what the client has fetched ahead, so a short want of credit is waited out.
    """

    def __init__(self, hold_seconds: float = 0.1) -> None:
        self._hold_seconds = hold_seconds
        self._since: float | None = None

    def step(self, credit: int, now: float) -> GateState:
        """The state for a credit of so many messages at ``now``."""
        if credit > 0:
            self._since = None
            return GateState.READ
        if self._since is None:
            self._since = now
        return GateState.HOLD if self.hold_remaining(now) > 0 else GateState.PAUSED

    def hold_remaining(self, now: float) -> float:
        """Seconds for which holding back is still right."""
        return 0.0 if self._since is None else max(0.0, self._since + self._hold_seconds - now)
