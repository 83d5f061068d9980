"""Settings in frozen form, for the control plane and the engines; ``config`` has validated them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyrallel_consumer.dto import BatchBy, NullKeyOrdering, OnExhausted, OrderingMode, RebalanceStateStrategy

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.failures.failure_circuit import CircuitPolicy
    from pyrallel_consumer.control_plane.failures.poison_keys import PoisonPolicy


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


@dataclass(frozen=True, slots=True)
class WorkPolicy:
    """The settings of the control plane.

    ``circuit`` applies where exhausted messages are given up (``dlq``, ``skip``), ``poison`` where they are
    dead-lettered. ``is_sending_ahead``: the engine keeps the order of a key itself, and is sent runs of the key (see
    ``allow_runs``). ``is_timed``: durations are measured, and callers that take items or end them pass in the time.
    ``max_per_second``: at most this many messages start per second, on average; 0 means no limit. ``is_writing``:
    commits are transactions that write what they finish, exactly once.
    """

    ordering: OrderingPolicy = field(default_factory=OrderingPolicy)
    limits: FlowLimits = field(default_factory=FlowLimits)
    state_strategy: RebalanceStateStrategy = RebalanceStateStrategy.METADATA_SNAPSHOT
    on_exhausted: OnExhausted = OnExhausted.DLQ
    circuit: CircuitPolicy | None = None
    poison: PoisonPolicy | None = None
    is_sending_ahead: bool = False
    is_timed: bool = False
    max_per_second: float = 0.0
    is_writing: bool = False
