"""OffsetMap says which offsets above the committed one are finished."""

from __future__ import annotations

import dataclasses

import pytest

from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap


def test_a_map_whose_top_is_its_base_knows_nothing() -> None:
    assert OffsetMap(5, 5).is_empty


def test_a_map_of_unfinished_offsets_alone_says_no_more_than_the_offset() -> None:
    assert OffsetMap(5, 8, (5, 6, 7)).is_empty


def test_a_map_with_one_finished_offset_is_not_empty() -> None:
    assert not OffsetMap(5, 8, (5, 7)).is_empty
    assert not OffsetMap(5, 8).is_empty


def test_maps_are_equal_by_what_they_say_and_cannot_change() -> None:
    offset_map = OffsetMap(5, 8, (5, 7))
    assert offset_map == OffsetMap(5, 8, (5, 7))
    assert offset_map != OffsetMap(5, 8, (5,))
    field = dataclasses.fields(offset_map)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(offset_map, field, 6)
