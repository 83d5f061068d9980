"""A logger that repeats a message only now and then, for errors that a client repeats many times a second.

Keeps one record per key; the keys are names of errors and of a client's facilities, so there are few. Belongs to one
thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pyrallel_consumer.log import Log

INTERVAL_SECONDS: Final = 10.0


class LogThrottle:
    """Logs the first message of a key at once, then one per interval with the number of messages left out."""

    def __init__(self, logger: Log, clock: Callable[[], float], interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._logger = logger
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._logged_at: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def log(self, level: int, key: str, message: str, extra: Mapping[str, object] | None = None) -> None:
        """Log ``message``, unless a message of the same ``key`` was logged within the interval."""
        now = self._clock()
        if now - self._logged_at.get(key, float("-inf")) < self._interval_seconds:
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return
        self._logged_at[key] = now
        left_out = self._left_out.pop(key, 0)
        more = f" (and {left_out} more like it since)" if left_out else ""
        self._logger.log(level, "%s%s", message, more, extra=extra)
