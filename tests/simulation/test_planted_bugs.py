"""The oracles bite: every planted bug is found within a few seeds, and the same seeds pass without it."""

from __future__ import annotations

import pytest

from tests.simulation import (
    planted_in_figures,
    planted_in_offsets,
    planted_in_reading,
    planted_in_slots,
    planted_in_work,
)
from tests.simulation.planting import PLANTED
from tests.simulation.runner import SeedFailed, run_seed

SEEDS_ENOUGH = 300


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str) -> None:
    seed = _first_seed_that_finds(name)

    assert seed is not None, f"{name} went unnoticed through {SEEDS_ENOUGH} seeds"
    run_seed(seed)


def test_bugs_are_planted_in_every_part() -> None:
    parts = {plant.__module__ for plant in PLANTED.values()}

    modules = (planted_in_figures, planted_in_offsets, planted_in_reading, planted_in_slots, planted_in_work)
    assert parts == {module.__name__ for module in modules}
    assert len(PLANTED) >= 30


def _first_seed_that_finds(name: str) -> int | None:
    for seed in range(SEEDS_ENOUGH):
        with pytest.MonkeyPatch.context() as patch:
            PLANTED[name](patch)
            try:
                run_seed(seed)
            except SeedFailed:
                return seed
    return None
