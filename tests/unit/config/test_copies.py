"""Copies of settings, and the second validation, which finds what assignments could not show."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig
from pyrallel_consumer.errors import ConfigurationError


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
