"""The frozen choices that the control plane and the engines obey, already validated by ``config``."""

from __future__ import annotations

from dataclasses import dataclass

from pyrallel_consumer.dto import BatchBy, NullKeyOrdering, OrderingMode


@dataclass(frozen=True, slots=True)
class OrderingPolicy:
    """What is kept in order, and what becomes of messages without a key."""

    mode: OrderingMode = OrderingMode.KEY_HASH
    null_keys: NullKeyOrdering = NullKeyOrdering.UNORDERED


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """How much of what workers returned may wait for the broker before nothing more is started."""

    max_records: int = 10_000
    max_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """Bounds on what is read and not finished, of the whole consumer. Both at least 1."""

    max_messages: int = 5000
    max_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts of one message and the waits between them; ``timeout_ms`` is per attempt, 0 = none.

    ``shows_error_text``: whether the log has the text of what a failed attempt raised.
    """

    max_attempts: int = 3
    backoff_ms: int = 1000
    exponential: bool = True
    max_backoff_ms: int = 30_000
    jitter_ms: int = 200
    timeout_ms: int = 30_000
    shows_error_text: bool = True


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """Seconds from which on something counts as standing still."""

    loop_blocked_seconds: float = 30.0
    poll_silent_seconds: float = 300.0
    partition_stuck_seconds: float = 60.0
    partition_blocked_seconds: float = 120.0
    is_ready_without_partitions: bool = False


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How batches are put together. ``size`` and ``max_bytes`` are bounds of one, ``linger_seconds`` of the wait."""

    size: int = 1
    max_bytes: int = 1 << 20
    linger_seconds: float = 0.02
    by: BatchBy = BatchBy.ANY
