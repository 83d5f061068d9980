"""Settings: names, sources and which of them wins, ranges, secrets, and errors that name the setting."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
import re
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from pyrallel_consumer.config.settings import NAMES_ELSEWHERE, Settings, SettingsError
from pyrallel_consumer.control_plane.policies import FlowLimits, OrderingPolicy, RetryPolicy
from pyrallel_consumer.dto import (
    BatchBy,
    DlqPayloadMode,
    ExecutionMode,
    NullKeyOrdering,
    OnExhausted,
    OrderingMode,
    RebalanceStateStrategy,
)
from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.record import Delivery

PREFIXES = ("KAFKA_", "METRICS_", "EXECUTION_", "PARALLEL_CONSUMER_", "OUTPUT_")
SECRET = "hunter2-never-shown"
SECRET_NUMBER = 4711_0815

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


@pytest.fixture(autouse=True)
def env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working directory and no setting in the environment; returns where a ``.env`` would be read."""
    clear_environment(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


def clear_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith(PREFIXES):
            monkeypatch.delenv(name)


def ids(row: object) -> str:
    return row.__name__ if isinstance(row, type) else repr(row)


# ---------------------------------------------------------------- defaults and sources


def test_the_table_covers_every_setting() -> None:
    nested = {(KafkaConfig, name) for name in ["metrics", "parallel_consumer", *SECRETS]}
    public = [cls for cls in Settings.__subclasses__() if cls.__module__.startswith("pyrallel_consumer.config.")]
    known = {(cls, name) for cls in public for name in cls.model_fields}
    assert {(cls, name) for cls, name, *_ in SETTINGS} | nested == known


@pytest.mark.parametrize(("cls", "name", "default", "text", "meaning"), SETTINGS, ids=ids)
def test_each_setting_has_its_default_and_is_read_from_environment_and_file(
    *,
    cls: type[Settings],
    name: str,
    default: object,
    text: str,
    meaning: object,
    monkeypatch: pytest.MonkeyPatch,
    env_file: Path,
) -> None:
    variable = f"{cls.environment_prefixes[0]}{name}".upper()
    assert getattr(cls(), name) == default
    monkeypatch.setenv(variable, text)
    assert getattr(cls(), name) == meaning
    monkeypatch.setenv(variable, "")
    assert getattr(cls(), name) == default
    env_file.write_text(f"{variable}={text}   # a comment\n")
    assert getattr(cls(), name) == meaning
    assert getattr(cls(**{name.upper(): default}), name) == default
    assert type(getattr(cls(), name)) is type(meaning)


@pytest.mark.parametrize(("name", "default", "text", "meaning"), EXECUTION_SETTINGS, ids=ids)
@pytest.mark.parametrize("prefix", ["PARALLEL_CONSUMER_", "PARALLEL_CONSUMER_EXECUTION_"])
def test_execution_settings_answer_to_the_longer_name(
    *,
    prefix: str,
    name: str,
    default: object,
    text: str,
    meaning: object,
    monkeypatch: pytest.MonkeyPatch,
    env_file: Path,
) -> None:
    monkeypatch.setenv(f"{prefix}{name.upper()}", text)
    assert getattr(ExecutionConfig(), name) == meaning
    monkeypatch.delenv(f"{prefix}{name.upper()}")
    env_file.write_text(f"{prefix}{name.upper()}={text}")
    assert getattr(ExecutionConfig(), name) == meaning


def test_no_longer_name_is_also_a_setting_of_the_parallel_consumer() -> None:
    assert not ExecutionConfig.model_fields.keys() & ParallelConsumerConfig.model_fields.keys()


@pytest.mark.parametrize("given", list(itertools.product([False, True], repeat=5)), ids=str)
def test_argument_beats_short_name_beats_long_name_and_environment_beats_file(
    given: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch, env_file: Path
) -> None:
    argument, short_environment, short_file, long_environment, long_file = given
    if short_environment:
        monkeypatch.setenv("EXECUTION_MAX_RETRIES", "12")
    if long_environment:
        monkeypatch.setenv("PARALLEL_CONSUMER_MAX_RETRIES", "14")
    lines = [
        *(["EXECUTION_MAX_RETRIES=13"] if short_file else []),
        *(["PARALLEL_CONSUMER_MAX_RETRIES=15"] if long_file else []),
    ]
    env_file.write_text("\n".join(lines))
    config = ExecutionConfig(max_retries=11) if argument else ExecutionConfig()
    expected = next((11 + rank for rank, is_given in enumerate(given) if is_given), 3)
    assert config.max_retries == expected


@pytest.mark.parametrize("name", ["max_attempts", "max_retries", "MAX_RETRIES"])
def test_error_names_the_setting_by_the_name_that_the_user_chose(name: str) -> None:
    config = ExecutionConfig()
    said = rf"^ExecutionConfig\.{name.lower()}: .*, got 0$"
    with pytest.raises(ConfigurationError, match=said):
        ExecutionConfig(**{name: 0})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=said):
        setattr(config, name, 0)


