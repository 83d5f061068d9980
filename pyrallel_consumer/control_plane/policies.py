"""Settings in frozen form, for the control plane and the engines; ``config`` has validated them."""

from __future__ import annotations

from dataclasses import dataclass

from pyrallel_consumer.dto import BatchBy, NullKeyOrdering, OrderingMode


@dataclass(frozen=True, slots=True)
class OrderingPolicy:
    """Which order is kept, and how messages without a key are treated."""

    mode: OrderingMode = OrderingMode.KEY_HASH
    null_keys: NullKeyOrdering = NullKeyOrdering.UNORDERED


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """How many records may wait for the broker before no more messages start."""

    max_records: int = 10_000
    max_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """Limits for read and unfinished messages of the whole consumer. Both at least 1."""

    max_messages: int = 5000
    max_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts of one message and the waits between them; ``timeout_ms`` is per attempt, 0 = none.

    ``shows_error_text``: whether the log shows the text of a failed attempt's exception.
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
    """Seconds after which a part counts as hanging."""

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
