"""Makes the context that confluent-kafka's deserializers are called with."""

from __future__ import annotations

from confluent_kafka.serialization import MessageField, SerializationContext

from pyrallel_consumer.dto import Headers

_FIELDS = {"key": MessageField.KEY, "value": MessageField.VALUE}


def serialization_context(topic: str, field: str, headers: Headers) -> SerializationContext:
    """The context of a message's ``key`` or ``value``."""
    return SerializationContext(topic, _FIELDS[field], headers)  # type: ignore[arg-type]  # a list of values is invariant