@pytest.mark.parametrize("name", ["max_attempts", "MAX_ATTEMPTS", "max_retries", "MAX_RETRIES", "Max_Retries"])
def test_max_attempts_and_its_established_name_are_one_setting(name: str) -> None:
    config = ExecutionConfig(**{name: 7})  # type: ignore[arg-type]
    assert (config.max_attempts, config.max_retries, config.MAX_RETRIES) == (7, 7, 7)
    setattr(config, name, 8)
    assert (config.max_attempts, config.max_retries) == (8, 8)
    assert config.retry_policy().max_attempts == 8
    assert config.validate_all().max_attempts == 8
    with pytest.raises(ConfigurationError, match=rf"ExecutionConfig\.{name.lower()}"):
        setattr(config, name, 0)
    assert config.max_retries == 8


@pytest.mark.parametrize("prefix", ExecutionConfig.environment_prefixes)
@pytest.mark.parametrize("name", ["MAX_ATTEMPTS", "MAX_RETRIES"])
def test_max_attempts_is_read_under_both_names_after_every_prefix(
    prefix: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{prefix}{name}", "7 # in total")
    assert ExecutionConfig().max_attempts == 7


def test_two_names_of_one_setting_must_agree_where_both_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ExecutionConfig(max_attempts=5, max_retries=5).max_attempts == 5
    with pytest.raises(ConfigurationError, match=r"max_attempts is given twice, as max_attempts and as max_retries"):
        ExecutionConfig(max_attempts=5, max_retries=6)
    monkeypatch.setenv("EXECUTION_MAX_ATTEMPTS", "5")
    monkeypatch.setenv("EXECUTION_MAX_RETRIES", "5 # the same")
    assert ExecutionConfig().max_attempts == 5
    monkeypatch.setenv("EXECUTION_MAX_RETRIES", "6")
    said = r"EXECUTION_MAX_ATTEMPTS is '5' and EXECUTION_MAX_RETRIES is '6': these are two names of one setting"
    with pytest.raises(ConfigurationError, match=said):
        ExecutionConfig()


def test_a_shorter_prefix_beats_a_longer_one_whichever_of_the_two_names_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PARALLEL_CONSUMER_MAX_ATTEMPTS", "9")
    monkeypatch.setenv("EXECUTION_MAX_RETRIES", "4")
    assert ExecutionConfig().max_attempts == 4


def test_an_argument_that_equals_the_default_still_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECUTION_MAX_RETRIES", "9")
    monkeypatch.setenv("KAFKA_LIBRDKAFKA", '{"isolation.level": "read_uncommitted"}')
    assert ExecutionConfig(max_retries=3).max_retries == 3
    assert KafkaConfig(librdkafka={}).librdkafka == {}


def test_the_environment_is_read_when_the_object_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    before = KafkaConfig()
    monkeypatch.setenv("KAFKA_CONSUMER_GROUP", "later")
    monkeypatch.setenv("METRICS_PORT", "1234")
    after = KafkaConfig()
    assert (before.consumer_group, before.metrics.port) == ("pyrallel-consumer-group", 9091)
    assert (after.consumer_group, after.metrics.port) == ("later", 1234)


def test_names_of_variables_are_compared_without_case(monkeypatch: pytest.MonkeyPatch, env_file: Path) -> None:
    env_file.write_text("kafka_consumer_group=from-file\nmetrics_Port=1\nMETRICS_PORT=2\n")
    assert KafkaConfig().consumer_group == "from-file"
    assert MetricsConfig().port == 2
    monkeypatch.setenv("Kafka_Consumer_Group", "from-environment")
    assert KafkaConfig().consumer_group == "from-environment"


def test_variables_that_are_not_ours_are_left_alone(monkeypatch: pytest.MonkeyPatch, env_file: Path) -> None:
    monkeypatch.setenv("KAFKA_HEAP_OPTS", "-Xmx1g")
    monkeypatch.setenv("HOST", "elsewhere")
    monkeypatch.setenv("MODE", "nonsense")
    monkeypatch.setenv("KAFKA_METRICS", "nonsense")
    env_file.write_text("DATABASE_URL=postgres://x\nKAFKA_VERSION=3\nPORT=x\nno assignment here\n")
    assert KafkaConfig() == KafkaConfig(metrics=MetricsConfig(), parallel_consumer=ParallelConsumerConfig())
    assert ExecutionConfig().mode is ExecutionMode.ASYNC


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("KAFKA_CONSUMER_GROUP=demo # comment", "demo"),
        ("KAFKA_CONSUMER_GROUP=demo# part of it", "demo# part of it"),
        ("KAFKA_CONSUMER_GROUP='de # mo' # comment", "de # mo"),
        ("export KAFKA_CONSUMER_GROUP=demo", "demo"),
        ("KAFKA_CONSUMER_GROUP=   # nothing but a comment", "pyrallel-consumer-group"),
        ("KAFKA_CONSUMER_GROUP=#demo", "#demo"),
        ("KAFKA_CONSUMER_GROUP", "pyrallel-consumer-group"),
    ],
)
def test_comments_in_the_file_do_no_harm(line: str, expected: str, env_file: Path) -> None:
    byte_order_mark = "\ufeff"
    env_file.write_text(f"{byte_order_mark}{line}\n# the port\nMETRICS_PORT=5 # comment\n", encoding="utf-8")
    config = KafkaConfig()
    assert config.consumer_group == expected
    assert config.metrics.port == 5


