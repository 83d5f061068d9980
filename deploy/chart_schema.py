"""Writes the chart's ``values.schema.json``: from the settings classes, so that Helm refuses what the library would.

    python deploy/chart_schema.py

A test insists that the file is as this program would write it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from pyrallel_consumer.cli.run.config import RunConfig
from pyrallel_consumer.config import (
    ExecutionConfig,
    KafkaConfig,
    MetricsConfig,
    OutputConfig,
    ParallelConsumerConfig,
    RayConfig,
)
from pyrallel_consumer.config.settings import Settings

CHART = Path(__file__).with_name("helm") / "pyrallel-consumer"
SCHEMA = CHART / "values.schema.json"
SETTINGS: tuple[type[Settings], ...] = (
    KafkaConfig,
    ParallelConsumerConfig,
    ExecutionConfig,
    OutputConfig,
    RayConfig,
    MetricsConfig,
    RunConfig,
)
SET_BY_THE_CHART = frozenset({"METRICS_ENABLED", "METRICS_HOST"})
NOT_FOR_A_CLUSTER = frozenset({"PYRALLEL_RELOAD", "PYRALLEL_RELOAD_DIR"})

_BOOLEAN = {"type": "boolean"}
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_MAPPING = {"type": "object"}
_MAPPINGS = {"type": "array", "items": _MAPPING}
_LABELS = {"type": "object", "additionalProperties": _TEXT}
_COUNT = {"type": "integer", "minimum": 0}


def variables() -> dict[str, tuple[type[Settings], str, FieldInfo]]:
    """Every setting by the name of its variable: the first, which beats the others, and its equals."""
    return {
        variable: (settings, name, field)
        for settings in SETTINGS
        for name, field in settings.model_fields.items()
        if not _is_settings(field.annotation)
        for variable in settings.variables_of(name)[0]
    }


def is_secret(field: FieldInfo) -> bool:
    return SecretStr in _parts(field.annotation)


def is_mapping(field: FieldInfo) -> bool:
    """Whether it holds settings of a client: some may be passwords."""
    return any(get_origin(part) is dict for part in _parts(field.annotation))


def schema() -> dict[str, Any]:
    found = variables()
    shown = {
        name: schema_of(field)
        for name, (_, _, field) in found.items()
        if not is_secret(field) and name not in SET_BY_THE_CHART | NOT_FOR_A_CLUSTER
    }
    secret = {
        name: schema_of(field)
        for name, (_, _, field) in found.items()
        if is_secret(field) or is_mapping(field) or _parts(field.annotation) == [str]
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **_closed(
            {
                "settings": _closed(shown),
                "secretSettings": _closed(secret),
                **_of_the_workload(),
                **_of_the_surroundings(),
                "autoscaling": _of_the_autoscaling(),
                "global": _MAPPING,
            }
        ),
    }


def _of_the_workload() -> dict[str, Any]:
    some: dict[str, Any] = {"type": "integer", "minimum": 1}
    probe = _closed({"periodSeconds": some, "timeoutSeconds": some, "failureThreshold": some})
    return {
        "image": _closed(
            {
                "repository": _TEXT,
                "tag": _TEXT,
                "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
                "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
            }
        ),
        "imagePullSecrets": _MAPPINGS,
        "existingSecrets": _TEXTS,
        "extraEnv": _MAPPINGS,
        "command": _TEXTS,
        "args": _TEXTS,
        "replicas": _COUNT,
        "staticMembership": _closed({"enabled": _BOOLEAN}),
        "strategy": _MAPPING,
        "terminationGracePeriodSeconds": {"type": ["integer", "null"], "minimum": 0},
        "preStopSeconds": _COUNT,
        "probes": _closed(dict.fromkeys(("liveness", "readiness", "startup"), probe)),
        "resources": _MAPPING,
        "serviceAccountName": _TEXT,
        "podLabels": _LABELS,
        "podAnnotations": _LABELS,
        "nodeSelector": _LABELS,
        "tolerations": _MAPPINGS,
        "affinity": _MAPPING,
        "priorityClassName": _TEXT,
        "extraVolumes": _MAPPINGS,
        "extraVolumeMounts": _MAPPINGS,
        "sharedMemory": _TEXT,
        "nameOverride": _TEXT,
        "fullnameOverride": _TEXT,
    }


def _of_the_surroundings() -> dict[str, Any]:
    return {
        "podDisruptionBudget": _closed({"enabled": _BOOLEAN, "maxUnavailable": {"type": ["integer", "string"]}}),
        "podMonitor": _closed({"enabled": _BOOLEAN, "interval": _TEXT, "labels": _LABELS}),
        "prometheusRule": _closed({"enabled": _BOOLEAN, "labels": _LABELS, "without": _TEXTS}),
    }


def _of_the_autoscaling() -> dict[str, Any]:
    steps = _closed(dict.fromkeys(("stabilizationWindowSeconds", "periodSeconds", "pods"), _COUNT))
    some = {"type": ["integer", "null"], "minimum": 1}
    return _closed(
        {
            "enabled": _BOOLEAN,
            "by": {"enum": ["prometheus", "kafka"]},
            "partitions": some,
            "minReplicas": _COUNT,
            "maxReplicas": some,
            "lagPerReplica": {"type": "integer", "minimum": 1},
            "pollingIntervalSeconds": {"type": "integer", "minimum": 1},
            "scaleUp": steps,
            "scaleDown": steps,
            "prometheus": _closed({"serverAddress": _TEXT, "query": _TEXT}),
            "kafka": _closed(dict.fromkeys(("bootstrapServers", "consumerGroup", "topic"), _TEXT)),
            "authenticationRef": _TEXT,
        }
    )


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    """An object with these keys and no other, so that a typo is an error."""
    return {"type": "object", "additionalProperties": False, "properties": dict(properties)}


def schema_of(field: FieldInfo) -> dict[str, Any]:
    parts = _parts(field.annotation)
    values = [value for part in parts for value in _values_of(part)]
    if values:
        return {"enum": values}
    if bool in parts:
        return _BOOLEAN
    if int in parts or float in parts:
        return {"type": "integer" if int in parts else "number"} | _range(field)
    if is_mapping(field):
        return {"type": ["object", "string"]}
    if any(get_origin(part) is list for part in parts):
        return {"type": ["array", "string"], "items": _TEXT}
    return _TEXT


def _values_of(part: Any) -> list[Any]:
    if get_origin(part) is Literal:
        return list(get_args(part))
    return [member.value for member in part] if isinstance(part, type) and issubclass(part, Enum) else []


def _range(field: FieldInfo) -> dict[str, Any]:
    names = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
    return {word: getattr(rule, name) for rule in field.metadata for name, word in names.items() if hasattr(rule, name)}


def _parts(annotation: Any) -> list[Any]:
    """The members of a union without None, or the annotation alone."""
    if get_origin(annotation) in {Union, UnionType}:
        return [part for member in get_args(annotation) for part in _parts(member)]
    if get_origin(annotation) is Callable:
        return []
    return [] if annotation is type(None) else [annotation]


def _is_settings(annotation: Any) -> bool:
    return any(isinstance(part, type) and issubclass(part, Settings) for part in _parts(annotation))


def text() -> str:
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(text(), "utf-8")
    print(f"{SCHEMA.name}: {len(variables())} settings")
