"""The public surface: every name is where it is documented, and asking for one imports no more than it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

import pytest

import pyrallel_consumer

PUBLIC_NAMES = [
    "AuthenticationError",
    "BatchBy",
    "BatchFailed",
    "BatchFigures",
    "BrokerError",
    "BrokerPoller",
    "BrokerUnreachableError",
    "CompletionChannel",
    "CompletionEvent",
    "CompletionStatus",
    "ConfigurationError",
    "DeadLetterSnapshot",
    "DecodeError",
    "Delivery",
    "DlqPayloadMode",
    "DoNotRetry",
    "EmbeddedBroker",
    "EngineStatus",
    "ExecutionConfig",
    "ExecutionEngine",
    "ExecutionError",
    "ExecutionMode",
    "InvariantViolation",
    "KafkaConfig",
    "LifespanError",
    "MessageExhaustedError",
    "MetricsConfig",
    "NullKeyOrdering",
    "OnExhausted",
    "OrderingMode",
    "OutputConfig",
    "ParallelConsumerConfig",
    "PartitionSnapshot",
    "PoisonKeyError",
    "ProcessDiedError",
    "PyrallelConsumer",
    "PyrallelConsumerError",
    "RayConfig",
    "RebalanceStateStrategy",
    "Record",
    "RecordError",
    "RecordRefusedError",
    "RetryLater",
    "RetrySnapshot",
    "RuntimeSnapshot",
    "StateError",
    "StuckAttempt",
    "TaskTimeoutError",
    "TopicPartition",
    "UnknownTopicError",
    "WorkItem",
    "WorkerMismatchError",
]
HEAVY_MODULES = ["confluent_kafka", "pydantic", "pydantic_settings", "prometheus_client", "rich", "typer", "asyncio"]


def modules_after(statement: str) -> set[str]:
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(ran.stdout))


def test_the_public_names_are_these() -> None:
    assert pyrallel_consumer.__all__ == PUBLIC_NAMES


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_every_public_name_can_be_had_and_is_the_same_object_as_in_its_own_module(name: str) -> None:
    value = getattr(pyrallel_consumer, name)

    assert value.__name__ == name
    assert getattr(import_module(value.__module__), name) is value
    assert name in dir(pyrallel_consumer)


def test_every_exception_of_the_library_is_public() -> None:
    errors = import_module("pyrallel_consumer.errors")

    raised = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert raised <= set(PUBLIC_NAMES)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Consumer'"):
        _ = pyrallel_consumer.Consumer


def test_importing_the_package_alone_loads_neither_the_client_nor_pydantic() -> None:
    loaded = modules_after("import pyrallel_consumer")

    assert loaded.isdisjoint(HEAVY_MODULES)


def test_errors_and_values_need_neither_the_client_nor_pydantic() -> None:
    loaded = modules_after("from pyrallel_consumer import WorkItem, RetryLater, ExecutionMode, StateError")

    assert loaded.isdisjoint(HEAVY_MODULES)


def test_the_consumer_itself_needs_no_server_no_terminal_and_no_extra() -> None:
    loaded = modules_after("from pyrallel_consumer import ExecutionConfig, KafkaConfig, PyrallelConsumer")

    assert loaded.isdisjoint({"prometheus_client", "waitress", "rich", "typer", "click"})
    assert loaded.isdisjoint({"opentelemetry", "uvloop", "watchfiles", "psutil", "matplotlib"})


def test_the_command_line_answers_before_anything_heavy_is_loaded() -> None:
    loaded = modules_after("from pyrallel_consumer.cli import main")

    assert loaded.isdisjoint({"confluent_kafka", "pydantic", "pydantic_settings", "prometheus_client", "asyncio"})


def test_star_import_brings_all_public_names() -> None:
    namespace: dict[str, object] = {}
    exec("from pyrallel_consumer import *", namespace)  # noqa: S102 -- what a user may write

    assert set(PUBLIC_NAMES) <= set(namespace)
