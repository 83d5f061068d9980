"""Finds worker processes whose event loop hangs, and kills them."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from pyrallel_consumer.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrallel_consumer.execution_plane.processes.parent.members.loop_member import LoopMember

logger = Log("pyrallel_consumer.execution_plane")

HUNG_SECONDS: Final = 2.0
"""A loop that has not run for this much longer than a timeout hangs: its process is killed."""


class HungLoops:
    """``timeout_seconds`` is how long an attempt may take; without one no loop is said to hang.

    ``look_at`` is when ``look`` must be called at the latest, None while nothing can hang.
    """

    def __init__(self, timeout_seconds: float | None) -> None:
        self._timeout_seconds = timeout_seconds
        self.look_at: float | None = None

    def note_sent(self, now: float) -> None:
        """A message was sent to a process."""
        if self.look_at is None and self._timeout_seconds is not None:
            self.look_at = now + self._timeout_seconds

    def look(self, members: Iterable[LoopMember], now: float) -> None:
        """Kill each process whose loop has not gone round for longer than an attempt may take.

        Twice in a row: after a pause of the whole machine the processes need a moment as well.
        """
        if self.look_at is None or self.look_at > now or (timeout := self._timeout_seconds) is None:
            return
        looks = []
        for member in members:
            oldest = member.sent.oldest_begun()
            if oldest is None or member.child.is_killed:
                member.hung_at = None
                if member.is_busy:
                    looks.append(now + timeout)
                continue
            due_at = oldest.started_at + timeout
            turned_at = member.marker.turned_at
            still_seconds = monotonic() - turned_at
            if due_at > now or still_seconds < timeout + HUNG_SECONDS:
                member.hung_at = None
                looks.append(max(due_at, now + HUNG_SECONDS / 4))
            elif member.hung_at != turned_at:
                member.hung_at = turned_at
                looks.append(now + HUNG_SECONDS / 4)
            else:
                member.why_killed = f"killed: its event loop had been kept busy for {still_seconds:.1f} s"
                logger.warning("worker process %d is %s", member.child.pid, member.why_killed)
                member.child.kill()
        self.look_at = min(looks, default=None)