def test_a_comment_that_docker_handed_on_does_no_harm_where_no_text_is_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EXECUTION_MAX_RETRIES", "5 # in total")
    monkeypatch.setenv("EXECUTION_MODE", "thread  # blocking calls")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "a # b")
    config = ExecutionConfig()
    assert (config.max_retries, config.mode) == (5, ExecutionMode.THREAD)
    password = KafkaConfig().sasl_password
    assert password is not None
    assert password.get_secret_value() == "a # b"


def test_a_file_that_cannot_be_read_is_named_and_a_folder_of_that_name_is_left_alone(env_file: Path) -> None:
    env_file.mkdir()
    assert MetricsConfig().port == 9091
    env_file.rmdir()
    env_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read .*UTF-8"):
        MetricsConfig()


def test_the_example_file_holds_every_setting_and_only_defaults(env_file: Path) -> None:
    example = (Path(__file__).parents[3] / ".env.example").read_text()
    for cls in Settings.__subclasses__():
        for name, field in cls.model_fields.items():
            if not isinstance(field.annotation, type) or not issubclass(field.annotation, Settings):
                assert f"{cls.environment_prefixes[0]}{name.upper()}=" in example
    defaults = [KafkaConfig(), ExecutionConfig()]
    uncommented = re.sub(r"^# ([A-Z_]+=)", r"\1", example.replace("# KAFKA_LIBRDKAFKA=", "# "), flags=re.MULTILINE)
    env_file.write_text(uncommented)
    assert [KafkaConfig(), ExecutionConfig()] == defaults


