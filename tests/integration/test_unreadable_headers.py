"""The client's own messages with unreadable headers: no way of asking for them ends the process."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import cast

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from pyrallel_consumer import EmbeddedBroker, WorkItem, dto
from pyrallel_consumer.dto import packed_item
from pyrallel_consumer.message import UnreadableHeaders, header_bytes, headers_of
from tests.raw_record import NOT_UTF8, produce_raw

READABLE = 40
"""More calls than the interpreter needs to specialise the call."""
PATIENCE_SECONDS = 90.0
ASKING: dict[str, Callable[[WorkItem], object]] = {
    "headers": lambda item: item.headers,
    "message": lambda item: item.message.headers(),
    "flag": lambda item: item.has_unreadable_headers,
    "size": lambda item: item.size_bytes,
    "headers_of": lambda item: headers_of(item.message),
    "header_bytes": lambda item: header_bytes(item.message),
    "packed": packed_item,
    "pickled": pickle.dumps,
}


class Origin:
    epoch = 1
    is_ordered = False


def read(broker: EmbeddedBroker, topic: str, count: int) -> list[Message]:
    client = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "reader"})
    try:
        client.assign([TopicPartition(topic, 0, 0)])
        messages: list[Message] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(messages) < count:
            assert time.monotonic() < deadline
            messages += [message for message in client.consume(count, 0.1) if message.error() is None]
        return messages
    finally:
        client.close()


@pytest.mark.parametrize("way", ASKING)
def test_a_message_with_unreadable_headers_may_be_asked_after_any_number_of_readable_ones(
    embedded_broker: EmbeddedBroker, way: str
) -> None:
    ask, topic = ASKING[way], f"unreadable-{way}"
    embedded_broker.create_topic(topic, 1)
    for _ in range(READABLE):
        produce_raw(embedded_broker.bootstrap_servers, topic, b"key", b"value", [(b"fine", b"1")])
    headers = [(b"fine", b"1"), (NOT_UTF8, b"2"), (b"empty", None)]
    produce_raw(embedded_broker.bootstrap_servers, topic, b"key", b"value", headers)

    messages = cast("list[dto.Message]", read(embedded_broker, topic, READABLE + 1))
    *readable, last = [WorkItem(message, message.offset(), Origin()) for message in messages]
    for item in readable:
        ask(item)
        assert item.headers == [("fine", b"1")]
    ask(last)
    ask(last)
    assert (last.headers, last.message.headers(), last.message.headers()) == ([], [], [])
    assert type(headers_of(last.message)) is UnreadableHeaders
