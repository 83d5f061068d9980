"""Whether the group may have given our partitions to other members while this process hung. Pure.

A frozen process, a blocked loop or a suspended machine sends no heartbeat, and after the session timeout other members
handle our messages. Only one thing then proves that we are still a member: the group's coordinator confirms a commit
that was sent after the gap. Until then no attempt may start.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.events import CommitAnswered

GAP_SECONDS: Final = 2.0
"""A longer gap raises the doubt, whatever the session timeout: even an idle loop ticks eight times a second."""


def gap_seconds(session_seconds: float) -> float:
    """The longest gap that cannot end the membership: at least three heartbeats are sent per session timeout."""
    return min(GAP_SECONDS, session_seconds / 2)


class Membership:
    """Raises a doubt after each gap that is longer than ``gap_seconds``, and keeps it until a commit is confirmed."""

    def __init__(self, gap_seconds: float = GAP_SECONDS) -> None:
        self._gap_seconds = gap_seconds
        self._alive_at: float | None = None
        self._doubted_after: int | None = None

    @property
    def is_doubted(self) -> bool:
        """Whether no attempt may start."""
        return self._doubted_after is not None

    @property
    def starts_until(self) -> float:
        """Until when attempts may start without another look; ``-inf`` while the membership is doubted."""
        if self._doubted_after is not None:
            return -inf
        return inf if self._alive_at is None else self._alive_at + self._gap_seconds

    def live(self, now: float, last_commit: int) -> float:
        """The event loop runs at ``now``. Returns the length of the gap before ``now``, 0.0 if there was none.

        ``last_commit`` is the number of the last commit that was sent: this commit and earlier ones prove nothing.
        """
        before, self._alive_at = self._alive_at, now
        if before is None or now - before <= self._gap_seconds:
            return 0.0
        self.doubt(last_commit)
        return now - before

    def doubt(self, last_commit: int) -> None:
        """There was a gap, and commits up to number ``last_commit`` were sent before its end."""
        self._doubted_after = last_commit if self._doubted_after is None else max(self._doubted_after, last_commit)

    def answered(self, answered: CommitAnswered) -> bool:
        """A commit was answered. Returns whether this ends the doubt.

        One confirmed partition is enough: the coordinator checks the member before it looks at partitions.
        """
        after = self._doubted_after
        if after is None or answered.number <= after or None not in answered.errors.values():
            return False
        self._doubted_after = None
        return True
