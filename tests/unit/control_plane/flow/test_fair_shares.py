"""Fair shares of the buffer: no partition is starved by a hot partition or by failing keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.flow.backpressure import Load
from pyrallel_consumer.control_plane.flow.buffer_parts import BufferParts
from pyrallel_consumer.control_plane.flow.fair_shares import REVIEWS_BEFORE_PAUSE, FairShares
from pyrallel_consumer.control_plane.policies import FlowLimits
from pyrallel_consumer.dto import TopicPartition
from tests.unit.control_plane.builders import OTHER, THIRD, TP

LIMITS = FlowLimits(max_messages=100, max_bytes=10_000)
LIMIT_STRATEGY = st.builds(FlowLimits, max_messages=st.integers(1, 60), max_bytes=st.integers(1, 6000))
LOADS = st.builds(Load, st.integers(0, 60), st.integers(0, 6000), st.integers(0, 60))


def load_of(percent: int, blocked: int = 0) -> Load:
    return Load(percent, percent, blocked)


def parts_of(
    loads: Mapping[TopicPartition, Load], full: Iterable[TopicPartition] = (), limits: FlowLimits = LIMITS
) -> BufferParts:
    parts = BufferParts(limits)
    for tp, load in loads.items():
        parts.note(tp, load)
    parts.fill(full)
    return parts


def reviewed(shares: FairShares, *loads: Load) -> set[TopicPartition]:
    """The full partitions if the loads stay unchanged for a while."""
    parts = parts_of(dict(zip((TP, OTHER, THIRD), loads, strict=False)))
    for _ in range(REVIEWS_BEFORE_PAUSE - 1):
        shares.review(parts)
    return shares.review(parts)


def room_of(shares: FairShares, *loads: Load, full: set[TopicPartition] | None = None, message_bytes: float = 1) -> int:
    return shares.room(parts_of(dict(zip((TP, OTHER, THIRD), loads, strict=False)), full or ()), message_bytes)


def test_a_partition_alone_may_take_everything() -> None:
    shares = FairShares(LIMITS)

    assert reviewed(shares, load_of(100)) == set()
    assert shares.review(parts_of({})) == set()


def test_a_hot_partition_takes_more_than_half_and_leaves_the_others_their_reserve() -> None:
    shares = FairShares(LIMITS)

    assert room_of(shares, load_of(70), load_of(0)) == 5
    assert reviewed(shares, load_of(73), load_of(0)) == set()
    assert room_of(shares, load_of(75), load_of(0)) == 0
    assert reviewed(shares, load_of(75), load_of(0)) == {TP}
    assert room_of(shares, load_of(75), load_of(0), full={TP}) == 25


def test_room_in_another_partitions_reserve_is_counted_in_bytes_too() -> None:
    shares = FairShares(LIMITS)

    assert room_of(shares, Load(5, 7_000), Load(0, 0), message_bytes=100) == 5
    assert room_of(shares, Load(5, 7_500), Load(0, 0), message_bytes=100) == 0
    assert room_of(shares, Load(5, 7_500), Load(0, 0), full={TP}, message_bytes=100_000) == 1


def test_two_hot_partitions_together_do_not_take_the_reserve_of_the_third() -> None:
    limits = FlowLimits(max_messages=120, max_bytes=10_000)
    shares = FairShares(limits)
    loads = {TP: Load(50, 0), OTHER: Load(50, 0), THIRD: Load(5, 0)}

    for _ in range(REVIEWS_BEFORE_PAUSE - 1):
        shares.review(parts_of(loads, limits=limits))
    assert shares.review(parts_of(loads, limits=limits)) == {TP, OTHER}
    assert shares.room(parts_of(loads, {TP, OTHER}, limits), 1) == 15


def test_a_want_of_room_that_passes_pauses_nobody() -> None:
    shares = FairShares(LIMITS)
    for _ in range(5):
        assert shares.review(parts_of({TP: load_of(75), OTHER: load_of(0)})) == set()
        assert shares.review(parts_of({TP: load_of(20), OTHER: load_of(0)})) == set()


def test_a_want_of_room_that_passed_unseen_pauses_nobody_the_next_time() -> None:
    shares = FairShares(LIMITS)
    short, empty = parts_of({TP: load_of(75), OTHER: load_of(0)}), parts_of({TP: load_of(0), OTHER: load_of(0)})
    for _ in range(5):
        assert shares.review(short) == set()
        assert shares.room(empty, 1) == 100 // 2 + 25
        assert shares.certain_room(load_of(0), 1) is not None
        shares.pass_over()


def test_partitions_that_all_have_their_reserve_are_left_to_the_limit_of_the_whole() -> None:
    shares = FairShares(LIMITS)

    assert reviewed(shares, load_of(75), load_of(25)) == set()
    assert room_of(shares, load_of(75), load_of(25)) == 100


def test_full_partitions_resume_when_they_made_a_good_part_of_their_room() -> None:
    shares = FairShares(LIMITS)
    assert reviewed(shares, load_of(75), load_of(0)) == {TP}

    assert shares.review(parts_of({TP: load_of(53), OTHER: load_of(0)})) == {TP}
    assert shares.review(parts_of({TP: load_of(53), OTHER: load_of(25)})) == {TP, OTHER}
    assert shares.review(parts_of({TP: load_of(52), OTHER: load_of(0)})) == set()


def test_full_partitions_whose_messages_are_blocked_by_failing_keys_resume_earlier() -> None:
    shares = FairShares(LIMITS)
    assert reviewed(shares, load_of(75, blocked=65), load_of(0)) == {TP}

    assert shares.review(parts_of({TP: load_of(73, blocked=65), OTHER: load_of(0)})) == {TP}
    assert shares.review(parts_of({TP: load_of(71, blocked=65), OTHER: load_of(0)})) == set()


@given(
    limits=LIMIT_STRATEGY,
    history=st.lists(st.dictionaries(st.sampled_from([TP, OTHER, THIRD]), LOADS, min_size=2), min_size=1, max_size=6),
)
def test_a_partition_below_its_reserve_is_never_paused_nor_for_long_without_room(
    limits: FlowLimits, history: list[dict[TopicPartition, Load]]
) -> None:
    shares = FairShares(limits)
    full: set[TopicPartition] = set()
    for loads in history:
        reserve = 0.5 / len(loads)
        lean = {
            tp
            for tp, load in loads.items()
            if max(load.messages / limits.max_messages, load.size_bytes / limits.max_bytes) < reserve
        }
        full = shares.review(parts_of(loads, limits=limits))
        assert not full & lean
        assert full <= loads.keys()
    for _ in range(REVIEWS_BEFORE_PAUSE):
        full = shares.review(parts_of(history[-1], limits=limits))
    if history[-1].keys() - full:
        assert shares.room(parts_of(history[-1], full, limits), 1.0) >= 1
