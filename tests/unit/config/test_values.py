"""Values of settings: ranges, types, and refusals that name the setting and change nothing."""

from __future__ import annotations

import copy
import uuid
from pathlib import Path

import pytest

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, MetricsConfig, ParallelConsumerConfig
from pyrallel_consumer.config.settings import Settings, SettingsError
from pyrallel_consumer.dto import ExecutionMode, OrderingMode
from pyrallel_consumer.errors import ConfigurationError
from tests.unit.config.settings_table import RANGES, ids


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
