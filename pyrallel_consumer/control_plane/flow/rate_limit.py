"""Limits how many messages start per second: a token bucket over the whole consumer. Pure: time is passed in.

Tokens come in evenly. At most one token plus ``BURST_SECONDS`` worth of them is kept: a consumer that was idle does not
catch up at once, and one whose turn comes a little late loses nothing. Retries are never held back. They are charged
afterwards, and new messages make room for them.
"""

from __future__ import annotations

from typing import Final

BURST_SECONDS: Final = 0.1
"""This part of a second's messages may be started at once, and one more."""
STEP_SECONDS: Final = 0.005
"""At high rates the messages of this time are started together, not one by one."""


class RateLimit:
    """``max_per_second`` of 0 is no limit, and then only ``set`` may be called."""

    __slots__ = ("_limited_seconds", "_limited_since", "_retries", "_tokens", "_updated_at", "max_per_second")

    def __init__(self, max_per_second: float = 0.0) -> None:
        self.max_per_second = max_per_second
        self._tokens = 0.0
        self._updated_at: float | None = None
        self._retries = 0
        self._limited_since: float | None = None
        self._limited_seconds = 0.0

    @property
    def is_on(self) -> bool:
        return self.max_per_second > 0

    @property
    def is_limited(self) -> bool:
        """Whether messages wait only for the limit, according to the last ``take``."""
        return self._limited_since is not None

    def set(self, max_per_second: float, now: float, retries: int) -> None:
        """From ``now`` on another limit holds, or none; ``retries`` counts all retries so far."""
        if self.is_on:
            self._fill(now)
        else:
            self._retries = retries
        self._note(now, is_limited=False)
        self.max_per_second = max_per_second
        self._tokens = min(self._tokens, self._most)

    def allowed(self, most: int, now: float, retries: int) -> int:
        """How many of ``most`` messages may be started at ``now``; ``retries`` counts all retries so far."""
        self._fill(now)
        self._tokens -= retries - self._retries
        self._retries = retries
        return max(0, min(most, int(self._tokens)))

    def started(self, messages: int, now: float, *, is_more_ready: bool) -> None:
        """``messages`` were started at ``now``; ``is_more_ready``: without the limit there would have been more."""
        self._tokens -= messages
        self._note(now, is_limited=is_more_ready)

    def next_at(self, now: float) -> float:
        """When messages may be started again."""
        self._fill(now)
        wanted = max(1.0, self.max_per_second * STEP_SECONDS)
        return now + max(0.0, wanted - self._tokens) / self.max_per_second

    def limited_seconds(self, now: float) -> float:
        """How long, in total, messages have waited only for the limit."""
        return self._limited_seconds + (0.0 if self._limited_since is None else now - self._limited_since)

    @property
    def _most(self) -> float:
        return 1.0 + self.max_per_second * BURST_SECONDS

    def _fill(self, now: float) -> None:
        gained = self._most if self._updated_at is None else (now - self._updated_at) * self.max_per_second
        self._tokens = min(self._most, self._tokens + gained)
        self._updated_at = now

    def _note(self, now: float, *, is_limited: bool) -> None:
        if is_limited and self._limited_since is None:
            self._limited_since = now
        elif not is_limited and self._limited_since is not None:
            self._limited_seconds += now - self._limited_since
            self._limited_since = None
