"""Offset maps as the tests of the encoder make them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition

TP = TopicPartition("orders", 3)
BASE = 7_000_000_000
dense_maps = st.lists(st.booleans(), max_size=400)


def map_of_bits(base: int, bits: Sequence[bool]) -> OffsetMap:
    """Offset ``base + i`` is finished where ``bits[i]`` holds."""
    return OffsetMap(base, base + len(bits), tuple(base + i for i, finished in enumerate(bits) if not finished))


def map_of_runs(base: int, runs: Sequence[tuple[int, int]]) -> OffsetMap:
    """Pairs: how many offsets are unfinished, and how many after them are finished."""
    unfinished: list[int] = []
    position = base
    for length, finished in runs:
        unfinished.extend(range(position, position + length))
        position += length + finished
    return OffsetMap(base, position, tuple(unfinished))


def irregular_map(gaps: int, longest_run: int, seed: int = 1) -> OffsetMap:
    chance = random.Random(seed)
    return map_of_runs(BASE, [(chance.randint(1, 2), chance.randint(1, longest_run)) for _ in range(gaps)])


def finished(offset_map: OffsetMap) -> set[int]:
    return set(range(offset_map.base, offset_map.top)) - set(offset_map.unfinished)


def without_silent_end(offset_map: OffsetMap) -> OffsetMap:
    """The same finished offsets under the lowest top that holds them."""
    top, unfinished = offset_map.top, list(offset_map.unfinished)
    while unfinished and unfinished[-1] == top - 1:
        top = unfinished.pop()
    return replace(offset_map, top=top, unfinished=tuple(unfinished))


def lowest_part(whole: OffsetMap, top: int) -> OffsetMap:
    return replace(whole, top=top, unfinished=tuple(offset for offset in whole.unfinished if offset < top))