# ---------------------------------------------------------------- names


def test_both_spellings_construct_read_and_assign() -> None:
    config = KafkaConfig(BOOTSTRAP_SERVERS=["localhost:9092"], CONSUMER_GROUP="demo", AUTO_OFFSET_RESET="earliest")
    assert config.BOOTSTRAP_SERVERS == config.bootstrap_servers == ["localhost:9092"]
    assert config.CONSUMER_GROUP == "demo"
    config.DLQ_TOPIC_SUFFIX = ".failed"
    assert config.dlq_topic_suffix == ".failed"
    config.dlq_topic_suffix = ".lost"
    assert config.DLQ_TOPIC_SUFFIX == ".lost"
    config.METRICS.PORT = 1
    assert config.metrics.port == 1
    assert ExecutionConfig(Max_Retries=4).max_retries == 4  # type: ignore[call-arg]


def test_one_setting_in_two_spellings_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"KafkaConfig\.dlq_enabled is given twice"):
        KafkaConfig(DLQ_ENABLED=True, dlq_enabled=False)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("bootstrap_server", "did you mean 'bootstrap_servers'"),
        ("DLQ_TOPIC_SUFIX", "did you mean 'dlq_topic_suffix'"),
        ("max_retries", "it is a setting of ExecutionConfig"),
        ("group_id", r"did you mean KafkaConfig\.consumer_group\?"),
        ("max_concurrency", r"did you mean ExecutionConfig\.max_in_flight\?"),
        (
            "ordering_mode",
            r"of ParallelConsumerConfig, reached as config\.parallel_consumer\.ordering_mode",
        ),
        ("group.instance.id", r"go into librdkafka=\{'group.instance.id': ...\}"),
        ("zzz", "it has bootstrap_servers, consumer_group"),
        ("_env_file", "it has bootstrap_servers"),
    ],
)
def test_unknown_names_are_refused_with_a_hint(name: str, hint: str) -> None:
    config = KafkaConfig()
    refusal = f"KafkaConfig has no setting '{name}'.*{hint}"
    with pytest.raises(ConfigurationError, match=refusal):
        KafkaConfig(**{name: 1})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=refusal):
        setattr(config, name, 1)
    with pytest.raises(AttributeError, match=refusal):
        getattr(config, name)


def test_a_dotted_name_without_a_client_behind_it_gets_no_hint_at_librdkafka() -> None:
    with pytest.raises(ConfigurationError, match=r"MetricsConfig has no setting 'a\.b'; it has enabled, port, host"):
        MetricsConfig(**{"a.b": 1})  # type: ignore[arg-type]


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(("cls", "name", "lowest", "highest"), RANGES, ids=ids)
def test_numbers_are_accepted_to_both_ends_of_their_range_and_no_further(
    cls: type[Settings], name: str, lowest: float, highest: float
) -> None:
    for end in (lowest, highest):
        config = cls(**{name: end})
        assert getattr(config, name) == end
        setattr(config, name.upper(), end)
    config = cls(**{name: lowest})
    step = 0.005 if cls.model_fields[name].annotation is float else 1
    for beyond in (lowest - step, highest + 1, float("nan"), float("inf"), "many", None):
        with pytest.raises(ConfigurationError, match=rf"{cls.__name__}\.{name}: "):
            cls(**{name: beyond})
        with pytest.raises(ConfigurationError, match=rf"{cls.__name__}\.{name}: "):
            setattr(config, name, beyond)
        assert getattr(config, name) == lowest


def test_every_number_has_a_range() -> None:
    numbers = {
        (cls, name)
        for cls in Settings.__subclasses__()
        for name, field in cls.model_fields.items()
        if field.annotation in {int, float}
    }
    assert numbers == {(cls, name) for cls, name, *_ in RANGES}


