"""The last minutes in rows of one second: rates and latencies from totals, for five minutes at most."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrallel_consumer.observability.status.history import MOST_MOMENTS, History, Totals, quantile

BOUNDS = (0.001, 0.01, 0.1)


def totals(at: float, finished: int = 0, failed: int = 0, latency: tuple[int, ...] = (0, 0, 0, 0)) -> Totals:
    return Totals(at, finished, failed, lag=5, backlog=4, load=3, in_flight=2, latency=latency)


def test_a_moment_has_the_rates_since_the_last_one_and_the_rest_as_it_is() -> None:
    history = History(BOUNDS)
    history.note(totals(10.0, finished=100, latency=(50, 0, 0, 0)))
    history.note(totals(12.0, finished=300, failed=1, latency=(50, 100, 0, 0)))
    [moment] = history.moments
    assert moment[:7] == (12.0, 100.0, 0.5, 5, 4, 3, 2)
    assert moment[7:9] == pytest.approx((0.0055, 0.00991))


def test_a_backlog_grows_by_what_came_and_not_by_what_was_found_or_went_away() -> None:
    history = History(BOUNDS)
    looks: tuple[dict[object, int], ...] = (
        {"a": 100},
        {"a": 150, "found": 250_000},
        {"a": 120, "found": 249_000},
        {"a": 130},
        {},
    )
    for at, backlogs in enumerate(looks):
        history.note(totals(float(at))._replace(backlogs=backlogs))
    assert [moment.grown for moment in history.moments] == [50, -1030, 10, 0]


def test_a_second_in_which_nothing_ended_has_no_latency() -> None:
    history = History(BOUNDS)
    history.note(totals(10.0, latency=(9, 9, 9, 9)))
    history.note(totals(11.0, latency=(9, 9, 9, 9)))
    assert (history.moments[0].latency_median, history.moments[0].latency_p99) == (None, None)


def test_totals_that_shrink_when_partitions_go_are_no_negative_rates() -> None:
    history = History(BOUNDS)
    history.note(totals(10.0, finished=100, failed=7, latency=(5, 5, 5, 5)))
    history.note(totals(11.0, finished=10, failed=0, latency=(0, 0, 0, 1)))
    assert history.moments[0][1:3] == (0.0, 0.0)
    assert history.moments[0].latency_median is None


def test_a_moment_is_due_once_a_second_and_the_oldest_go() -> None:
    history = History(BOUNDS)
    for second in range(MOST_MOMENTS + 20):
        assert history.is_due(float(second))
        history.note(totals(float(second)))
        assert not history.is_due(second + 0.9)
        history.note(totals(float(second)))
    assert len(history.moments) == MOST_MOMENTS
    assert history.moments[-1].at == MOST_MOMENTS + 19.0


def test_what_is_above_the_last_bound_counts_as_that_bound() -> None:
    assert quantile((0, 0, 0, 5), BOUNDS, 0.5) == 0.1
    assert quantile((0, 0, 0, 0), BOUNDS, 0.5) is None


@given(st.lists(st.floats(0.00001, 0.09), min_size=1, max_size=200), st.sampled_from([0.5, 0.75]))
def test_a_quantile_lies_in_the_bucket_of_the_exact_one(values: list[float], part: float) -> None:
    edges = (0.0, *BOUNDS)
    counts = [sum(low < value <= high for value in values) for low, high in pairwise(edges)]
    found = quantile([*counts, 0], BOUNDS, part)
    exact = sorted(values)[math.ceil(len(values) * part) - 1]
    low, high = next((low, high) for low, high in pairwise(edges) if low < exact <= high)
    assert found is not None
    assert low < found <= high
