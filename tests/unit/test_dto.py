"""The values that travel: what a worker may rely on in its item, which nobody can change."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.dto import CompletionEvent, CompletionStatus, ExecutionMode, TopicPartition, WorkItem
from pyrallel_consumer.message import HEADER_OVERHEAD_BYTES
from pyrallel_consumer.testing import PlainMessage, work_item
from tests.unit.control_plane.builders import manager_of

FIELDS = ["topic", "partition", "offset", "epoch", "key", "payload", "value", "headers", "timestamp", "attempt"]
FIELDS += ["tp", "id", "message", "origin"]


@pytest.mark.parametrize("name", FIELDS)
def test_no_field_of_an_item_can_be_set_or_deleted(name: str) -> None:
    item = work_item(b"v")
    before = getattr(item, name)

    with pytest.raises(AttributeError):
        setattr(item, name, before)
    with pytest.raises(AttributeError):
        delattr(item, name)
    assert getattr(item, name) == before


def test_an_item_takes_no_further_attributes() -> None:
    with pytest.raises(AttributeError):
        work_item().note = "mine"  # type: ignore[attr-defined]


@given(st.none() | st.binary(max_size=20), st.none() | st.binary(max_size=20))
def test_value_is_payload_and_null_keys_and_tombstones_stay_as_they_are(key: bytes | None, value: bytes | None) -> None:
    item = work_item(value, key=key)

    assert item.key == key
    assert item.payload == value
    assert item.value == value


def test_headers_are_never_none_and_a_copy_each_time() -> None:
    assert work_item().headers == []
    item = work_item(headers=[("a", b"1"), ("a", None)])
    item.headers.clear()

    assert item.headers == [("a", b"1"), ("a", None)]


def test_headers_that_cannot_be_read_are_empty_and_the_item_says_so_however_often_it_is_asked() -> None:
    item = work_item(b"v", headers=[("fine", b"1"), (b"caf\xe9", b"2")])

    assert [item.headers, item.headers] == [[], []]
    assert item.has_unreadable_headers
    assert item.next_attempt().has_unreadable_headers
    assert item.size_bytes == 1
    assert not work_item(headers=[("fine", b"1")]).has_unreadable_headers
    assert not work_item().has_unreadable_headers


def test_the_message_of_an_item_can_be_asked_for_headers_that_cannot_be_read() -> None:
    message = work_item(headers=[(b"caf\xe9", b"2")]).message

    assert [message.headers(), message.headers()] == [[], []]


COPIES: list[Callable[[Any], Any]] = [lambda item: pickle.loads(pickle.dumps(item)), copy.copy, copy.deepcopy]  # noqa: S301 -- our own


@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_of_an_item_is_like_it(copied: Callable[[WorkItem], WorkItem]) -> None:
    item = work_item(
        b"v", key=b"k", topic="t", partition=3, offset=7, headers=[("h", None)], timestamp=12, epoch=9, attempt=2
    )
    copy_of_it = copied(item)

    fields = [name for name in FIELDS if name not in {"message", "origin"}]
    assert [getattr(copy_of_it, name) for name in fields] == [getattr(item, name) for name in fields]
    assert copy_of_it.message.headers() == [("h", None)]
    assert copied(work_item(headers=[(b"\xff", b"")])).has_unreadable_headers
    assert not copy_of_it.has_unreadable_headers
    assert copied(copy_of_it).id == item.id


def test_a_pickled_item_drags_nothing_of_its_partition_along() -> None:
    manager = manager_of()
    tp = next(iter(manager)).tp
    manager.add(tp, 1, [PlainMessage(tp.topic, 0, offset, b"hot", b"x" * 1000) for offset in range(1000)])
    [item] = manager.take(1)

    assert len(pickle.dumps(item)) < 1500


def test_the_size_of_an_item_counts_key_value_and_headers() -> None:
    assert work_item().size_bytes == 0
    small, large = work_item(b"12", key=b"123", headers=[("a", None)]), work_item(headers=[("a", b"x" * 100_000)])

    assert small.size_bytes == 2 + 3 + HEADER_OVERHEAD_BYTES + 1
    assert large.size_bytes == HEADER_OVERHEAD_BYTES + 100_001


@pytest.mark.parametrize(("given_time", "expected"), [(None, None), (0, 0), (1_700_000_000_000, 1_700_000_000_000)])
def test_the_timestamp_is_none_where_the_broker_gave_none(given_time: int | None, expected: int | None) -> None:
    assert work_item(timestamp=given_time).timestamp == expected


def test_id_and_partition_name_the_message_the_same_in_every_attempt_and_epoch() -> None:
    first = work_item(topic="orders", partition=3, offset=41, epoch=1)
    later = work_item(topic="orders", partition=3, offset=41, epoch=8, attempt=2)

    assert first.id == later.id == "orders-3-41"
    assert first.tp == later.tp == TopicPartition("orders", 3)
    assert str(first.tp) == "orders[3]"


def test_the_next_attempt_is_another_item_of_the_same_message() -> None:
    first = work_item(b"v", key=b"k", offset=5, epoch=4)
    second = first.next_attempt()

    assert (first.attempt, second.attempt) == (1, 2)
    assert second.message is first.message
    assert second.origin is first.origin
    assert (second.offset, second.epoch, second.id) == (first.offset, first.epoch, first.id)


def test_items_are_told_apart_by_identity() -> None:
    message = PlainMessage(offset=5)
    origin = work_item().origin

    assert len({WorkItem(message, 5, origin), WorkItem(message, 5, origin)}) == 2


def test_an_item_prints_where_it_comes_from_and_nothing_of_the_message_itself() -> None:
    item = work_item(b"secret value", key=b"secret key", topic="orders", offset=3, epoch=2)

    assert repr(item) == "<WorkItem orders-0-3 epoch=2 attempt=1>"


def test_a_completion_cannot_be_changed() -> None:
    event = CompletionEvent("orders", 0, 1, 2, CompletionStatus.FAILURE, ValueError("x"), 3)

    with pytest.raises(dataclasses.FrozenInstanceError):
        event.attempt = 1  # type: ignore[misc]


def test_modes_are_written_as_users_write_them() -> None:
    assert [str(mode) for mode in ExecutionMode] == ["async", "thread", "process", "ray"]