@pytest.mark.parametrize(
    ("cls", "name", "value", "reason"),
    [
        (KafkaConfig, "bootstrap_servers", [], "at least 1 item"),
        (KafkaConfig, "bootstrap_servers", " , ", "at least 1 item"),
        (KafkaConfig, "bootstrap_servers", "[]", "at least 1 item"),
        (KafkaConfig, "bootstrap_servers", "a b:1", "'a b:1' is no broker address; write host:port"),
        (KafkaConfig, "bootstrap_servers", ["a:0"], "no broker address"),
        (KafkaConfig, "bootstrap_servers", ["a:65536"], "no broker address"),
        (KafkaConfig, "bootstrap_servers", ["a:1,b:2"], "no broker address"),
        (KafkaConfig, "bootstrap_servers", ["http://a/b"], "no broker address"),
        (KafkaConfig, "bootstrap_servers", 9092, "valid list"),
        (KafkaConfig, "bootstrap_servers", '["a:1"', "not a JSON list"),
        (KafkaConfig, "consumer_group", "", "at least 1 character"),
        (KafkaConfig, "auto_offset_reset", "sometimes", "'earliest', 'latest' or 'none'.*got 'sometimes'"),
        (KafkaConfig, "dlq_topic_suffix", "", "match pattern"),
        (KafkaConfig, "dlq_topic_suffix", "/dlq", "match pattern"),
        (KafkaConfig, "dlq_payload_mode", "half", "'full' or 'metadata_only'"),
        (KafkaConfig, "security_protocol", "tls", "'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'"),
        (KafkaConfig, "sasl_mechanisms", "magic", "'SCRAM-SHA-256'"),
        (KafkaConfig, "ssl_ca_location", 3, "valid string"),
        (KafkaConfig, "dlq_enabled", "perhaps", "valid boolean"),
        (KafkaConfig, "metrics", 3, "MetricsConfig"),
        (KafkaConfig, "metrics", ExecutionConfig(), "MetricsConfig"),
        (KafkaConfig, "metrics", {"port": -1}, "MetricsConfig.port: .*got -1"),
        (KafkaConfig, "metrics", {"prot": 1}, "MetricsConfig has no setting 'prot'; did you mean 'port'"),
        (KafkaConfig, "librdkafka", "{", "not a JSON object"),
        (KafkaConfig, "librdkafka", "[1]", "not a JSON object"),
        (KafkaConfig, "librdkafka", {"a": {"b": 1}}, "'a' is of type dict"),
        (KafkaConfig, "librdkafka", {"a": ["b"]}, "'a' is of type list"),
        (KafkaConfig, "librdkafka", {"a": None}, "'a' is of type NoneType.*leave it out"),
        (KafkaConfig, "librdkafka", {3: 4}, "valid string"),
        (MetricsConfig, "host", "", "at least 1 character"),
        (ExecutionConfig, "mode", "fibres", "'async', 'thread', 'process' or 'ray'"),
        (ExecutionConfig, "on_exhausted", "explode", "'dlq', 'skip', 'stop' or 'pause_partition'"),
        (ParallelConsumerConfig, "ordering_mode", 7, "'key_hash', 'partition' or 'unordered'"),
    ],
    ids=ids,
)
def test_a_value_that_does_not_fit_is_refused_by_name_and_changes_nothing(
    cls: type[Settings], name: str, value: object, reason: str
) -> None:
    config = cls()
    before = copy.deepcopy(config)
    with pytest.raises(ConfigurationError, match=reason) as constructed:
        cls(**{name: value})
    with pytest.raises(ConfigurationError, match=reason):
        setattr(config, name, value)
    assert name in str(constructed.value) or "MetricsConfig" in str(constructed.value)
    assert config == before


def test_a_bad_variable_is_refused_by_the_name_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_PORT", "many")
    with pytest.raises(ConfigurationError, match=r"MetricsConfig\.port: .*got 'many' \(environment: METRICS_PORT\)"):
        KafkaConfig()


