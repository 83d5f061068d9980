"""Pyrallel Consumer: Kafka with far more parallelism than partitions, ordered by key, committed by gaps.

Public names are here, loaded when they are first used. A map of the package, in the order of a message's path:

- ``ingress``: talks to Kafka; its ``polling`` is the poll thread, its ``reading`` that thread's own decisions
- ``control_plane``: decides which messages start, are committed or given up, and what pauses; pure, on the event loop
- ``execution_plane``: runs the worker (``engine`` is the contract, ``attempts`` the state, ``async_engine`` one engine)
- ``runtime``: the pump between them on the event loop; ``consumer``: starts and stops all of it
- ``config``, ``dto``, ``errors``: settings, values, exceptions; ``observability``, ``cli``, ``testing``: around it

Not obvious: every call on the Kafka client is made on the poll thread, every decision on the loop's thread, and
they exchange batches through one inbox and one queue of commands. No part below ``consumer`` knows another's internals.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pyrallel_consumer.release import VERSION, warn_of_another

if TYPE_CHECKING:
    from pyrallel_consumer.config import (
        ExecutionConfig,
        KafkaConfig,
        MetricsConfig,
        OutputConfig,
        ParallelConsumerConfig,
        RayConfig,
    )
    from pyrallel_consumer.consumer import PyrallelConsumer
    from pyrallel_consumer.dto import (
        BatchBy,
        BatchFigures,
        CompletionEvent,
        CompletionStatus,
        DeadLetterSnapshot,
        DlqPayloadMode,
        ExecutionMode,
        NullKeyOrdering,
        OnExhausted,
        OrderingMode,
        PartitionSnapshot,
        RebalanceStateStrategy,
        RetrySnapshot,
        RuntimeSnapshot,
        TopicPartition,
        WorkItem,
    )
    from pyrallel_consumer.errors import (
        AuthenticationError,
        BatchFailed,
        BrokerError,
        BrokerUnreachableError,
        ConfigurationError,
        DecodeError,
        DoNotRetry,
        ExecutionError,
        InvariantViolation,
        LifespanError,
        MessageExhaustedError,
        PoisonKeyError,
        ProcessDiedError,
        PyrallelConsumerError,
        RecordError,
        RecordRefusedError,
        RetryLater,
        StateError,
        TaskTimeoutError,
        UnknownTopicError,
        WorkerMismatchError,
    )
    from pyrallel_consumer.execution_plane.engine import CompletionChannel, EngineStatus, ExecutionEngine, StuckAttempt
    from pyrallel_consumer.ingress.broker_poller import BrokerPoller
    from pyrallel_consumer.record import Delivery, Record
    from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker

_MODULES = {
    "config": (
        "ExecutionConfig",
        "KafkaConfig",
        "MetricsConfig",
        "OutputConfig",
        "ParallelConsumerConfig",
        "RayConfig",
    ),
    "consumer": ("PyrallelConsumer",),
    "dto": (
        "BatchBy",
        "BatchFigures",
        "CompletionEvent",
        "CompletionStatus",
        "DeadLetterSnapshot",
        "DlqPayloadMode",
        "ExecutionMode",
        "NullKeyOrdering",
        "OnExhausted",
        "OrderingMode",
        "PartitionSnapshot",
        "RebalanceStateStrategy",
        "RetrySnapshot",
        "RuntimeSnapshot",
        "TopicPartition",
        "WorkItem",
    ),
    "errors": (
        "AuthenticationError",
        "BatchFailed",
        "BrokerError",
        "BrokerUnreachableError",
        "ConfigurationError",
        "DecodeError",
        "DoNotRetry",
        "ExecutionError",
        "InvariantViolation",
        "LifespanError",
        "MessageExhaustedError",
        "ProcessDiedError",
        "PoisonKeyError",
        "PyrallelConsumerError",
        "RecordError",
        "RecordRefusedError",
        "RetryLater",
        "StateError",
        "TaskTimeoutError",
        "UnknownTopicError",
        "WorkerMismatchError",
    ),
    "execution_plane.engine": ("CompletionChannel", "EngineStatus", "ExecutionEngine", "StuckAttempt"),
    "ingress.broker_poller": ("BrokerPoller",),
    "testing.broker.embedded_broker": ("EmbeddedBroker",),
    "record": ("Delivery", "Record"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__version__ = VERSION
__distribution__: str
"""Name and version of the installed distribution; read when it is asked for."""

__all__ = [
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


def __getattr__(name: str) -> object:
    if name == "__distribution__":
        return import_module("pyrallel_consumer.release").distribution()
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


warn_of_another()
