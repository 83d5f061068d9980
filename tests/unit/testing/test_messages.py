"""Messages and items for users' tests, made of plain values, as the consumer would hand them over."""

from __future__ import annotations

import pytest

from pyrallel_consumer.dto import Message
from pyrallel_consumer.testing import PlainMessage, work_item


def test_a_plain_message_answers_what_it_was_given() -> None:
    message: Message = PlainMessage(
        "orders", 3, 41, b"k", b"abc", headers=[("h", b"1"), ("h", None)], timestamp=1_700_000_000_000, leader_epoch=5
    )

    assert (message.topic(), message.partition(), message.offset()) == ("orders", 3, 41)
    assert (message.key(), message.value(), len(message)) == (b"k", b"abc", 3)
    assert message.headers() == [("h", b"1"), ("h", None)]
    assert message.timestamp() == (1, 1_700_000_000_000)
    assert message.leader_epoch() == 5
    assert repr(message) == "<PlainMessage orders-3-41 key=b'k'>"


def test_a_plain_message_without_anything_is_a_tombstone_without_key_headers_and_timestamp() -> None:
    message = PlainMessage()

    assert message.key() is None
    assert message.value() is None
    assert message.headers() is None
    assert message.timestamp() == (0, -1)
    assert message.leader_epoch() is None
    assert len(message) == 0


def test_a_message_answers_its_own_list_of_headers_as_the_client_does() -> None:
    given: list[tuple[str | bytes, bytes | None]] = [("a", b"1"), ("ü".encode(), b"2")]
    message = PlainMessage(headers=given)
    given.clear()

    assert message.headers() == [("a", b"1"), ("ü", b"2")]
    assert message.headers() is message.headers()


def test_headers_with_a_name_that_is_not_utf8_fail_as_the_clients_do() -> None:
    message = PlainMessage(headers=[("fine", b"1"), (b"caf\xe9", b"2")])

    with pytest.raises(SystemError):
        message.headers()
    answered = message.headers()
    assert answered is not None
    assert len(answered) == 2
    with pytest.raises(AssertionError, match="ends the process"):
        list(answered)
    with pytest.raises(AssertionError, match="ends the process"):
        answered[1]

    message.set_headers([])
    assert message.headers() == []


def test_a_work_item_for_a_test_has_every_field_that_the_worker_may_read() -> None:
    item = work_item(
        b"v", key=b"k", topic="orders", partition=2, offset=7, headers=[("h", None)], timestamp=12, epoch=9, attempt=3
    )

    assert (item.topic, item.partition, item.offset, item.epoch, item.attempt) == ("orders", 2, 7, 9, 3)
    assert (item.key, item.payload, item.headers, item.timestamp) == (b"k", b"v", [("h", None)], 12)


def test_a_work_item_for_a_test_needs_nothing_to_be_said() -> None:
    item = work_item()

    assert (item.key, item.payload, item.headers, item.timestamp, item.attempt) == (None, None, [], None, 1)


def test_an_item_may_hold_what_a_deserializer_would_have_made() -> None:
    item = work_item(b"7", decoded=7, key=b"k", decoded_key="k", offset=3)
    assert (item.value, item.payload, item.decoded_key, item.key, item.offset) == (7, b"7", "k", b"k", 3)
    assert work_item(decoded=None, key=b"k").decoded_key == b"k"
