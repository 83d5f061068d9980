"""Names of settings: two spellings, established and unknown names, and what errors call a setting."""

from __future__ import annotations

import pytest

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, MetricsConfig
from pyrallel_consumer.config.settings import NAMES_ELSEWHERE, Settings
from pyrallel_consumer.errors import ConfigurationError


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
        ("max_retries", "it is a setting of ExecutionConfig, given to PyrallelConsumer as execution_config="),
        ("metrics_port", r"did you mean config\.metrics\.port\?"),
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


def test_the_names_of_others_lead_to_settings_that_there_are() -> None:
    public = [cls for cls in Settings.__subclasses__() if cls.__module__.startswith("pyrallel_consumer.config.")]
    ours = {field for each in public for field in each.model_fields}

    assert set(NAMES_ELSEWHERE.values()) <= ours
    assert ours.isdisjoint(NAMES_ELSEWHERE)
