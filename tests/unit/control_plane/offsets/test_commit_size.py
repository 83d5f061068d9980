"""How large the metadata of a commit becomes, and which part of a map stays where it is too large."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.offsets.commit_encoder import (
    METADATA_LIMIT_BYTES,
    UNFINISHED_LIMIT,
    decode,
    encode,
)
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from tests.unit.control_plane.offsets.made_maps import (
    BASE,
    TP,
    dense_maps,
    finished,
    irregular_map,
    lowest_part,
    map_of_bits,
    map_of_runs,
    without_silent_end,
)


def test_three_gaps_over_fifty_million_offsets_are_tiny() -> None:
    offset_map = OffsetMap(BASE, BASE + 50_000_000, (BASE, BASE + 1_000_000, BASE + 40_000_000))
    text = encode(offset_map, TP)
    assert len(text) <= 50
    assert decode(text, TP, BASE) == offset_map


def test_a_regular_picture_is_compressed() -> None:
    offset_map = OffsetMap(BASE, BASE + 200_000, tuple(range(BASE, BASE + 200_000, 2)))
    text = encode(offset_map, TP)
    assert len(text) < 500
    assert decode(text, TP, BASE) == offset_map


def test_an_irregular_dense_picture_takes_about_a_bit_per_offset() -> None:
    chance = random.Random(5)
    offset_map = map_of_bits(BASE, [False, *(chance.random() < 0.5 for _ in range(19_999))])
    text = encode(offset_map, TP)
    assert len(text) * 6 < 20_000 * 1.1
    assert decode(text, TP, BASE) == without_silent_end(offset_map)


@given(bits=dense_maps, limit=st.integers(-5, 200))
def test_a_cut_map_is_the_lowest_part_and_never_over_the_limit(bits: list[bool], limit: int) -> None:
    offset_map = map_of_bits(BASE, bits)
    text = encode(offset_map, TP, limit)
    assert len(text.encode()) <= max(0, limit)
    decoded = decode(text, TP, BASE)
    assert finished(decoded) <= finished(offset_map)
    assert finished(decoded) == finished(lowest_part(offset_map, decoded.top))


@pytest.mark.parametrize(("gaps", "longest_run"), [(3_000, 100_000), (20_000, 10), (30_000, 2), (100_000, 500)])
@pytest.mark.parametrize("limit", [METADATA_LIMIT_BYTES, 1_000, 100])
def test_a_map_that_is_too_large_fills_the_room_with_its_lowest_offsets(
    gaps: int, longest_run: int, limit: int
) -> None:
    offset_map = irregular_map(gaps, longest_run)
    text = encode(offset_map, TP, limit)
    assert limit * 0.9 < len(text) <= limit
    decoded = decode(text, TP, BASE)
    assert BASE < decoded.top < offset_map.top
    assert decoded == lowest_part(offset_map, decoded.top)


@pytest.mark.parametrize(
    ("runs", "at_least"),
    [
        ([(1, 1)] * 90_000 + [(1, 1 + i * i * 7919 % 100_003) for i in range(5_000)], 90_000),
        ([(1, 1 + i * i * 7919 % 100_003) for i in range(900)] + [(1, 1)] * 90_000, 900),
    ],
    ids=["irregular above", "irregular below"],
)
def test_a_picture_of_two_kinds_keeps_what_fits_too(runs: list[tuple[int, int]], at_least: int) -> None:
    offset_map = map_of_runs(BASE, runs)
    decoded = decode(encode(offset_map, TP), TP, BASE)
    assert at_least <= len(decoded.unfinished) <= len(offset_map.unfinished)
    assert decoded == lowest_part(offset_map, decoded.top)


def test_no_limit_makes_a_map_larger_than_the_broker_takes() -> None:
    assert len(encode(irregular_map(5_000, 100_000), TP, 1_000_000)) <= METADATA_LIMIT_BYTES


def test_a_limit_below_the_smallest_map_gives_no_metadata() -> None:
    offset_map = OffsetMap(BASE, BASE + 3, (BASE,))
    smallest = len(encode(offset_map, TP))
    assert encode(offset_map, TP, smallest) != ""
    assert encode(offset_map, TP, smallest - 1) == ""
    assert encode(OffsetMap(BASE, BASE + 2**40, (BASE,)), TP, smallest) == ""


def test_more_unfinished_offsets_than_may_be_restored_are_forgotten() -> None:
    offset_map = OffsetMap(BASE, BASE + 3 * UNFINISHED_LIMIT, tuple(range(BASE, BASE + 3 * UNFINISHED_LIMIT, 2)))
    decoded = decode(encode(offset_map, TP), TP, BASE)
    assert decoded == lowest_part(offset_map, decoded.top)
    assert len(decoded.unfinished) == UNFINISHED_LIMIT


def test_a_map_that_begins_with_too_many_unfinished_offsets_is_no_metadata() -> None:
    top = BASE + UNFINISHED_LIMIT + 2
    assert encode(OffsetMap(BASE, top, tuple(range(BASE, top - 1))), TP) == ""
