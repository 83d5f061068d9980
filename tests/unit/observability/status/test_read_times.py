"""The time at which an offset was read is known roughly, with few stored looks, however old the offset is."""

from __future__ import annotations

import bisect
import itertools

from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.observability.status.read_times import MOST_LOOKS, ReadTimes
from tests.unit.control_plane.builders import OTHER, TP

HERE = (TP, 1)


def test_an_offset_was_read_by_the_first_look_that_saw_it() -> None:
    times = ReadTimes()
    times.look(10.0, [(HERE, 5)])
    times.look(11.0, [(HERE, 5)])
    times.look(12.0, [(HERE, 8)])
    assert [times.read_at(HERE, offset) for offset in (0, 4, 5, 7, 8)] == [10.0, 10.0, 12.0, 12.0, None]


def test_what_is_not_assigned_any_more_is_forgotten() -> None:
    times = ReadTimes()
    times.look(10.0, [(HERE, 5), ((OTHER, 2), 3)])
    times.look(11.0, [((TP, 3), 2), ((OTHER, 2), 3)])
    assert times.read_at(HERE, 1) is None
    assert times.read_at((TP, 3), 1) == 11.0
    assert times.read_at((OTHER, 2), 1) == 10.0


def test_without_an_end_of_time_the_oldest_looks_go() -> None:
    times = ReadTimes()
    for step in range(600):
        times.look(1.5**step, [(HERE, step + 1)])
    assert times.read_at(HERE, 599) == 1.5**599
    assert times.read_at(HERE, 0) > 1.5**400  # type: ignore[operator]


@given(st.lists(st.tuples(st.sampled_from([1.0, 1.0, 1.0, 30.0, 900.0]), st.integers(0, 3)), min_size=200))
def test_the_error_is_a_small_part_of_the_age(steps: list[tuple[float, int]]) -> None:
    times = ReadTimes()
    at = list(itertools.accumulate(seconds for seconds, _ in steps))
    read = list(itertools.accumulate(offsets for _, offsets in steps))
    for now, offset in zip(at, read, strict=True):
        times.look(now, [(HERE, offset)])
    told = {offset: times.read_at(HERE, offset) for offset in range(read[-1])}
    for offset, time in told.items():
        exact = at[bisect.bisect_right(read, offset)]
        assert time is not None
        assert exact <= time <= exact + (at[-1] - exact) / 3
    assert len(set(told.values())) <= MOST_LOOKS