def test_a_bad_value_names_what_it_came_from_and_nothing_else(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("EXECUTION_MAX_IN_FLIGHT=none\n")
    monkeypatch.setenv("PARALLEL_CONSUMER_RETRY_JITTER_MS", "some")

    with pytest.raises(SettingsError) as refused:
        ExecutionConfig(WORKER_POOL_SIZE=-1)

    slots, pool, jitter = sorted(map(str, refused.value.problems))
    assert slots.endswith("got 'none' (.env: EXECUTION_MAX_IN_FLIGHT)")
    assert pool.endswith("got 'some' (environment: PARALLEL_CONSUMER_RETRY_JITTER_MS)")
    assert jitter == "ExecutionConfig.worker_pool_size: input should be greater than or equal to 0, got -1"


def test_settings_that_are_all_given_read_neither_environment_nor_file(env_file: Path) -> None:
    config = KafkaConfig(consumer_group="mine")
    env_file.write_bytes(b"\xff")  # whoever reads it fails

    assert config.validate_all() == config
    with pytest.raises(ConfigurationError, match="cannot be read"):
        KafkaConfig()


def test_a_bad_line_of_the_file_is_told_once_however_many_classes_read_it(
    env_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    env_file.write_text(f"# {uuid.uuid4()}\nKAFKA_CONSUMER_GROUP=mine\nthis is no 'setting\n")

    config = KafkaConfig()
    ExecutionConfig()

    assert config.consumer_group == "mine"
    [told] = caplog.messages
    assert "line 3" in told


def test_all_bad_values_are_named_at_once_and_long_ones_are_cut() -> None:
    with pytest.raises(ConfigurationError) as refused:
        ExecutionConfig(mode="x" * 500, max_retries=0)  # type: ignore[arg-type]
    assert "ExecutionConfig.mode" in str(refused.value)
    assert "ExecutionConfig.max_retries" in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a:1", "b"], ["a:1", "b"]),
        (("a:1",), ["a:1"]),
        ("a:1", ["a:1"]),
        ("a:1, b:2 ,", ["a:1", "b:2"]),
        ('["a:1", "b:2"]', ["a:1", "b:2"]),
        ("[::1]:9092", ["[::1]:9092"]),
        ("SSL://kafka.example:9093", ["SSL://kafka.example:9093"]),
    ],
)
def test_bootstrap_servers_are_a_list_or_separated_by_commas(given: object, expected: list[str]) -> None:
    config = KafkaConfig(bootstrap_servers=given)  # type: ignore[arg-type]
    assert config.bootstrap_servers == expected
    config.BOOTSTRAP_SERVERS = given  # type: ignore[assignment]
    assert config.bootstrap_servers == expected


def test_execution_settings_are_assigned_as_the_specification_shows() -> None:
    execution = ExecutionConfig()
    execution.mode = ExecutionMode.THREAD
    execution.max_in_flight = 512
    execution.max_retries = 5
    execution.retry_backoff_ms = 2000
    execution.worker_pool_size = 8
    assert execution == ExecutionConfig(
        mode="thread", max_in_flight=512, max_retries=5, retry_backoff_ms=2000, worker_pool_size=8
    )


def test_nested_settings_are_changed_in_place_and_given_whole() -> None:
    config = KafkaConfig()
    config.metrics.enabled = True
    config.metrics.port = 9099
    config.parallel_consumer.ordering_mode = "partition"
    assert (config.metrics.enabled, config.metrics.port) == (True, 9099)
    assert config.parallel_consumer.ordering_mode is OrderingMode.PARTITION
    with pytest.raises(ConfigurationError, match=r"MetricsConfig\.port"):
        config.metrics.port = -1
    shared = MetricsConfig(port=7)
    assert KafkaConfig(metrics=shared).metrics is shared
    assert KafkaConfig(metrics={"PORT": 7}).metrics == shared
    assert KafkaConfig().metrics is not KafkaConfig().metrics


def test_paths_are_taken_as_text(tmp_path: Path) -> None:
    assert KafkaConfig(ssl_ca_location=tmp_path).ssl_ca_location == str(tmp_path)


