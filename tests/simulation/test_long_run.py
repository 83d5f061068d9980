"""The long run of the simulator."""

from __future__ import annotations

from tests.simulation.long_run import run_all


def test_every_seed_of_the_range_is_run_once_and_the_next_one_is_known() -> None:
    tally = run_all(60_001, seeds=7, jobs=1, chunk_size=2)

    assert (tally.seeds, tally.failures, tally.resume_at) == (7, [], 60_008)
