"""Which partitions have taken more than their share of the buffer of read messages. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.flow.backpressure import RESUME_FREES
from pyrallel_consumer.control_plane.flow.buffer_parts import RESERVED

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.flow.backpressure import Load
    from pyrallel_consumer.control_plane.flow.buffer_parts import BufferParts
    from pyrallel_consumer.control_plane.policies import FlowLimits
    from pyrallel_consumer.dto import TopicPartition

REVIEWS_BEFORE_PAUSE = 2
"""Pausing discards messages that the client has fetched ahead, so a short lack of room is waited out."""


class FairShares:
    """Keeps room for every partition, even if others are hot or stuck.

    Each partition has a reserve of half an equal share of the buffer; the rest of the buffer is common. So one hot
    partition may take more than half, and no number of hot partitions takes the last room of the others. When the
    common part is used up and a partition has reserve left, nothing is read for a moment. If that lasts, the partitions
    that have used up their reserve pause, and the others read on. They resume with the same hysteresis as the whole.
    """

    def __init__(self, limits: FlowLimits) -> None:
        self._limits = limits
        self._is_short = False
        self._short_reviews = 0

    def certain_room(self, load: Load, message_bytes: float) -> int | None:
        """A lower bound of ``room`` that is known without a look at single partitions; None if it is time for that
        look.

        While the whole load fills less than half of the common part, no partition can have touched a reserve.
        """
        limits = self._limits
        part = load.messages / limits.max_messages + load.size_bytes / limits.max_bytes
        spare = 1.0 - RESERVED - part
        if self._is_short or spare < (1.0 - RESERVED) / 2:
            return None
        return max(1, int(min(spare * limits.max_messages, spare * limits.max_bytes / message_bytes)))

    def room(self, parts: BufferParts, message_bytes: float) -> int:
        """How many messages of open partitions may be read before one partition takes the reserve of another."""
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
        """The partitions that are full. Called at every tick."""
        if len(parts) <= 1:
            return set()
        parts.search()
        self._look(parts)
        self._short_reviews = self._short_reviews + 1 if self._is_short else 0
        return parts.above() if self._short_reviews >= REVIEWS_BEFORE_PAUSE else set()

    def pass_over(self) -> None:
        """A tick at which ``certain_room`` had an answer: no partition can be full."""
        self._short_reviews = 0

    def _look(self, parts: BufferParts) -> None:
        """Note whether the common part is short: from the moment it is used up until enough of it is free again."""
        spare = parts.spare
        if self._is_short:
            takeable = spare + parts.total
            self._is_short = spare < max(parts.message, RESUME_FREES * (takeable - parts.blocked))
        else:
            self._is_short = spare < parts.message and not parts.is_all_above
