"""Whether another producer uses our transactional id: then both would fence each other forever. Pure."""

from __future__ import annotations

from typing import Final

WINDOW_SECONDS: Final = 60.0
"""One fencing may be the coordinator's own timeout, which looks the same; a second one so soon is somebody else."""


class FencingWatch:
    """Counts the times that this producer was fenced."""

    def __init__(self) -> None:
        self._fenced_at: float | None = None

    def fenced(self, now: float) -> bool:
        """It was fenced at ``now``. Returns whether that is the second time within ``WINDOW_SECONDS``."""
        before, self._fenced_at = self._fenced_at, now
        return before is not None and now - before <= WINDOW_SECONDS
