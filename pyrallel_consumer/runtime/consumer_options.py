"""What every form of the consumer's constructor takes by name, for type checkers; nothing here runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from pyrallel_consumer.config import ExecutionConfig, OutputConfig, RayConfig
from pyrallel_consumer.dto import CompletionEvent
from pyrallel_consumer.execution_plane.engine import ExecutionEngine
from pyrallel_consumer.ingress.serialization import DeserializerOf

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

LifespanFunction: TypeAlias = Callable[[], AbstractContextManager[Any] | AbstractAsyncContextManager[Any]]


class ConsumerOptions(TypedDict, total=False):
    """All but what decides which items the worker takes."""

    execution_config: ExecutionConfig | None
    engine: ExecutionEngine | None
    key_type: Any
    key_deserializer: DeserializerOf[Any] | Callable[[], DeserializerOf[Any]] | None
    output: OutputConfig | None
    ray: RayConfig | None
    on_completion: Callable[[CompletionEvent], object] | None
    lifespan: LifespanFunction | None
    registry: CollectorRegistry | None
