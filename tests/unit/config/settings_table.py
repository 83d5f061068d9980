"""Every setting with its default, an example of its text and the range of its numbers."""

from __future__ import annotations

import os

import pytest

from pyrallel_consumer.config import (
    ExecutionConfig,
    KafkaConfig,
    MetricsConfig,
    OutputConfig,
    ParallelConsumerConfig,
    RayConfig,
)
from pyrallel_consumer.config.execution import DAY_MS
from pyrallel_consumer.config.settings import Settings
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

PREFIXES = ("KAFKA_", "METRICS_", "EXECUTION_", "PARALLEL_CONSUMER_", "OUTPUT_")
# class, field, default, environment text, what it means. Every setting of the specification's table is here.
SETTINGS: list[tuple[type[Settings], str, object, str, object]] = [
    (KafkaConfig, "bootstrap_servers", ["localhost:9092"], "a:1, b:2,", ["a:1", "b:2"]),
    (KafkaConfig, "consumer_group", "pyrallel-consumer-group", "demo", "demo"),
    (KafkaConfig, "auto_offset_reset", "earliest", "LATEST", "latest"),
    (KafkaConfig, "group_protocol", "auto", "Consumer", "consumer"),
    (KafkaConfig, "session_timeout_ms", 45_000, "6000", 6000),
    (KafkaConfig, "dlq_enabled", True, "false", False),
    (KafkaConfig, "dlq_topic_suffix", ".dlq", ".failed", ".failed"),
    (KafkaConfig, "dlq_payload_mode", DlqPayloadMode.FULL, "metadata_only", DlqPayloadMode.METADATA_ONLY),
    (KafkaConfig, "security_protocol", None, "sasl_ssl", "SASL_SSL"),
    (KafkaConfig, "sasl_mechanisms", None, "scram-sha-512", "SCRAM-SHA-512"),
    (KafkaConfig, "sasl_username", None, "alice", "alice"),
    (KafkaConfig, "ssl_ca_location", None, "/ca.pem", "/ca.pem"),
    (KafkaConfig, "ssl_certificate_location", None, "/c.pem", "/c.pem"),
    (KafkaConfig, "ssl_key_location", None, "/k.pem", "/k.pem"),
    (KafkaConfig, "librdkafka", {}, '{"group.instance.id": "one"}', {"group.instance.id": "one"}),
    (MetricsConfig, "enabled", False, "1", True),
    (MetricsConfig, "port", 9091, "9099", 9099),
    (MetricsConfig, "host", "127.0.0.1", "0.0.0.0", "0.0.0.0"),  # noqa: S104 -- a value among others
    (MetricsConfig, "group_label", False, "true", True),
    (MetricsConfig, "open_telemetry", False, "true", True),
    (MetricsConfig, "loop_blocked_seconds", 30.0, "2.5", 2.5),
    (MetricsConfig, "poll_silent_seconds", 300.0, "60", 60.0),
    (MetricsConfig, "partition_stuck_seconds", 60.0, "0.5", 0.5),
    (MetricsConfig, "partition_blocked_seconds", 120.0, "0.5", 0.5),
    (MetricsConfig, "ready_without_partitions", False, "true", True),
    (ParallelConsumerConfig, "ordering_mode", OrderingMode.KEY_HASH, "Partition", OrderingMode.PARTITION),
    (ParallelConsumerConfig, "queue_max_messages", 5000, "17", 17),
    (ParallelConsumerConfig, "queue_max_bytes", 64 * 1024 * 1024, "1024", 1024),
    (ParallelConsumerConfig, "poll_batch_size", 1000, "10", 10),
    (ParallelConsumerConfig, "commit_interval_ms", 200, "250", 250),
    (
        ParallelConsumerConfig,
        "rebalance_state_strategy",
        RebalanceStateStrategy.METADATA_SNAPSHOT,
        "contiguous_only",
        RebalanceStateStrategy.CONTIGUOUS_ONLY,
    ),
    (ParallelConsumerConfig, "null_key_ordering", NullKeyOrdering.UNORDERED, "partition", NullKeyOrdering.PARTITION),
    (ParallelConsumerConfig, "blocking_warn_seconds", 5.0, "0.5", 0.5),
    (ExecutionConfig, "mode", ExecutionMode.ASYNC, "PROCESS", ExecutionMode.PROCESS),
    (ExecutionConfig, "batch_size", 1, "500", 500),
    (ExecutionConfig, "batch_max_bytes", 1 << 20, "4096", 4096),
    (ExecutionConfig, "batch_linger_ms", 20, "5", 5),
    (ExecutionConfig, "batch_by", BatchBy.ANY, "Key", BatchBy.KEY),
    (ExecutionConfig, "max_in_flight", 1000, "7", 7),
    (ExecutionConfig, "max_per_second", 0.0, "2.5", 2.5),
    (ExecutionConfig, "worker_pool_size", 0, "8", 8),
    (ExecutionConfig, "initializer", None, "shop.setup:connect", "shop.setup:connect"),
    (ExecutionConfig, "max_tasks_per_child", 0, "1000", 1000),
    (ExecutionConfig, "max_attempts", 3, "5", 5),
    (ExecutionConfig, "retry_backoff_ms", 1000, "2000", 2000),
    (ExecutionConfig, "exponential_backoff", True, "no", False),
    (ExecutionConfig, "max_retry_backoff_ms", 30_000, "40000", 40_000),
    (ExecutionConfig, "retry_jitter_ms", 200, "0", 0),
    (ExecutionConfig, "task_timeout_ms", 30_000, "0", 0),
    (ExecutionConfig, "max_revoke_grace_ms", 500, "900", 900),
    (ExecutionConfig, "shutdown_drain_timeout_ms", 5000, "100", 100),
    (ExecutionConfig, "on_exhausted", None, "skip", OnExhausted.SKIP),
    (ExecutionConfig, "gc_threshold", 30_000, "20000", 20_000),
    (ExecutionConfig, "tracing", False, "yes", True),
    (ExecutionConfig, "show_error_text", True, "false", False),
    (ExecutionConfig, "circuit_failure_share", 0.0, "0.75", 0.75),
    (ExecutionConfig, "circuit_window", 100, "40", 40),
    (ExecutionConfig, "circuit_probe_ms", 5000, "250", 250),
    (ExecutionConfig, "poison_key_failures", 0, "3", 3),
    (ExecutionConfig, "poison_key_cooldown_ms", 60_000, "500", 500),
    (OutputConfig, "delivery", Delivery.AT_LEAST_ONCE, "EXACTLY_ONCE", Delivery.EXACTLY_ONCE),
    (OutputConfig, "topics", [], "invoices, refunds", ["invoices", "refunds"]),
    (OutputConfig, "value_serializer", None, "shop.formats:as_json", "shop.formats:as_json"),
    (OutputConfig, "buffer_max_records", 10_000, "7", 7),
    (OutputConfig, "buffer_max_bytes", 64 * 1024 * 1024, "1000", 1000),
    (OutputConfig, "transactional_id_prefix", None, "shop", "shop"),
    (OutputConfig, "transaction_timeout_ms", 10_000, "20000", 20_000),
    (OutputConfig, "librdkafka", {}, '{"linger.ms": 1}', {"linger.ms": 1}),
    (RayConfig, "address", "auto", "ray://head:10001", "ray://head:10001"),
    (RayConfig, "min_actors", 1, "2", 2),
    (RayConfig, "max_actors", 0, "8", 8),
    (RayConfig, "num_cpus", 1.0, "0.5", 0.5),
    (RayConfig, "num_gpus", 0.0, "0.25", 0.25),
    (RayConfig, "resources", {}, '{"disk": 1}', {"disk": 1.0}),
    (RayConfig, "runtime_env", {}, '{"pip": ["numpy"]}', {"pip": ["numpy"]}),
    (RayConfig, "actor_concurrency", 0, "64", 64),
    (RayConfig, "frame_items", 256, "32", 32),
    (RayConfig, "start_timeout_ms", 30_000, "90000", 90_000),
]
EXECUTION_SETTINGS = [row[1:] for row in SETTINGS if row[0] is ExecutionConfig]
SECRETS = ["sasl_password", "ssl_key_password"]
RANGES: list[tuple[type[Settings], str, float, float]] = [
    (KafkaConfig, "session_timeout_ms", 1000, 1_800_000),
    (MetricsConfig, "port", 0, 65_535),
    (MetricsConfig, "loop_blocked_seconds", 0.1, 86_400),
    (MetricsConfig, "poll_silent_seconds", 1, 86_400),
    (MetricsConfig, "partition_stuck_seconds", 0.1, 86_400),
    (MetricsConfig, "partition_blocked_seconds", 0.1, 86_400),
    (ParallelConsumerConfig, "queue_max_messages", 1, 10_000_000),
    (ParallelConsumerConfig, "queue_max_bytes", 1, 1 << 40),
    (ParallelConsumerConfig, "poll_batch_size", 1, 100_000),
    (ParallelConsumerConfig, "commit_interval_ms", 10, 600_000),
    (ParallelConsumerConfig, "blocking_warn_seconds", 0.01, 86_400),
    (ExecutionConfig, "batch_size", 1, 100_000),
    (ExecutionConfig, "batch_max_bytes", 1, 1 << 30),
    (ExecutionConfig, "batch_linger_ms", 0, 60_000),
    (ExecutionConfig, "max_in_flight", 1, 1_000_000),
    (ExecutionConfig, "max_per_second", 0, 10_000_000),
    (ExecutionConfig, "worker_pool_size", 0, 4096),
    (ExecutionConfig, "max_tasks_per_child", 0, 1_000_000_000),
    (ExecutionConfig, "max_attempts", 1, 10_000),
    (ExecutionConfig, "retry_backoff_ms", 0, DAY_MS),
    (ExecutionConfig, "max_retry_backoff_ms", 0, DAY_MS),
    (ExecutionConfig, "retry_jitter_ms", 0, DAY_MS),
    (ExecutionConfig, "task_timeout_ms", 0, DAY_MS),
    (ExecutionConfig, "max_revoke_grace_ms", 0, 240_000),
    (ExecutionConfig, "shutdown_drain_timeout_ms", 0, 3_600_000),
    (ExecutionConfig, "circuit_failure_share", 0, 0.99),
    (ExecutionConfig, "circuit_window", 2, 1_000_000),
    (ExecutionConfig, "circuit_probe_ms", 10, DAY_MS),
    (ExecutionConfig, "gc_threshold", 0, 10_000_000),
    (ExecutionConfig, "poison_key_failures", 0, 1_000_000),
    (ExecutionConfig, "poison_key_cooldown_ms", 1, DAY_MS),
    (OutputConfig, "buffer_max_records", 1, 10_000_000),
    (OutputConfig, "buffer_max_bytes", 1, 1 << 40),
    (OutputConfig, "transaction_timeout_ms", 1000, 900_000),
    (RayConfig, "min_actors", 1, 4096),
    (RayConfig, "max_actors", 0, 4096),
    (RayConfig, "num_cpus", 0, 4096),
    (RayConfig, "num_gpus", 0, 256),
    (RayConfig, "actor_concurrency", 0, 100_000),
    (RayConfig, "frame_items", 1, 10_000),
    (RayConfig, "start_timeout_ms", 100, 3_600_000),
]


def clear_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith(PREFIXES):
            monkeypatch.delenv(name)


def ids(row: object) -> str:
    return row.__name__ if isinstance(row, type) else repr(row)
