"""The settings of each class as its constructor takes them, in both spellings: what type checkers know of them.

Nothing here runs: ``Settings.__init__`` takes any name and refuses unknown ones. A test holds that these are the fields
of the classes, no more and no less, and that both spellings of a setting take the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, TypedDict

from pydantic import SecretStr

from pyrallel_consumer.config.typed.choices import (
    BatchByText,
    DeliveryText,
    GroupProtocol,
    ModeText,
    NullKeyText,
    OffsetReset,
    OnExhaustedText,
    OrderingText,
    PayloadModeText,
    SaslMechanism,
    SecurityProtocol,
    StateStrategyText,
)
from pyrallel_consumer.dto import (
    BatchBy,
    DlqPayloadMode,
    ExecutionMode,
    NullKeyOrdering,
    OnExhausted,
    OrderingMode,
    RebalanceStateStrategy,
)
from pyrallel_consumer.record import Delivery

if TYPE_CHECKING:
    from pyrallel_consumer.config.metrics import MetricsConfig
    from pyrallel_consumer.config.parallel import ParallelConsumerConfig


class MetricsArguments(TypedDict, total=False):
    """Of ``MetricsConfig``."""

    enabled: bool
    port: int
    host: str
    loop_blocked_seconds: float
    poll_silent_seconds: float
    partition_stuck_seconds: float
    partition_blocked_seconds: float
    ready_without_partitions: bool
    open_telemetry: bool
    group_label: bool

    ENABLED: bool
    PORT: int
    HOST: str
    LOOP_BLOCKED_SECONDS: float
    POLL_SILENT_SECONDS: float
    PARTITION_STUCK_SECONDS: float
    PARTITION_BLOCKED_SECONDS: float
    READY_WITHOUT_PARTITIONS: bool
    OPEN_TELEMETRY: bool
    GROUP_LABEL: bool


class ParallelConsumerArguments(TypedDict, total=False):
    """Of ``ParallelConsumerConfig``."""

    ordering_mode: OrderingMode | OrderingText
    queue_max_messages: int
    queue_max_bytes: int
    poll_batch_size: int
    commit_interval_ms: int
    rebalance_state_strategy: RebalanceStateStrategy | StateStrategyText
    null_key_ordering: NullKeyOrdering | NullKeyText
    blocking_warn_seconds: float

    ORDERING_MODE: OrderingMode | OrderingText
    QUEUE_MAX_MESSAGES: int
    QUEUE_MAX_BYTES: int
    POLL_BATCH_SIZE: int
    COMMIT_INTERVAL_MS: int
    REBALANCE_STATE_STRATEGY: RebalanceStateStrategy | StateStrategyText
    NULL_KEY_ORDERING: NullKeyOrdering | NullKeyText
    BLOCKING_WARN_SECONDS: float


class ExecutionArguments(TypedDict, total=False):
    """Of ``ExecutionConfig``."""

    mode: ExecutionMode | ModeText
    batch_size: int
    batch_max_bytes: int
    batch_linger_ms: int
    batch_by: BatchBy | BatchByText
    max_in_flight: int
    max_per_second: float
    worker_pool_size: int
    initializer: Callable[[], object] | str | None
    max_tasks_per_child: int
    max_attempts: int
    retry_backoff_ms: int
    exponential_backoff: bool
    max_retry_backoff_ms: int
    retry_jitter_ms: int
    task_timeout_ms: int
    max_revoke_grace_ms: int
    shutdown_drain_timeout_ms: int
    on_exhausted: OnExhausted | OnExhaustedText | None
    gc_threshold: int
    show_error_text: bool
    tracing: bool
    circuit_failure_share: float
    circuit_window: int
    circuit_probe_ms: int
    poison_key_failures: int
    poison_key_cooldown_ms: int
    max_retries: int

    MODE: ExecutionMode | ModeText
    BATCH_SIZE: int
    BATCH_MAX_BYTES: int
    BATCH_LINGER_MS: int
    BATCH_BY: BatchBy | BatchByText
    MAX_IN_FLIGHT: int
    MAX_PER_SECOND: float
    WORKER_POOL_SIZE: int
    INITIALIZER: Callable[[], object] | str | None
    MAX_TASKS_PER_CHILD: int
    MAX_ATTEMPTS: int
    RETRY_BACKOFF_MS: int
    EXPONENTIAL_BACKOFF: bool
    MAX_RETRY_BACKOFF_MS: int
    RETRY_JITTER_MS: int
    TASK_TIMEOUT_MS: int
    MAX_REVOKE_GRACE_MS: int
    SHUTDOWN_DRAIN_TIMEOUT_MS: int
    ON_EXHAUSTED: OnExhausted | OnExhaustedText | None
    GC_THRESHOLD: int
    SHOW_ERROR_TEXT: bool
    TRACING: bool
    CIRCUIT_FAILURE_SHARE: float
    CIRCUIT_WINDOW: int
    CIRCUIT_PROBE_MS: int
    POISON_KEY_FAILURES: int
    POISON_KEY_COOLDOWN_MS: int
    MAX_RETRIES: int


class OutputArguments(TypedDict, total=False):
    """Of ``OutputConfig``."""

    delivery: Delivery | DeliveryText
    topics: str | Sequence[str]
    value_serializer: Callable[..., Any] | str | None
    buffer_max_records: int
    buffer_max_bytes: int
    transactional_id_prefix: str | None
    transaction_timeout_ms: int
    librdkafka: Mapping[str, Any]

    DELIVERY: Delivery | DeliveryText
    TOPICS: str | Sequence[str]
    VALUE_SERIALIZER: Callable[..., Any] | str | None
    BUFFER_MAX_RECORDS: int
    BUFFER_MAX_BYTES: int
    TRANSACTIONAL_ID_PREFIX: str | None
    TRANSACTION_TIMEOUT_MS: int
    LIBRDKAFKA: Mapping[str, Any]


class RayArguments(TypedDict, total=False):
    """Of ``RayConfig``."""

    address: str
    min_actors: int
    max_actors: int
    num_cpus: float
    num_gpus: float
    resources: Mapping[str, float]
    runtime_env: Mapping[str, Any]
    actor_concurrency: int
    frame_items: int
    start_timeout_ms: int

    ADDRESS: str
    MIN_ACTORS: int
    MAX_ACTORS: int
    NUM_CPUS: float
    NUM_GPUS: float
    RESOURCES: Mapping[str, float]
    RUNTIME_ENV: Mapping[str, Any]
    ACTOR_CONCURRENCY: int
    FRAME_ITEMS: int
    START_TIMEOUT_MS: int


class KafkaArguments(TypedDict, total=False):
    """Of ``KafkaConfig``."""

    bootstrap_servers: str | Sequence[str]
    consumer_group: str
    auto_offset_reset: OffsetReset
    group_protocol: GroupProtocol
    session_timeout_ms: int
    dlq_enabled: bool
    dlq_topic_suffix: str
    dlq_payload_mode: DlqPayloadMode | PayloadModeText
    security_protocol: SecurityProtocol | None
    sasl_mechanisms: SaslMechanism | None
    sasl_username: str | None
    sasl_password: SecretStr | str | None
    ssl_ca_location: str | PathLike[str] | None
    ssl_certificate_location: str | PathLike[str] | None
    ssl_key_location: str | PathLike[str] | None
    ssl_key_password: SecretStr | str | None
    librdkafka: Mapping[str, Any]
    metrics: MetricsConfig | MetricsArguments
    parallel_consumer: ParallelConsumerConfig | ParallelConsumerArguments

    BOOTSTRAP_SERVERS: str | Sequence[str]
    CONSUMER_GROUP: str
    AUTO_OFFSET_RESET: OffsetReset
    GROUP_PROTOCOL: GroupProtocol
    SESSION_TIMEOUT_MS: int
    DLQ_ENABLED: bool
    DLQ_TOPIC_SUFFIX: str
    DLQ_PAYLOAD_MODE: DlqPayloadMode | PayloadModeText
    SECURITY_PROTOCOL: SecurityProtocol | None
    SASL_MECHANISMS: SaslMechanism | None
    SASL_USERNAME: str | None
    SASL_PASSWORD: SecretStr | str | None
    SSL_CA_LOCATION: str | PathLike[str] | None
    SSL_CERTIFICATE_LOCATION: str | PathLike[str] | None
    SSL_KEY_LOCATION: str | PathLike[str] | None
    SSL_KEY_PASSWORD: SecretStr | str | None
    LIBRDKAFKA: Mapping[str, Any]
    METRICS: MetricsConfig | MetricsArguments
    PARALLEL_CONSUMER: ParallelConsumerConfig | ParallelConsumerArguments