@pytest.mark.parametrize("name", ["enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store"])
def test_auto_commit_cannot_be_turned_on(name: str) -> None:
    for on in (True, "true", "T", 1, "1", None, "yes"):
        with pytest.raises(ConfigurationError, match=rf"KafkaConfig\.librdkafka: '{name}' cannot be turned on"):
            KafkaConfig(librdkafka={name: on})
    for off in (False, "false", "F", 0, "0"):
        assert KafkaConfig(librdkafka={name: off}).librdkafka == {name: off}


# ---------------------------------------------------------------- secrets


def shown_everywhere(config: KafkaConfig) -> str:
    return "\n".join(
        [
            repr(config),
            str(config),
            f"{config}",
            str(config.model_dump()),
            config.model_dump_json(),
            str(vars(config)["sasl_password"]),
        ]
    )


def test_secrets_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", SECRET)
    config = KafkaConfig(
        ssl_key_password=SECRET,
        librdkafka={"sasl.password": SECRET, "ssl.key.pem": SECRET, "sasl.oauthbearer.client.secret": SECRET},
    )
    assert SECRET not in shown_everywhere(config)
    config.sasl_password = SECRET  # type: ignore[assignment]
    config.librdkafka = {"ssl.keystore.password": SECRET, "sasl.oauthbearer.config": SECRET}
    assert SECRET not in shown_everywhere(config)
    config.librdkafka["anything.at.all"] = SECRET
    assert SECRET not in repr(config) + str(config)
    assert "anything.at.all" in repr(config)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sasl_password", [SECRET]),
        ("ssl_key_password", {"a": SECRET}),
        ("sasl_password", SECRET_NUMBER),
        ("librdkafka", f'{{"sasl.password": "{SECRET}"'),
        ("librdkafka", {"sasl.password": [SECRET]}),
        ("librdkafka", {"sasl.password": SECRET, "enable.auto.commit": True}),
        ("librdkafka", [SECRET]),
        ("metrics", {"port": 1, "password": SECRET}),
    ],
    ids=ids,
)
def test_errors_show_no_secrets(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as constructed:
        KafkaConfig(**{name: value, "sasl_username": "alice", "session_timeout_ms": 1})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError) as assigned:
        setattr(KafkaConfig(), name, value)
    for refused in (constructed.value, assigned.value):
        printed = "".join(traceback.TracebackException.from_exception(refused).format())
        assert SECRET not in printed
        assert str(SECRET_NUMBER) not in printed


# ---------------------------------------------------------------- copies and the second validation


def test_settings_survive_copying_and_pickling() -> None:
    config = KafkaConfig(consumer_group="demo", sasl_password="x", librdkafka={"a": 1})
    for twin in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config)), config.model_copy()):  # noqa: S301 -- our own
        assert twin == config
        assert twin.CONSUMER_GROUP == "demo"


def test_a_second_validation_returns_an_equal_and_independent_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    config = KafkaConfig(consumer_group="demo", librdkafka={"sasl.password": "x", "a": 1}, metrics={"port": 3})
    monkeypatch.setenv("KAFKA_CONSUMER_GROUP", "not read again")
    monkeypatch.setenv("METRICS_PORT", "4")
    checked = config.validate_all()
    assert checked == config
    config.metrics.port = 9
    config.bootstrap_servers.append("b:1")
    config.librdkafka["b"] = 2
    assert (checked.metrics.port, checked.bootstrap_servers) == (3, ["localhost:9092"])
    assert "b" not in checked.librdkafka


def broken_list(config: KafkaConfig) -> None:
    config.bootstrap_servers.append("no address")


def broken_mapping(config: KafkaConfig) -> None:
    config.librdkafka["enable.auto.commit"] = True


def wrong_nested_type(config: KafkaConfig) -> None:
    object.__setattr__(config, "metrics", ExecutionConfig())


def nested_value_past_pydantic(config: KafkaConfig) -> None:
    config.metrics.__dict__["port"] = -1


