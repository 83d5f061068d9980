"""Whether a consumer keeps up, from two looks at its backlog."""

from __future__ import annotations

import pytest

from pyrallel_consumer.observability.status.pace import Pace, Trend, pace


@pytest.mark.parametrize(
    ("backlog", "before", "seconds", "rate", "expected"),
    [
        (0, 0, 60.0, 0.0, Pace(Trend.IDLE)),
        (0, 500, 60.0, 10.0, Pace(Trend.KEEPS_UP)),
        (100, 0, 4.0, 0.0, Pace(Trend.KEEPS_UP)),
        (1, 0, 5.0, 0.0, Pace(Trend.STANDS_STILL)),
        (9_000, 1_000, 60.0, 0.0, Pace(Trend.STANDS_STILL)),
        (100, 0, 60.0, 0.1, Pace(Trend.KEEPS_UP)),
        (20_000, 0, 60.0, 10_000.0, Pace(Trend.KEEPS_UP)),
        (20_001, 19_900, 60.0, 10_000.0, Pace(Trend.STEADY)),
        (5_000, 1_000, 0.0, 10.0, Pace(Trend.STEADY)),
        (4_000, 1_000, 60.0, 10.0, Pace(Trend.FALLS_BEHIND, -50.0)),
        (1_000, 4_000, 60.0, 10.0, Pace(Trend.CATCHES_UP, 50.0, 20.0)),
    ],
)
def test_a_lag_is_judged_by_its_size_and_by_where_it_goes(
    backlog: int, before: int, seconds: float, rate: float, expected: Pace
) -> None:
    assert pace(backlog, before, seconds, rate) == expected
