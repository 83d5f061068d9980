"""The settings of each class as its attributes, in the spelling that its fields do not have, for type checkers alone.

At run time ``Settings`` reads and writes the fields under any spelling. A test insists that these are the fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import SecretStr

    from pyrallel_consumer.config.metrics import MetricsConfig
    from pyrallel_consumer.config.parallel import ParallelConsumerConfig
    from pyrallel_consumer.config.typed.choices import (
        BatchByText,
        Choice,
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


class MetricsAttributes:
    """Of ``MetricsConfig``."""

    if TYPE_CHECKING:
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


class ParallelConsumerAttributes:
    """Of ``ParallelConsumerConfig``."""

    if TYPE_CHECKING:
        ORDERING_MODE: Choice[OrderingMode, OrderingMode | OrderingText]
        QUEUE_MAX_MESSAGES: int
        QUEUE_MAX_BYTES: int
        POLL_BATCH_SIZE: int
        COMMIT_INTERVAL_MS: int
        REBALANCE_STATE_STRATEGY: Choice[RebalanceStateStrategy, RebalanceStateStrategy | StateStrategyText]
        NULL_KEY_ORDERING: Choice[NullKeyOrdering, NullKeyOrdering | NullKeyText]
        BLOCKING_WARN_SECONDS: float


class ExecutionAttributes:
    """Of ``ExecutionConfig``."""

    if TYPE_CHECKING:
        MODE: Choice[ExecutionMode, ExecutionMode | ModeText]
        BATCH_SIZE: int
        BATCH_MAX_BYTES: int
        BATCH_LINGER_MS: int
        BATCH_BY: Choice[BatchBy, BatchBy | BatchByText]
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
        ON_EXHAUSTED: Choice[OnExhausted | None, OnExhausted | OnExhaustedText | None]
        GC_THRESHOLD: int
        SHOW_ERROR_TEXT: bool
        TRACING: bool
        CIRCUIT_FAILURE_SHARE: float
        CIRCUIT_WINDOW: int
        CIRCUIT_PROBE_MS: int
        POISON_KEY_FAILURES: int
        POISON_KEY_COOLDOWN_MS: int
        max_retries: int
        MAX_RETRIES: int


class OutputAttributes:
    """Of ``OutputConfig``."""

    if TYPE_CHECKING:
        DELIVERY: Choice[Delivery, Delivery | DeliveryText]
        TOPICS: list[str]
        VALUE_SERIALIZER: Callable[..., Any] | str | None
        BUFFER_MAX_RECORDS: int
        BUFFER_MAX_BYTES: int
        TRANSACTIONAL_ID_PREFIX: str | None
        TRANSACTION_TIMEOUT_MS: int
        LIBRDKAFKA: dict[str, Any]


class KafkaAttributes:
    """Of ``KafkaConfig``."""

    if TYPE_CHECKING:
        BOOTSTRAP_SERVERS: list[str]
        CONSUMER_GROUP: str
        AUTO_OFFSET_RESET: OffsetReset
        GROUP_PROTOCOL: GroupProtocol
        SESSION_TIMEOUT_MS: int
        DLQ_ENABLED: bool
        DLQ_TOPIC_SUFFIX: str
        DLQ_PAYLOAD_MODE: Choice[DlqPayloadMode, DlqPayloadMode | PayloadModeText]
        SECURITY_PROTOCOL: SecurityProtocol | None
        SASL_MECHANISMS: SaslMechanism | None
        SASL_USERNAME: str | None
        SASL_PASSWORD: SecretStr | None
        SSL_CA_LOCATION: str | None
        SSL_CERTIFICATE_LOCATION: str | None
        SSL_KEY_LOCATION: str | None
        SSL_KEY_PASSWORD: SecretStr | None
        LIBRDKAFKA: dict[str, Any]
        METRICS: MetricsConfig
        PARALLEL_CONSUMER: ParallelConsumerConfig


class RayAttributes:
    """Of ``RayConfig``."""

    if TYPE_CHECKING:
        ADDRESS: str
        MIN_ACTORS: int
        MAX_ACTORS: int
        NUM_CPUS: float
        NUM_GPUS: float
        RESOURCES: dict[str, float]
        RUNTIME_ENV: dict[str, Any]
        ACTOR_CONCURRENCY: int
        FRAME_ITEMS: int
        START_TIMEOUT_MS: int
