"""Where settings come from: default, environment, file and argument, and which of them wins."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, MetricsConfig, ParallelConsumerConfig
from pyrallel_consumer.config.settings import Settings
from pyrallel_consumer.dto import ExecutionMode
from pyrallel_consumer.errors import ConfigurationError
from tests.unit.config.settings_table import EXECUTION_SETTINGS, SECRETS, SETTINGS, ids


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
