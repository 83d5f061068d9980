"""After a failed attempt: how long to wait before the next one, or to give up.

Pure formulas over ``RetryPolicy`` and what the worker raised; randomness comes in as a number in [0, 1).
Nothing that a worker raises makes these functions raise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pyrallel_consumer.errors import DoNotRetry, RetryLater

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.policies import RetryPolicy

_MAX_DOUBLINGS = 62
"""Doubling further changes no wait that a person would configure, and a huge power costs memory and time."""


def backoff_ms(policy: RetryPolicy, attempt: int, jitter: float) -> float:
    """Milliseconds between the end of failed attempt ``attempt`` (1-based) and the start of the next one.

    ``jitter`` in [0, 1) is the share of ``policy.jitter_ms`` that is added on top of the bounded backoff.
    """
    if policy.exponential:
        backoff = policy.backoff_ms << min(attempt - 1, _MAX_DOUBLINGS)
    else:
        backoff = policy.backoff_ms * attempt
    return min(backoff, policy.max_backoff_ms) + jitter * policy.jitter_ms


def next_wait_ms(policy: RetryPolicy, attempt: int, error: BaseException, jitter: float) -> float | None:
    """Milliseconds until the attempt after ``attempt``, which failed with ``error``; None = there is none.

    ``RetryLater`` sets its own wait, without jitter and without the upper bound, and ``DoNotRetry`` ends it at once.
    """
    if attempt >= policy.max_attempts or isinstance(error, DoNotRetry):
        return None
    if isinstance(error, RetryLater):
        delay: object = error.delay_ms
        # A subclass of the user's may hold anything here; what is no duration falls back to the usual backoff.
        if isinstance(delay, int | float) and math.isfinite(delay) and delay >= 0:
            return delay
    return backoff_ms(policy, attempt, jitter)
