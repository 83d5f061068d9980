"""The oracles bite: every planted bug is found within a few seeds, and the same seeds pass without it."""

from __future__ import annotations

import pytest

from tests.simulation import (
    planted_in_figures,
    planted_in_membership,
    planted_in_offsets,
    planted_in_reading,
    planted_in_slots,
    planted_in_work,
)
from tests.simulation.planting import PLANTED
from tests.simulation.runner import SeedFailed, run_seed

SEEDS_ENOUGH = 300

# Where to begin looking, for bugs that few seeds find: only to save time, every other seed is tried, too. To make it
# anew, empty it and note the seeds that the tests find.
SEEDS_THAT_FOUND: dict[str, int] = {
    "a_dead_letter_settles_before_its_acknowledgement": 3,
    "a_failed_message_does_not_hold_its_key": 4,
    "a_key_forgets_its_old_attempt": 25,
    "a_key_goes_on_while_a_lower_offset_waits_for_the_slot": 15,
    "a_key_is_released_when_the_timeout_fires": 4,
    "a_key_is_sent_ahead_of_a_message_that_failed_for_good": 10,
    "a_key_is_sent_ahead_while_its_run_comes_back": 330,
    "a_late_answer_is_taken_for_the_next_commit": 4,
    "a_letter_of_an_ended_assignment_settles_the_message_of_the_next": 31,
    "a_message_of_a_poisoned_key_is_dropped": 64,
    "a_paused_partition_stays_paused": 3,
    "a_probe_starts_though_no_slot_is_free": 925,
    "a_probe_that_hangs_is_waited_for": 1542,
    "a_probe_that_was_cancelled_is_waited_for": 263,
    "a_refused_commit_counts": 3,
    "a_refused_letter_counts_as_sent": 4,
    "a_refused_letter_goes_out_with_the_others_again": 282,
    "a_refused_letter_is_forgotten": 66,
    "a_refused_map_never_shrinks": 31,
    "a_resumed_partition_is_passed_over": 14,
    "a_run_is_longer_than_the_engine_takes": 11,
    "a_waiting_retry_does_not_hold_its_key": 10,
    "an_open_circuit_lets_a_crowd_of_probes_through": 62,
    "an_open_circuit_with_nothing_to_probe_reads_nothing": 356,
    "going_back_keeps_the_old_map": 329,
    "one_partition_may_fill_the_buffer": 3,
    "the_circuit_never_closes": 103,
    "the_message_behind_the_next_goes_on": 4,
    "the_position_counts_as_finished": 3,
    "trailing_markers_stall_the_commit": 3,
    "what_is_given_back_is_overtaken": 10,
    "what_stands_behind_a_failed_message_never_comes_back": 17,
    "what_was_read_ahead_is_lost_when_an_offset_comes_again": 10,
    "while_the_circuit_is_open_messages_are_let_go": 62,
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str) -> None:
    seed = _first_seed_that_finds(name)

    assert seed is not None, f"{name} went unnoticed through {SEEDS_ENOUGH} seeds"
    run_seed(seed)


def test_bugs_are_planted_in_every_part() -> None:
    parts = {plant.__module__ for plant in PLANTED.values()}

    modules = (
        planted_in_figures,
        planted_in_membership,
        planted_in_offsets,
        planted_in_reading,
        planted_in_slots,
        planted_in_work,
    )
    assert parts == {module.__name__ for module in modules}
    assert len(PLANTED) >= 30


def _first_seed_that_finds(name: str) -> int | None:
    seeds: list[int] = [SEEDS_THAT_FOUND.get(name, 0), *range(SEEDS_ENOUGH)]
    for seed in seeds:
        with pytest.MonkeyPatch.context() as patch:
            PLANTED[name](patch)
            try:
                run_seed(seed)
            except SeedFailed:
                return seed
    return None