def unvalidated_copy(config: KafkaConfig) -> None:
    config.__dict__["parallel_consumer"] = config.parallel_consumer.model_copy(update={"poll_batch_size": 0})


def deleted_field(config: KafkaConfig) -> None:
    del config.__dict__["consumer_group"]


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        (broken_list, "bootstrap_servers"),
        (broken_mapping, "enable.auto.commit"),
        (wrong_nested_type, "metrics"),
        (nested_value_past_pydantic, "port"),
        (unvalidated_copy, "poll_batch_size"),
        (deleted_field, "consumer_group"),
    ],
)
def test_a_second_validation_finds_what_assignment_could_not_see(
    break_it: Callable[[KafkaConfig], None], named: str
) -> None:
    config = KafkaConfig()
    break_it(config)
    with pytest.raises(ConfigurationError, match=named):
        config.validate_all()


# ---------------------------------------------------------------- policies


def test_policies_carry_the_settings() -> None:
    parallel = ParallelConsumerConfig(
        ordering_mode="partition", null_key_ordering="partition", queue_max_messages=3, queue_max_bytes=4
    )
    assert parallel.ordering_policy() == OrderingPolicy(OrderingMode.PARTITION, NullKeyOrdering.PARTITION)
    assert parallel.flow_limits() == FlowLimits(max_messages=3, max_bytes=4)
    execution = ExecutionConfig(
        max_retries=1,
        retry_backoff_ms=2,
        exponential_backoff=False,
        max_retry_backoff_ms=3,
        retry_jitter_ms=4,
        task_timeout_ms=5,
    )
    assert execution.retry_policy() == RetryPolicy(1, 2, False, 3, 4, 5)


def test_policies_and_settings_have_the_same_defaults() -> None:
    assert ParallelConsumerConfig().ordering_policy() == OrderingPolicy()
    assert ParallelConsumerConfig().flow_limits() == FlowLimits()
    assert ExecutionConfig().retry_policy() == RetryPolicy()


@pytest.mark.parametrize(
    ("choice", "dlq_enabled", "expected"),
    [
        (None, True, OnExhausted.DLQ),
        (None, False, OnExhausted.STOP),
        ("dlq", True, OnExhausted.DLQ),
        ("skip", True, OnExhausted.SKIP),
        ("skip", False, OnExhausted.SKIP),
        ("pause_partition", False, OnExhausted.PAUSE_PARTITION),
    ],
)
def test_what_follows_the_last_attempt_is_the_named_choice_or_no_silent_drop(
    choice: Any, dlq_enabled: bool, expected: OnExhausted
) -> None:
    assert ExecutionConfig(on_exhausted=choice).exhaustion(dlq_enabled=dlq_enabled) is expected


def test_dead_letters_cannot_be_chosen_where_they_are_off() -> None:
    with pytest.raises(ConfigurationError, match=r"ExecutionConfig\.on_exhausted is dlq and KafkaConfig\.dlq_enabled"):
        ExecutionConfig(on_exhausted="dlq").exhaustion(dlq_enabled=False)


def test_an_initializer_is_a_function_or_the_place_of_one() -> None:
    assert ExecutionConfig(initializer=print).validate_all().initializer is print
    assert ExecutionConfig(initializer="package.module:Class.method").initializer == "package.module:Class.method"
    for wrong in ("module.function", "module:", "rm -rf", 7):
        with pytest.raises(ConfigurationError, match=r"ExecutionConfig\.initializer"):
            ExecutionConfig(initializer=wrong)  # type: ignore[arg-type]


def test_the_names_of_others_lead_to_settings_that_there_are() -> None:
    public = [cls for cls in Settings.__subclasses__() if cls.__module__.startswith("pyrallel_consumer.config.")]
    ours = {field for each in public for field in each.model_fields}

    assert set(NAMES_ELSEWHERE.values()) <= ours
    assert ours.isdisjoint(NAMES_ELSEWHERE)
