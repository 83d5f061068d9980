"""Buckets of a gap window against a naive count, offset by offset."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.observability.status.gap_window import MOST_BUCKETS, GapWindow, OffsetState, gap_window

STATES = st.sampled_from(list(OffsetState))


def test_a_window_that_fits_has_a_bucket_for_each_offset() -> None:
    window = gap_window(10, 14, [(11, OffsetState.RUNNING), (13, OffsetState.QUEUED)])
    assert window == GapWindow(
        10, 14, 1, {OffsetState.RUNNING: (0, 1, 0, 0), OffsetState.QUEUED: (0, 0, 0, 1)}, unseen=0
    )


def test_nothing_above_the_committed_offset_is_no_bucket() -> None:
    window = gap_window(7, 7, [], unseen=3)
    assert (window.buckets, window.counts, window.unseen) == (0, {}, 3)


def test_fifty_million_offsets_with_three_gaps_are_no_more_buckets_than_two_hundred() -> None:
    far = 50_000_000
    window = gap_window(0, far, [(offset, OffsetState.STUCK) for offset in (0, far // 2, far - 1)])
    assert window.buckets == MOST_BUCKETS
    assert [at for at, count in enumerate(window.counts[OffsetState.STUCK]) if count] == [0, 100, 199]


@given(
    base=st.integers(0, 10**12),
    length=st.integers(0, 3000),
    states=st.dictionaries(st.integers(0, 2999), STATES, max_size=200),
    most_buckets=st.integers(1, 300),
)
def test_buckets_cover_the_window_and_count_what_is_in_them(
    base: int, length: int, states: dict[int, OffsetState], most_buckets: int
) -> None:
    unfinished = {base + at: state for at, state in sorted(states.items()) if at < length}
    window = gap_window(base, base + length, unfinished.items(), most_buckets=most_buckets)

    assert window.buckets <= most_buckets
    assert (window.buckets - 1) * window.width < length or length == 0
    assert window.buckets * window.width >= length
    assert set(window.counts) == set(unfinished.values())
    for state, counts in window.counts.items():
        assert len(counts) == window.buckets
        for at, count in enumerate(counts):
            low = base + at * window.width
            assert count == sum(unfinished.get(offset) is state for offset in range(low, low + window.width))
