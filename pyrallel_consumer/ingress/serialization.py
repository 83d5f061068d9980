"""Makes the context for calls of confluent-kafka's deserializers, and has their types for type checkers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from confluent_kafka.serialization import Deserializer as ClientDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from pyrallel_consumer.dto import Headers

V = TypeVar("V")

DeserializerOf: TypeAlias = Callable[[bytes | None, SerializationContext], V]
"""Called with the bytes and the context. Those of ``confluent_kafka.schema_registry`` fit as they are."""

RegistryDeserializer: TypeAlias = ClientDeserializer | Callable[[], ClientDeserializer]
"""One of confluent-kafka's classes, or a function that makes it: type checkers do not know their results."""

_FIELDS = {"key": MessageField.KEY, "value": MessageField.VALUE}


def serialization_context(topic: str, field: str, headers: Headers) -> SerializationContext:
    """The context of a message's ``key`` or ``value``."""
    return SerializationContext(topic, _FIELDS[field], headers)  # type: ignore[arg-type]  # a list of values is invariant
