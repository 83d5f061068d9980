"""The attempts of an engine as tests begin with them."""

from __future__ import annotations

from pyrallel_consumer.control_plane.policies import RetryPolicy
from pyrallel_consumer.execution_plane.attempts import Attempts

POLICY = RetryPolicy(max_attempts=3, backoff_ms=1000, jitter_ms=0, timeout_ms=30_000)


def books(slots: int = 8, policy: RetryPolicy = POLICY) -> Attempts:
    return Attempts(policy, slots, jitter=lambda: 0.0)
