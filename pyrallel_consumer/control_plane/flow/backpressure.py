"""Decides from the load when to pause and resume. The load is all read, unfinished messages, and their bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.policies import FlowLimits

RESUME_FREES = 0.3
"""Fetching resumes when this share of the buffer is free again; the part that failing keys occupy does not count."""


class Load(NamedTuple):
    """Messages that are read and not finished. ``blocked`` of them wait for failing keys."""

    messages: int
    size_bytes: int
    blocked: int = 0

    @property
    def blocked_part(self) -> float:
        """The blocked part of the messages, which is about the blocked part of the bytes."""
        return min(1.0, self.blocked / self.messages) if self.messages else 0.0


class Backpressure:
    """How many more messages may be read now: none once the load reaches a limit, until it has fallen well below."""

    def __init__(self, limits: FlowLimits) -> None:
        self._limits = limits
        self.message_bytes = 1.0
        self.is_active = False

    def observe_size(self, messages: int, size_bytes: int) -> None:
        """Learn the size of messages from a read: a larger size at once, a smaller one gradually."""
        mean = size_bytes / messages
        self.message_bytes = max(1.0, mean, self.message_bytes + (mean - self.message_bytes) / 16)

    def room(self, load: Load) -> int:
        """How many messages may be read beyond ``load``. With nothing loaded it is at least one."""
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
