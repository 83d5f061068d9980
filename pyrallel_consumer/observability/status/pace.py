"""Whether a consumer keeps up: decided from its backlog of unfinished messages, now and a while ago. Pure.

Kafka's lag does not help: while one message blocks a commit the lag grows, however quickly all others are finished.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

AT_EASE_SECONDS: Final = 2.0
"""A backlog that takes at most this long counts as none."""
AT_EASE_MESSAGES: Final = 100
STILL_SECONDS: Final = 5.0
"""A shorter time is not enough to say that no message finishes."""
NOTABLE_PART: Final = 0.05
"""A backlog that changed by less than this part of itself counts as unchanged."""


class Trend(StrEnum):
    """``idle``: no messages came and none are left. ``stands_still``: messages are left, and none finishes.

    ``steady``: there is a backlog, and it does not change.
    """

    IDLE = "idle"
    STANDS_STILL = "stands_still"
    KEEPS_UP = "keeps_up"
    CATCHES_UP = "catches_up"
    STEADY = "steady"
    FALLS_BEHIND = "falls_behind"


@dataclass(frozen=True, slots=True)
class Pace:
    """The backlog shrinks by ``per_second`` messages, grows if negative; it is gone in ``seconds_left``."""

    trend: Trend
    per_second: float = 0.0
    seconds_left: float | None = None


def pace(backlog: int, backlog_before: int, seconds: float, finished_per_second: float) -> Pace:
    """Judge the backlog now and ``backlog_before``, its size ``seconds`` ago, and the rate at which messages finish."""
    if backlog and not finished_per_second and seconds >= STILL_SECONDS:
        return Pace(Trend.STANDS_STILL)
    if backlog <= max(AT_EASE_MESSAGES, finished_per_second * AT_EASE_SECONDS):
        return Pace(Trend.KEEPS_UP if backlog or finished_per_second else Trend.IDLE)
    if seconds <= 0 or abs(backlog - backlog_before) <= NOTABLE_PART * backlog:
        return Pace(Trend.STEADY)
    per_second = (backlog_before - backlog) / seconds
    if per_second < 0:
        return Pace(Trend.FALLS_BEHIND, per_second)
    return Pace(Trend.CATCHES_UP, per_second, backlog / per_second)
