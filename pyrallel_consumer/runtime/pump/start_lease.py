"""Until when the engine may begin attempts: renewed while the event loop turns, taken away after a gap in time.

``Membership`` decides. This class reads the loop's clocks, tells the engine, and logs.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from pyrallel_consumer.control_plane.events import CommitAnswered, CoordinatorSilent, PollThreadFroze
from pyrallel_consumer.control_plane.membership import Membership
from pyrallel_consumer.control_plane.offsets.commit_sequence import CommitSequence
from pyrallel_consumer.execution_plane.engine import CompletionChannel, ExecutionEngine
from pyrallel_consumer.log import Log

logger = Log("pyrallel_consumer.start_lease")

TELL_SECONDS: Final = 10.0
"""A loop that is blocked again and again is logged once in this time."""
REMIND_SECONDS: Final = 30.0
"""How often the log says that starts are still held back."""


class StartLease:
    """Belongs to the event loop. ``clock`` is the engine's; ``boot_clock`` also counts suspended time."""

    def __init__(
        self,
        membership: Membership,
        commits: CommitSequence,
        engine: ExecutionEngine,
        channel: CompletionChannel,
        *,
        clock: Callable[[], float],
        boot_clock: Callable[[], float],
    ) -> None:
        self._membership = membership
        self._commits = commits
        self._engine = engine
        self._channel = channel
        self._clock = clock
        self._boot_clock = boot_clock
        self._doubted_at = 0.0
        self._told_at = -inf
        self._has_told = False

    @property
    def is_held(self) -> bool:
        """Whether nothing may start until the coordinator has confirmed a commit."""
        return self._membership.is_doubted

    def may_start(self) -> bool:
        """Whether messages may start at this moment: there may have been a gap since the turn began."""
        return self._boot_clock() <= self._membership.starts_until

    def held_seconds(self, now: float) -> float:
        """For how long starts have been held back, 0.0 if they are allowed."""
        return now - self._doubted_at if self.is_held else 0.0

    def renew(self, now: float) -> None:
        """The loop turns: the engine may go on starting attempts, unless there was a gap before ``now``."""
        awake_at = self._boot_clock()
        gap = self._membership.live(awake_at, self._commits.sent)
        if gap:
            self._hold(now, f"this process stood still for {gap:.1f} s (a blocked event loop, a stop or a suspend)")
        self._let_start(now, awake_at)

    def tick(self, now: float) -> None:
        """Renew, and let the engine check: it may have attempts that it could not start, or processes to notify."""
        self.renew(now)
        self._engine.heed_lease()
        if self.is_held and now - self._told_at >= REMIND_SECONDS:
            self._told_at = now
            logger.warning(
                "nothing has been started for %.0f s: the group's coordinator has not confirmed a commit since",
                self.held_seconds(now),
            )

    def doubt(self, fact: PollThreadFroze | CoordinatorSilent) -> None:
        """Other members may have got the partitions, and this one was not told."""
        now = self._clock()
        self._membership.doubt(fact.last_commit)
        what = "the poll thread stood still" if isinstance(fact, PollThreadFroze) else "the coordinator did not answer"
        self._hold(now, f"{what} for {fact.seconds:.1f} s")
        self._let_start(now, self._boot_clock())

    def answered(self, answered: CommitAnswered) -> None:
        """The coordinator's answer to a commit."""
        if not self._membership.answered(answered):
            return
        now = self._clock()
        if self._has_told:
            logger.warning(
                "the coordinator confirmed a commit after %.2f s: messages are started again", now - self._doubted_at
            )
        self._has_told = False
        self._let_start(now, self._boot_clock())
        self._engine.heed_lease()

    def _hold(self, now: float, what: str) -> None:
        self._doubted_at = now
        self._commits.hurry()
        if now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            self._has_told = True
            logger.warning(
                "%s: other members may have taken its partitions over, so nothing is started until the group's "
                "coordinator has confirmed a commit",
                what,
            )

    def _let_start(self, now: float, awake_at: float) -> None:
        until = self._channel.starts_until_boot = self._membership.starts_until
        self._channel.starts_until = now + (until - awake_at)
