"""Whether the group may have given our partitions to others, because the coordinator does not answer. Pure.

If the network drops a member's packets, its heartbeats never arrive. With the classic protocol the client itself gives
its partitions up when the session is over. With KIP-848 only the broker knows the session, and the client goes on with
its messages until it is told. A commit that stays unanswered for half a session shows the problem in time: others get
the partitions only after a whole session. While messages finish, a commit is under way nearly all the time.
"""

from __future__ import annotations

from typing import Final

DEFAULT_SESSION_SECONDS: Final = 45.0
"""Kafka's ``group.consumer.session.timeout.ms``: what counts until the broker has told its own."""
SHARE: Final = 0.5


class CoordinatorSilence:
    """Looks at the commit under way. ``session_seconds`` is the group's session, as far as it is known."""

    def __init__(self) -> None:
        self.session_seconds = DEFAULT_SESSION_SECONDS
        self._told_of: float | None = None

    def look(self, now: float, sent_at: float | None) -> float:
        """How long the commit of ``sent_at`` has been unanswered, if that is at least half a session.

        0.0 otherwise; each commit is reported once. ``sent_at`` is None if no commit is under way.
        """
        if sent_at is None or sent_at == self._told_of or now - sent_at < SHARE * self.session_seconds:
            return 0.0
        self._told_of = sent_at
        return now - sent_at
