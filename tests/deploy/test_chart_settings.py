"""Every setting can be given to the chart, arrives in the pod under its name, and keeps its value there."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.config.settings import Settings, revealed
from tests.deploy.chart import ROOT, HelmError, environment, render

PLAIN: dict[str, Any] = {"image": {"repository": "shop"}}
GIVEN: dict[str, Any] = {
    "KAFKA_BOOTSTRAP_SERVERS": ["kafka-1:9092", "kafka-2:9092"],
    "KAFKA_LIBRDKAFKA": {"client.rack": "a & b", "fetch.wait.max.ms": 50},
    "KAFKA_SASL_PASSWORD": "'quoted' $ecret \"#1\"",
    "KAFKA_DLQ_TOPIC_SUFFIX": ".failed",
    "EXECUTION_INITIALIZER": "shop:prepare",
    "OUTPUT_LIBRDKAFKA": {"linger.ms": 5},
    "OUTPUT_TOPICS": ["invoices", "audit"],
    "OUTPUT_VALUE_SERIALIZER": "shop.formats:as_json",
    "RAY_RESOURCES": {"disk": 1.5},
    "RAY_RUNTIME_ENV": {"pip": ["numpy"], "env_vars": {"A": "<&>"}},
    "PYRALLEL_TOPIC": ["orders", "payments"],
    "PYRALLEL_WORKER": "shop:handle",
}
"""Values for settings that do not take just any text."""


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chart_schema", ROOT / "deploy" / "chart_schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


chart_schema = _module()
NAMES = chart_schema.variables()
REFUSED = chart_schema.SET_BY_THE_CHART | chart_schema.NOT_FOR_A_CLUSTER


def different(name: str) -> Any:
    """A value of the setting that is not its default, as YAML would have it."""
    _, _, field = NAMES[name]
    if name in GIVEN:
        return GIVEN[name]
    schema = chart_schema.schema_of(field)
    default = field.get_default(call_default_factory=True)
    if "enum" in schema:
        return next(value for value in schema["enum"] if value != default)
    if schema.get("type") == "boolean":
        return not default
    if schema.get("type") in {"integer", "number"}:
        highest = schema.get("maximum", 10)
        return highest if highest != default else schema["minimum"]
    return ["some", "thing"] if "array" in schema.get("type", ()) else "something"


def test_the_schema_is_as_it_would_be_written_now() -> None:
    written = chart_schema.SCHEMA.read_text("utf-8")
    assert written == chart_schema.text(), "settings have changed: run `make chart-schema`"


def test_every_class_of_settings_is_known_to_the_chart() -> None:
    classes = {each for each in _below(Settings) if each.__module__.startswith("pyrallel_consumer")}
    assert classes == set(chart_schema.SETTINGS)


def _below(root: type[Settings]) -> Iterator[type[Settings]]:
    for each in root.__subclasses__():
        yield each
        yield from _below(each)


@pytest.fixture(scope="module")
def arrived(helm: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a pod whose release was given every setting."""
    secret = {name for name, (_, _, field) in NAMES.items() if chart_schema.is_secret(field)}
    equals = {"EXECUTION_MAX_RETRIES"}  # another name of EXECUTION_MAX_ATTEMPTS, which must agree
    values = {
        **PLAIN,
        "settings": {name: different(name) for name in NAMES if name not in secret | REFUSED | equals},
        "secretSettings": {name: different(name) for name in secret},
    }
    return environment(render(helm, values, tmp_path_factory.mktemp("values")))


@pytest.mark.parametrize("name", sorted(set(NAMES) - REFUSED - {"EXECUTION_MAX_RETRIES"}))
def test_the_setting_arrives(
    name: str, arrived: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings, field, _ = NAMES[name]
    assert name in arrived
    for variable, value in arrived.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)
    found = getattr(settings(), field)
    expected = different(name)
    if isinstance(found, dict):
        assert {key: revealed(value) for key, value in found.items()} == expected
    elif isinstance(found, float):
        assert math.isclose(found, expected)
    else:
        assert (revealed(found) if not isinstance(found, list) else found) == expected


def test_second_names_arrive_too(helm: str, tmp_path: Path) -> None:
    found = environment(render(helm, {**PLAIN, "settings": {"EXECUTION_MAX_RETRIES": 7}}, tmp_path))
    assert found["EXECUTION_MAX_RETRIES"] == "7"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"EXECUTION_MAX_IN_FLIGTH": 5}, "EXECUTION_MAX_IN_FLIGTH"),
        ({"EXECUTION_MAX_IN_FLIGHT": 0}, "EXECUTION_MAX_IN_FLIGHT"),
        ({"EXECUTION_MODE": "fibres"}, "EXECUTION_MODE"),
        ({"KAFKA_SASL_PASSWORD": "open to all"}, "KAFKA_SASL_PASSWORD"),
        ({"METRICS_ENABLED": False}, "METRICS_ENABLED"),
    ],
)
def test_what_the_library_would_refuse_helm_refuses(
    helm: str, settings: dict[str, Any], why: str, tmp_path: Path
) -> None:
    with pytest.raises(HelmError, match=why):
        render(helm, {**PLAIN, "settings": settings}, tmp_path)


def test_the_list_of_brokers_is_one_text(arrived: dict[str, str]) -> None:
    assert arrived["KAFKA_BOOTSTRAP_SERVERS"] == "kafka-1:9092,kafka-2:9092"
    assert json.loads(arrived["KAFKA_LIBRDKAFKA"]) == GIVEN["KAFKA_LIBRDKAFKA"]
    assert arrived["PARALLEL_CONSUMER_QUEUE_MAX_BYTES"] == str(1 << 40)
    assert isinstance(KafkaConfig, type)
