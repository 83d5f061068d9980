"""When a member that ended by itself is restarted, and the exit code of several members. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pyrallel_consumer.cli.command import EXIT_CUT_OFF, EXIT_FAILED, EXIT_OK, EXIT_USAGE

STEADY_SECONDS: Final = 30.0
"""A member that ran for this long is steady: the reason of its end does not prevent it from running."""
MOST_QUICK_ENDS: Final = 5
"""When one member has ended this often before it was steady, and no other is steady, all are given up."""
FIRST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 30.0


class Restarts:
    """One member's ends."""

    def __init__(self) -> None:
        self._quick_ends = 0

    def wait_seconds(self, code: int, lived_seconds: float, *, is_another_steady: bool) -> float | None:
        """How long to wait before it restarts; None: a restart is useless, and all members must end.

        ``code`` is its exit code. Settings that do not fit (``EXIT_USAGE``) fit no better the next time.
        """
        if code == EXIT_USAGE:
            return None
        if lived_seconds >= STEADY_SECONDS:
            self._quick_ends = 0
        self._quick_ends += 1
        if self._quick_ends >= MOST_QUICK_ENDS and not is_another_steady:
            return None
        return min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * (1 << min(self._quick_ends - 1, 10)))


def one_exit_code(codes: Sequence[int]) -> int:
    """The most serious exit code of all members."""
    for grave in (EXIT_USAGE, EXIT_FAILED):
        if grave in codes:
            return grave
    signalled = max((code for code in codes if code > EXIT_CUT_OFF), default=EXIT_OK)
    return signalled or (EXIT_CUT_OFF if EXIT_CUT_OFF in codes else EXIT_OK)
