"""An order in the three formats of a schema registry: schemas, how it is written, and what makes its deserializer.

At the top of a module, so that worker processes can make deserializers of their own.
"""

from __future__ import annotations

import json
from typing import Any

from confluent_kafka.schema_registry import AsyncSchemaRegistryClient, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AsyncAvroDeserializer, AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

AVRO_ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [{"name": "number", "type": "long"}, {"name": "article", "type": "string"}],
}
AVRO_ORDER_WITH_PRICE = {
    **AVRO_ORDER,
    "fields": [*AVRO_ORDER["fields"], {"name": "price", "type": "double", "default": 0.0}],
}
JSON_ORDER = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Order",
    "type": "object",
    "properties": {"number": {"type": "integer"}, "article": {"type": "string"}},
    "required": ["number", "article"],
}


def _protobuf_order() -> type[Any]:
    """The class that protoc would generate from `message Order { int64 number = 1; string article = 2; }`."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="shop_order.proto", package="shop", syntax="proto3")
    message = file.message_type.add(name="Order")
    message.field.add(name="number", number=1, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    message.field.add(name="article", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.Default()
    pool.Add(file)
    made: type[Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))
    return made


ProtobufOrder = _protobuf_order()


_clients: list[SchemaRegistryClient] = []


def client(url: str) -> SchemaRegistryClient:
    """A registry client that reports quickly that the registry is down: the consumer itself tries again."""
    made = SchemaRegistryClient({"url": url, "timeout": 5, "max.retries": 0})
    _clients.append(made)
    return made


def close_clients() -> None:
    """Close the clients that this process made: deserializers do not close theirs."""
    while _clients:
        _clients.pop().close()


# Writing, as some producer does


def written_avro(url: str, topic: str, order: dict[str, Any], schema: dict[str, Any] | None = None) -> bytes:
    return _bytes(AvroSerializer(client(url), json.dumps(schema or AVRO_ORDER)), topic, order)


def written_json(url: str, topic: str, order: dict[str, Any]) -> bytes:
    return _bytes(JSONSerializer(json.dumps(JSON_ORDER), client(url)), topic, order)


def written_protobuf(url: str, topic: str, order: dict[str, Any]) -> bytes:
    serializer = ProtobufSerializer(ProtobufOrder, client(url), {"use.deprecated.format": False})
    return _bytes(serializer, topic, ProtobufOrder(**order))


def _bytes(serializer: Any, topic: str, order: object) -> bytes:
    written = serializer(order, SerializationContext(topic, MessageField.VALUE))
    assert isinstance(written, bytes)
    return written


# Reading: with the address bound by functools.partial each is a function without parameters. confluent-kafka's classes
# are of type Any to type checkers.


def avro(url: str) -> Any:
    return AvroDeserializer(client(url))


def avro_with_price(url: str) -> Any:
    return AvroDeserializer(client(url), json.dumps(AVRO_ORDER_WITH_PRICE))


def json_schema(url: str) -> Any:
    return JSONDeserializer(json.dumps(JSON_ORDER), None, client(url))


def protobuf(url: str) -> Any:
    return ProtobufDeserializer(ProtobufOrder, {"use.deprecated.format": False}, client(url))


async def async_avro(registry: AsyncSchemaRegistryClient) -> Any:
    return await AsyncAvroDeserializer(registry)
