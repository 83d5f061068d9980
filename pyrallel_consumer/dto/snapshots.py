"""What a consumer reports of itself: the end of a message, and frozen snapshots of partitions and of the whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyrallel_consumer.dto.choices import OnExhausted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyrallel_consumer.dto.choices import BlockedBy, CompletionStatus
    from pyrallel_consumer.dto.histograms import BatchFigures, Durations
    from pyrallel_consumer.dto.work_item import TopicPartition
    from pyrallel_consumer.record import OutputFigures


@dataclass(frozen=True, slots=True)
class CompletionEvent:
    """How one message ended, after its last attempt."""

    topic: str
    partition: int
    offset: int
    epoch: int
    status: CompletionStatus
    error: BaseException | None
    attempt: int


@dataclass(frozen=True, slots=True)
class PartitionSnapshot:
    """One assigned partition at the moment of the snapshot. Offsets are exclusive: the next one to read.

    ``finished`` to ``skipped``, ``settled``, the three causes of slowness in seconds and ``latency`` count since the
    consumer started, over all assignments of the partition. ``settled`` of the finished ones had failed permanently.
    ``stalled_seconds`` is how long no message has finished while there were unfinished ones. ``metadata_bytes`` is the
    size of the map in the last confirmed commit. ``latency`` is None if metrics are off. ``blocked_by`` says why the
    blocking offset blocks, None without one.
    """

    tp: TopicPartition
    epoch: int
    committed_offset: int
    committable_offset: int
    fetched_offset: int
    gap_count: int
    blocking_offset: int | None
    blocking_seconds: float
    queued: int
    in_flight: int
    held: int
    load_bytes: int
    paused_for: tuple[str, ...]
    finished: int
    failed: int
    skipped: int
    settled: int = 0
    stalled_seconds: float = 0.0
    starved_seconds: float = 0.0
    paused_seconds: float = 0.0
    blocked_seconds: float = 0.0
    metadata_bytes: int = 0
    latency: Durations | None = None
    blocked_by: BlockedBy | None = None


@dataclass(frozen=True, slots=True)
class RetrySnapshot:
    """How failed attempts are tried again, and their numbers. Times are milliseconds; a timeout of 0 is none.

    ``max_retries`` is an older name of ``max_attempts``: attempts in total, including the first.
    """

    max_retries: int = 0
    retry_backoff_ms: int = 0
    exponential_backoff: bool = True
    max_retry_backoff_ms: int = 0
    retry_jitter_ms: int = 0
    task_timeout_ms: int = 0
    timeouts: int = 0
    max_attempts: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetterSnapshot:
    """Dead letters: ``sent`` are acknowledged, ``waiting`` are not yet, ``held`` messages wait for them.

    ``failures`` counts failures by the error's name; ``is_failing`` while a dead-letter topic accepts nothing.
    ``is_producing`` is False if letters are off.
    """

    is_enabled: bool = False
    is_producing: bool = False
    topic_suffix: str = ""
    held: int = 0
    sent: int = 0
    waiting: int = 0
    is_failing: bool = False
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RuntimeSnapshot:
    """A frozen snapshot of a running consumer, made by its event loop at ``taken_at`` (``time.monotonic()``).

    ``stuck`` attempts timed out or were cancelled, and have not ended; ``held`` messages failed their last attempt.
    ``circuit_opened`` counts how often the circuit for outages opened. ``settled`` of the processed messages had failed
    their last attempt: they were dead-lettered or skipped, and the others succeeded. ``picture_failures`` counts errors
    in observability. ``is_broker_connected``: some broker answers. No broker has answered for
    ``broker_silent_seconds``. While none answers, the ends of the logs are the last known ones.
    ``is_rate_limited``: messages wait for nothing but ``max_per_second`` (0: no limit), and have for
    ``rate_limited_seconds`` in all.
    ``starts_held_seconds``: for so long nothing has been started, because this process stood still and the coordinator
    has not confirmed a commit since; else 0.0.
    ``batches`` is None where workers take one message at a time, ``output`` where they return no records.
    ``waiting_starts``: partitions that are assigned and not read yet, each with the seconds that it has waited for the
    end of its former owner's transaction.
    """

    taken_at: float
    state: str
    in_flight: int
    queued: int
    waiting_retries: int
    held: int
    load_messages: int
    load_bytes: int
    max_in_flight: int
    queue_max_messages: int
    queue_max_bytes: int
    is_paused: bool
    is_rebalancing: bool
    processed: int
    failed: int
    retries: int
    fenced_completions: int
    commits: int
    commit_failures: int
    partitions: tuple[PartitionSnapshot, ...]
    settings: Mapping[str, object] = field(default_factory=dict)
    stuck: int = 0
    rebalances: int = 0
    blocked_loops: int = 0
    on_exhausted: OnExhausted = OnExhausted.DLQ
    retry: RetrySnapshot = field(default_factory=RetrySnapshot)
    dead_letters: DeadLetterSnapshot = field(default_factory=DeadLetterSnapshot)
    is_circuit_open: bool = False
    circuit_opened: int = 0
    poisoned_keys: int = 0
    settled: int = 0
    picture_failures: int = 0
    is_broker_connected: bool = True
    broker_silent_seconds: float = 0.0
    starts_held_seconds: float = 0.0
    batches: BatchFigures | None = None
    output: OutputFigures | None = None
    max_per_second: float = 0.0
    is_rate_limited: bool = False
    rate_limited_seconds: float = 0.0
    waiting_starts: tuple[tuple[TopicPartition, float], ...] = ()
