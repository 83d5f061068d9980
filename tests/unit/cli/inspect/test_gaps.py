"""What a commit says about a partition: counts, ranges and the picture, compared with naive models."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.cli.inspect.gaps import PLAIN, PartitionGaps, gaps_of, ranges_text
from pyrallel_consumer.control_plane.offsets.commit_encoder import encode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.offsets.offset_tracker import OffsetTracker
from pyrallel_consumer.dto import TopicPartition, WorkItem
from pyrallel_consumer.testing import work_item

TP = TopicPartition("orders", 0)


def gaps(base: int, top: int, unfinished: tuple[int, ...], end: int, committed: int | None = -1) -> PartitionGaps:
    return PartitionGaps(TP, base if committed == -1 else committed, 0, end, OffsetMap(base, top, unfinished))


@st.composite
def partitions(draw: st.DrawFn) -> PartitionGaps:
    base = draw(st.integers(0, 50))
    states = draw(st.lists(st.booleans(), max_size=120))
    unfinished = tuple(base + at for at, is_finished in enumerate(states) if not is_finished)
    top = base + len(states)
    return gaps(base, top, unfinished, top + draw(st.integers(0, 60)))


@given(partitions())
def test_ranges_name_the_unfinished_offsets_and_no_others(found: PartitionGaps) -> None:
    ranges = found.unfinished_ranges()

    assert [offset for first, last in ranges for offset in range(first, last + 1)] == list(found.map.unfinished)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(ranges))


@given(partitions())
def test_finished_and_to_do_make_up_the_lag(found: PartitionGaps) -> None:
    listed = found.to_json()

    assert found.finished_above + listed["to_do"] == found.lag
    assert listed["to_do"] == len(found.map.unfinished) + found.log_end_offset - found.map.top


@given(partitions(), st.integers(1, 40))
def test_a_picture_that_has_a_cell_for_each_offset_shows_each(found: PartitionGaps, cells: int) -> None:
    unfinished = set(found.map.unfinished)
    signs = ["-" if offset in unfinished else "#" for offset in range(found.map.base, found.map.top)]
    signs += ["."] * (found.log_end_offset - found.map.top)

    assert found.picture(PLAIN, cells=1000) == "".join(signs)
    assert len(found.picture(PLAIN, cells)) == min(cells, found.lag)


@given(partitions(), st.integers(1, 40))
def test_a_cell_of_many_offsets_is_full_or_empty_only_if_all_of_them_are(found: PartitionGaps, cells: int) -> None:
    picture = found.picture(PLAIN, cells)
    single = found.picture(PLAIN, cells=1000)
    for at, sign in enumerate(picture):
        part = single[len(single) * at // len(picture) : len(single) * (at + 1) // len(picture)]
        if set(part) == {"#"}:
            assert sign == "#"
        elif part[0] == ".":
            assert sign == "."
        elif "#" in part:
            assert sign == "+"
        else:
            assert sign == "-"


@given(st.sets(st.integers(0, 40), min_size=1))
def test_gaps_are_counted_as_the_running_consumer_counts_them(finished: set[int]) -> None:
    tracker = OffsetTracker(0, OffsetMap(0, 0))
    unfinished: dict[int, WorkItem] = {
        offset: work_item(offset=offset) for offset in range(41) if offset not in finished
    }
    tracker.unfinished.update(unfinished)
    tracker.next_offset = 41
    committed = tracker.finished_map()

    assert gaps_of(TP, committed.base, encode(committed, TP), 0, 41).gap_count == tracker.gap_count()


def test_a_group_without_a_commit_has_all_of_the_log_before_it() -> None:
    found = gaps_of(TP, None, None, 10, 30)

    assert (found.lag, found.finished_above, found.gap_count) == (20, 0, 0)
    assert found.picture(PLAIN) == "." * 20


@pytest.mark.parametrize(
    ("committed", "metadata", "high", "sentence"),
    [
        (5, "somebody else's", 30, "it was not written by this library"),
        (5, encode(OffsetMap(6, 20, (6,)), TP), 30, "it belongs to another partition or offset"),
        (5, encode(OffsetMap(5, 20, (5,)), TP)[:-4] + "AAAA", 30, "corrupt"),
        (5, encode(OffsetMap(5, 20, (5,)), TP), 12, "past the end of the log at 12"),
        (50, "", 30, "is past the end of the log at 30"),
        (5, "", 30, "2 offsets of orders[0] from 5 on are no longer in the log"),
    ],
)
def test_what_does_not_fit_is_said_and_not_believed(committed: int, metadata: str, high: int, sentence: str) -> None:
    low = 7 if "no longer" in sentence else 0

    found = gaps_of(TP, committed, metadata, low, high)

    assert found.warning is not None
    assert sentence in found.warning
    assert found.map.is_empty
    assert found.lag == max(0, high - committed)


def test_many_ranges_are_cut_with_their_number() -> None:
    assert ranges_text([(1, 1), (3, 5), (9, 9)]) == "1, 3-5, 9"
    assert ranges_text([(at, at) for at in range(0, 2000, 2)], shown=2) == "0, 2, and 998 more"
    assert ranges_text([]) == "-"
