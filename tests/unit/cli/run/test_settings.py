"""From flags, environment and file to the settings of a run, with the source of each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyrallel_consumer import ConfigurationError, ExecutionConfig, ExecutionMode, KafkaConfig, MetricsConfig
from pyrallel_consumer.cli.run.config import RunConfig
from pyrallel_consumer.cli.run.plan import Flags
from pyrallel_consumer.cli.run.settings import DEFAULT, settings_of, typos


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without settings, in a folder without a file."""
    for name in list(os.environ):
        if name.startswith(("KAFKA_", "EXECUTION_", "PARALLEL_CONSUMER_", "METRICS_", "PYRALLEL_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(
    variables: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("KAFKA_CONSUMER_GROUP=file\nEXECUTION_MODE=process\nMETRICS_HOST=0.0.0.0\n")
    variables.setenv("KAFKA_CONSUMER_GROUP", "environment")
    variables.setenv("EXECUTION_MODE", "thread")

    settings = settings_of(Flags(group="flag"))

    assert settings.kafka.consumer_group == "flag"
    assert settings.execution.mode is ExecutionMode.THREAD
    assert settings.kafka.metrics.host == "0.0.0.0"  # noqa: S104 -- a setting, listened on by nobody
    assert str(settings.origins[KafkaConfig, "consumer_group"]) == "flag --group"
    assert str(settings.origins[ExecutionConfig, "mode"]) == "environment EXECUTION_MODE"
    assert str(settings.origins[MetricsConfig, "host"]) == ".env METRICS_HOST"
    assert settings.origin(settings.execution, "max_attempts") is DEFAULT


def test_the_name_that_counts_is_told_where_a_setting_has_several(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("PARALLEL_CONSUMER_MAX_RETRIES", "7")
    variables.setenv("parallel_consumer_execution_task_timeout_ms", "9")

    settings = settings_of(Flags())

    assert (settings.execution.max_retries, settings.execution.task_timeout_ms) == (7, 9)
    assert settings.origins[ExecutionConfig, "max_attempts"].name == "PARALLEL_CONSUMER_MAX_RETRIES"
    assert settings.origins[ExecutionConfig, "task_timeout_ms"].name == "parallel_consumer_execution_task_timeout_ms"


class TestConcurrency:
    """One number for the limit of each mode: tasks, threads or processes."""

    def test_it_is_the_slots_of_workers_that_await(self, variables: pytest.MonkeyPatch) -> None:
        settings = settings_of(Flags(concurrency=50))

        assert (settings.execution.max_in_flight, settings.execution.worker_pool_size) == (50, 0)
        assert str(settings.origins[ExecutionConfig, "max_in_flight"]) == "flag --concurrency"

    @pytest.mark.parametrize("mode", ["thread", "process"])
    def test_it_is_the_number_of_threads_or_processes(self, variables: pytest.MonkeyPatch, mode: str) -> None:
        settings = settings_of(Flags(mode=mode, concurrency=50))

        assert (settings.execution.max_in_flight, settings.execution.worker_pool_size) == (1000, 50)
        assert settings.origin(settings.execution, "max_in_flight") is DEFAULT

    def test_there_are_slots_enough_for_the_threads(self, variables: pytest.MonkeyPatch) -> None:
        variables.setenv("EXECUTION_MAX_IN_FLIGHT", "10")
        variables.setenv("EXECUTION_MODE", "thread")
        variables.setenv("PYRALLEL_CONCURRENCY", "50")

        settings = settings_of(Flags())

        assert (settings.execution.max_in_flight, settings.execution.worker_pool_size) == (50, 50)
        assert settings.origins[ExecutionConfig, "max_in_flight"].name == "PYRALLEL_CONCURRENCY"

    def test_what_no_pool_can_have_is_refused_by_name(self, variables: pytest.MonkeyPatch) -> None:
        with pytest.raises(ConfigurationError, match="worker_pool_size"):
            settings_of(Flags(mode="thread", concurrency=5000))
        with pytest.raises(ConfigurationError, match="--concurrency: "):
            settings_of(Flags(concurrency=0))


def test_a_metrics_port_turns_metrics_on(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("METRICS_PORT", "1234")
    assert not settings_of(Flags()).kafka.metrics.enabled

    metrics = settings_of(Flags(metrics_port=0)).kafka.metrics

    assert (metrics.enabled, metrics.port) == (True, 0)


@pytest.mark.parametrize(
    ("topics", "topic"),
    [
        (("orders",), "orders"),
        (("orders,bills", "carts"), ["orders", "bills", "carts"]),
        ((r"^orders-\d{1,3}",), r"^orders-\d{1,3}"),
    ],
)
def test_topics_are_given_one_by_one_or_by_commas_or_as_a_pattern(
    variables: pytest.MonkeyPatch, topics: tuple[str, ...], topic: str | list[str]
) -> None:
    assert settings_of(Flags(topics=topics)).topic() == topic
    variables.setenv("PYRALLEL_TOPIC", ",".join(topics))
    assert settings_of(Flags()).topic() == topic


def test_without_topic_or_worker_the_variables_that_help_are_named(variables: pytest.MonkeyPatch) -> None:
    settings = settings_of(Flags())

    with pytest.raises(ConfigurationError, match="PYRALLEL_TOPIC"):
        settings.topic()
    with pytest.raises(ConfigurationError, match="PYRALLEL_WORKER"):
        settings.worker()
    assert settings_of(Flags(worker="app:handle")).worker() == "app:handle"


def test_typos_are_found_and_other_programs_variables_are_not(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("KAFKA_HOME", "/opt/kafka")
    variables.setenv("KAFKA_BOOTSTRAP_SERVER", "localhost:9092")
    variables.setenv("EXECUTION_MODE", "async")
    Path(".env").write_text("PYRALLEL_LOGLEVEL=debug\n")

    assert typos() == [
        "KAFKA_BOOTSTRAP_SERVER is set and is not a setting; did you mean KAFKA_BOOTSTRAP_SERVERS?",
        "PYRALLEL_LOGLEVEL in .env is set and is not a setting; did you mean PYRALLEL_LOG_LEVEL?",
    ]


def test_what_other_clients_call_a_setting_is_told_only_where_the_setting_is_not_set(
    variables: pytest.MonkeyPatch,
) -> None:
    variables.setenv("KAFKA_BROKERS", "localhost:9092")

    assert typos() == ["KAFKA_BROKERS is set and is not a setting; did you mean KAFKA_BOOTSTRAP_SERVERS?"]
    variables.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
    assert typos() == []


def test_what_a_run_knows_is_spelled_as_it_likes(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("PYRALLEL_LOG_LEVEL", "WARNING")
    variables.setenv("PYRALLEL_RELOAD_DIR", "src, lib")

    run = RunConfig(log_format="JSON")

    assert (run.log_level, run.log_format, run.reload_dir) == ("warning", "json", ["src", "lib"])
