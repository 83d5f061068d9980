"""The quick calculation of fair shares never grants more than the full one."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.flow.backpressure import Load
from pyrallel_consumer.control_plane.flow.buffer_parts import BufferParts
from pyrallel_consumer.control_plane.flow.fair_shares import FairShares
from pyrallel_consumer.control_plane.policies import FlowLimits
from pyrallel_consumer.dto import TopicPartition

LIMITS = FlowLimits(max_messages=1000, max_bytes=100_000)


def parts_of(loads: Mapping[TopicPartition, Load]) -> BufferParts:
    parts = BufferParts(LIMITS)
    for tp, load in loads.items():
        parts.note(tp, load)
    return parts


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 30_000)), min_size=2, max_size=6),
    st.floats(1, 5000),
)
def test_the_short_way_to_the_room_never_grants_more_than_the_long_way(
    each: list[tuple[int, int]], message_bytes: float
) -> None:
    loads = {TopicPartition("orders", number): Load(*figures) for number, figures in enumerate(each)}
    whole = Load(sum(load.messages for load in loads.values()), sum(load.size_bytes for load in loads.values()))
    shares = FairShares(LIMITS)

    certain = shares.certain_room(whole, message_bytes)

    if certain is not None:
        assert 1 <= certain <= shares.room(parts_of(loads), message_bytes)


def test_the_short_way_is_open_while_little_is_loaded_and_closed_when_much_is() -> None:
    shares = FairShares(LIMITS)

    assert shares.certain_room(Load(0, 0), 10.0) == 500
    assert shares.certain_room(Load(249, 0), 10.0) == 251
    assert shares.certain_room(Load(251, 0), 10.0) is None
    assert shares.certain_room(Load(0, 25_001), 10.0) is None
    assert shares.certain_room(Load(0, 0), 50_000.0) == 1


def test_a_buffer_that_was_short_is_looked_at_partition_by_partition_until_it_has_room_again() -> None:
    shares = FairShares(LIMITS)
    hot, cold = TopicPartition("orders", 0), TopicPartition("orders", 1)
    shares.room(parts_of({hot: Load(750, 0), cold: Load(0, 0)}), 10.0)

    assert shares.certain_room(Load(0, 0), 10.0) is None
    shares.room(parts_of({hot: Load(0, 0), cold: Load(0, 0)}), 10.0)
    assert shares.certain_room(Load(0, 0), 10.0) == 500
