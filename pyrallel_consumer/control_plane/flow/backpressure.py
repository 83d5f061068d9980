"""Load into pause and resume. Load is what was read and is not finished, in messages and in bytes.

``Backpressure`` and ``FairShares`` belong to the loop: how much more may be read in all, and which partition has taken
more than its part. ``FetchGate`` belongs to the poll thread: what to do while nothing may be read, so that a blocked
loop stops the reading too. None of them acts or knows the time but by what is passed in.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from pyrallel_consumer.control_plane.flow.buffer_parts import RESERVED

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.flow.buffer_parts import BufferParts
    from pyrallel_consumer.control_plane.policies import FlowLimits
    from pyrallel_consumer.dto import TopicPartition

RESUME_FREES = 0.3
"""Share of the room not held by failing keys that must be free again before fetching resumes."""

REVIEWS_BEFORE_PAUSE = 2
"""Pausing throws away what the client has fetched ahead, so a short want of room is waited out."""


HOLD_SECONDS_EACH = 0.0003
"""How long a want of credit is waited out for each partition, where that is longer; 0.6 s for 2,000."""


class Load(NamedTuple):
    """Read and not finished; ``blocked`` counts the messages held up by failing keys among them."""

    messages: int
    size_bytes: int
    blocked: int = 0

    @property
    def blocked_part(self) -> float:
        """The part of the messages, and by and large of the bytes, that is blocked."""
        return min(1.0, self.blocked / self.messages) if self.messages else 0.0


class Backpressure:
    """How many more messages may be read now: none from ``load >= limit`` on until load fell well below it."""

    def __init__(self, limits: FlowLimits) -> None:
        self._limits = limits
        self.message_bytes = 1.0
        self.is_active = False

    def observe_size(self, messages: int, size_bytes: int) -> None:
        """Learn the size of messages from a read; larger at once, smaller by and by."""
        mean = size_bytes / messages
        self.message_bytes = max(1.0, mean, self.message_bytes + (mean - self.message_bytes) / 16)

    def room(self, load: Load) -> int:
        """Messages that may be read beyond ``load``. One is always admissible when nothing is loaded."""
        limits = self._limits
        if self.is_active:
            is_low = load.messages <= _resumable(limits.max_messages, load.blocked) and load.size_bytes <= _resumable(
                limits.max_bytes, load.size_bytes * load.blocked_part
            )
            self.is_active = not is_low and load.messages > 0
        if not self.is_active:
            self.is_active = load.messages >= limits.max_messages or (
                load.size_bytes >= limits.max_bytes and load.messages > 0
            )
        if self.is_active:
            return 0
        by_bytes = int((limits.max_bytes - load.size_bytes) / self.message_bytes)
        return max(1, min(limits.max_messages - load.messages, by_bytes))


def _resumable(limit: int, blocked: float) -> float:
    """The load at which fetching resumes."""
    return limit - RESUME_FREES * max(0.0, limit - blocked)


class FairShares:
    """Keeps room for every partition, however hot or stuck the others are.

    Each partition has a reserve of half an equal share of the buffer; what is left is anybody's. So one hot partition
    may take more than half, and no number of them takes the last room of the others. When all that is anybody's is
    taken, and a partition has some of its reserve left, nothing is read for a moment; when that lasts, the partitions
    that have had their reserve pause, and the others read on. The same hysteresis as for the whole ends it.
    """

    def __init__(self, limits: FlowLimits) -> None:
        self._limits = limits
        self._is_short = False
        self._short_reviews = 0

    def certain_room(self, load: Load, message_bytes: float) -> int | None:
        """A part of ``room`` that needs no look at single partitions, None where such a look is due.

        While the whole load fills less than half of what is anybody's, nobody can have touched a reserve.
        """
        limits = self._limits
        part = load.messages / limits.max_messages + load.size_bytes / limits.max_bytes
        spare = 1.0 - RESERVED - part
        if self._is_short or spare < (1.0 - RESERVED) / 2:
            return None
        return max(1, int(min(spare * limits.max_messages, spare * limits.max_bytes / message_bytes)))

    def room(self, parts: BufferParts, message_bytes: float) -> int:
        """How many messages may be read, of any partition that is not full, before one takes another's reserve."""
        limits = self._limits
        self._look(parts)
        if not self._is_short and parts.is_all_above:
            return limits.max_messages
        own = parts.own
        if self._is_short and not own:
            return 0
        free = (own + max(0, parts.spare)) / parts.whole
        return max(1, int(min(free * limits.max_messages, free * limits.max_bytes / message_bytes)))

    def review(self, parts: BufferParts) -> set[TopicPartition]:
        """The partitions that are full, to be asked at every tick."""
        if len(parts) <= 1:
            return set()
        parts.search()
        self._look(parts)
        self._short_reviews = self._short_reviews + 1 if self._is_short else 0
        return parts.above() if self._short_reviews >= REVIEWS_BEFORE_PAUSE else set()

    def pass_over(self) -> None:
        """A tick at which ``certain_room`` had an answer: nobody can be full."""
        self._short_reviews = 0

    def _look(self, parts: BufferParts) -> None:
        """Whether what is anybody's is short: it is when nothing of it is left, and until enough is free again."""
        spare = parts.spare
        if self._is_short:
            takeable = spare + parts.total
            self._is_short = spare < max(parts.message, RESUME_FREES * (takeable - parts.blocked))
        else:
            self._is_short = spare < parts.message and not parts.is_all_above


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
