"""Keys and headers count in the memory bounds, and cost next to nothing if there are none or small ones."""

from __future__ import annotations

import pytest

from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import FlowLimits
from pyrallel_consumer.control_plane.size_estimate import (
    ASKED_AFTER_LARGE,
    LARGE_BYTES,
    SAMPLE_EVERY,
    SizeEstimate,
    beside_value,
)
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.read_ahead import ReadAhead
from pyrallel_consumer.ingress.reading.start_offset import Start
from pyrallel_consumer.message import HEADER_OVERHEAD_BYTES
from pyrallel_consumer.testing import PlainMessage
from tests.unit.control_plane.builders import TP, manager_of


class Asked(PlainMessage):
    """Counts how often messages were asked for their headers."""

    __slots__ = ()
    times = 0

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        Asked.times += 1
        return super().headers()


@pytest.fixture(autouse=True)
def _nothing_was_asked() -> None:
    Asked.times = 0


def messages(count: int, header: bytes | None, first: int = 0, key: bytes | None = None) -> list[PlainMessage]:
    headers = None if header is None else [("h", header)]
    return [Asked(TP.topic, TP.partition, first + at, key, b"v", headers=headers) for at in range(count)]


def size_of(header: bytes) -> int:
    return HEADER_OVERHEAD_BYTES + 1 + len(header)


def test_messages_without_headers_have_none_and_few_are_asked() -> None:
    estimate = SizeEstimate()

    assert sum(estimate.of_new(messages(1000, None)) for _ in range(10)) == 0
    assert Asked.times <= 10 * (1000 // SAMPLE_EVERY + 1)


def test_small_headers_are_estimated_by_a_sample_and_never_asked_again() -> None:
    estimate = SizeEstimate()
    given = messages(1000, b"x" * 50)

    assert estimate.of_new(given) == 1000 * size_of(b"x" * 50)
    assert Asked.times <= 1000 // SAMPLE_EVERY + 1
    Asked.times = 0
    assert estimate.of(given[:10]) == 10 * size_of(b"x" * 50)
    assert Asked.times == 0


def test_messages_that_come_one_by_one_are_asked_as_seldom() -> None:
    estimate = SizeEstimate()
    sizes = [estimate.of_new(messages(1, b"x" * 100)) for _ in range(10 * SAMPLE_EVERY)]

    assert set(sizes) == {size_of(b"x" * 100)}
    assert Asked.times == 10


def test_large_headers_are_counted_message_by_message_until_none_came_for_long() -> None:
    estimate = SizeEstimate()
    large, small = messages(32, b"x" * 100_000), messages(1000, None)
    estimate.of_new(large)

    mixed = messages(1, b"x" * 100_000) + small
    assert estimate.of_new(mixed) == size_of(b"x" * 100_000)
    assert estimate.of(mixed) == size_of(b"x" * 100_000)
    for _ in range(ASKED_AFTER_LARGE // 1000 + 1):
        estimate.of_new(small)
    Asked.times = 0
    assert estimate.of_new(small) == 0
    assert Asked.times <= 1000 // SAMPLE_EVERY + 1


def test_no_position_is_always_left_out_of_the_sample() -> None:
    for large_at in range(32):
        estimate, given = SizeEstimate(), messages(32, None)
        given[large_at] = messages(1, b"x" * (LARGE_BYTES + 1))[0]
        assert any(estimate.of_new(given) for _ in range(SAMPLE_EVERY)), large_at


def test_unreadable_headers_take_nothing() -> None:
    message = PlainMessage(headers=[(b"\xff", b"x" * 100_000)])
    assert SizeEstimate().of_new([message, message]) == 0


def test_what_is_beside_a_value_is_key_and_headers() -> None:
    assert beside_value(messages(1, b"abc", key=b"12")[0]) == 2 + size_of(b"abc")
    assert beside_value(messages(1, None)[0]) == 0


def test_load_counts_headers_until_their_message_is_done() -> None:
    manager = manager_of()
    manager.add(TP, 1, messages(3, b"x" * 100_000))
    assert manager.load.size_bytes >= 300_000

    [first, *_] = manager.take(3)
    manager.succeed([first])
    manager.observe(1.0)
    assert 200_000 <= manager.load.size_bytes < 300_000


@pytest.mark.parametrize(("key", "header"), [(None, b"x" * 100_000), (b"k" * 100_000, None)])
def test_what_is_read_ahead_counts_keys_and_headers(key: bytes | None, header: bytes | None) -> None:
    assignments, ahead = Assignments(), ReadAhead(FlowLimits(max_messages=10_000, max_bytes=1_000_000))
    assignments.assign([Start(TP, 0, OffsetMap(0, 0))])
    read = 0
    while ahead.room:
        count = min(ahead.room, 100)
        ahead.put(assignments.split(messages(count, header, first=read, key=key)))
        read += count

    assert 10 <= read <= 12
    assert ahead.size_bytes >= 1_000_000
