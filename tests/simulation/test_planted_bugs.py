"""The oracles work: every planted bug is found within a few seeds, and the same seeds pass without it."""

from __future__ import annotations

import pytest

from tests.simulation import (
    planted_in_batches,
    planted_in_figures,
    planted_in_membership,
    planted_in_offsets,
    planted_in_reading,
    planted_in_work,
)
from tests.simulation.planting import PLANTED
from tests.simulation.runner import SeedFailed, run_seed
from tests.simulation.scenario import FIRST_BATCH_SEED

SEEDS_ENOUGH = 300

# Where to begin looking, for bugs that few seeds find: only to save time, every other seed is tried, too. To make it
# anew, empty it and note the seeds that the tests find.
SEEDS_THAT_FOUND: dict[str, int] = {
    "a_commit_that_was_sent_before_the_gap_proves_the_membership": 4,
    "a_dead_letter_settles_before_its_acknowledgement": 2,
    "a_failed_message_does_not_hold_its_key": 4,
    "a_gap_of_the_poll_thread_alone_raises_no_doubt": 19,
    "a_key_forgets_its_old_attempt": 25,
    "a_key_is_sent_ahead_of_a_message_that_failed_for_good": 10,
    "a_key_is_sent_ahead_while_its_run_comes_back": 479,
    "a_known_success_is_thrown_away": 7,
    "a_late_answer_is_taken_for_the_next_commit": 3,
    "a_letter_of_an_ended_assignment_settles_the_message_of_the_next": 235,
    "a_map_that_is_carried_on_loses_its_leader_epoch": 13,
    "a_map_that_is_carried_on_takes_the_leader_epoch_of_today": 13,
    "a_message_of_a_poisoned_key_is_dropped": 294,
    "a_paused_partition_stays_paused": 13,
    "a_probe_starts_though_no_slot_is_free": 70,
    "a_probe_that_hangs_is_waited_for": 273,
    "a_refused_commit_counts": 3,
    "a_refused_commit_proves_the_membership": 38,
    "a_refused_letter_goes_out_with_the_others_again": 442,
    "a_refused_map_never_shrinks": 31,
    "a_resolved_start_that_was_refused_is_forgotten": 8,
    "a_restored_map_is_dropped_though_its_log_was_not_cut": 13,
    "a_restored_map_outlives_a_cut_of_the_log": 97,
    "a_resumed_partition_is_passed_over": 3,
    "a_revoked_partition_s_half_filled_batch_is_kept": 100_022,
    "a_run_is_longer_than_the_engine_takes": 16,
    "a_waiting_retry_does_not_hold_its_key": 15,
    "an_offset_that_the_log_lost_is_believed": 4,
    "an_open_circuit_lets_a_crowd_of_probes_through": 215,
    "an_open_circuit_with_nothing_to_probe_reads_nothing": 70,
    "any_commit_ends_the_doubt_that_the_poll_thread_raised": 32,
    "commits_forget_the_epoch": 6,
    "failures_are_not_timed": 4,
    "going_back_is_not_noticed": 4,
    "going_back_keeps_the_old_leader_epoch": 106,
    "going_back_keeps_the_old_map": 203,
    "idle_partitions_are_not_committed_again_after_a_gap": 13,
    "later_offsets_take_the_slots_of_lower_ones": 15,
    "one_partition_may_fill_the_buffer": 3,
    "running_work_gets_no_grace": 7,
    "starting_goes_on_while_revoking": 5,
    "the_circuit_never_closes": 70,
    "the_fence_is_forgotten": 14,
    "the_items_of_a_run_begin_at_once": 6,
    "the_position_counts_as_finished": 2,
    "the_rest_of_the_restored_map_is_dropped": 13,
    "the_restored_map_is_off_by_one": 13,
    "the_second_half_of_a_key_does_not_wait_for_the_first": 100_078,
    "trailing_markers_stall_the_commit": 3,
    "under_a_limit_later_offsets_start_before_lower_ones": 282,
    "what_is_given_back_is_overtaken": 50,
    "what_stands_behind_a_charged_message_goes_on": 100_012,
    "what_stands_behind_a_failed_message_never_comes_back": 30,
    "what_stands_behind_a_named_message_is_done": 100_012,
    "what_was_read_ahead_is_lost_when_an_offset_comes_again": 10,
    "what_was_read_ahead_of_a_paused_partition_is_handed_on": 3,
    "what_was_read_ahead_outlives_an_offset_that_comes_again": 10,
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
        planted_in_batches,
        planted_in_figures,
        planted_in_membership,
        planted_in_offsets,
        planted_in_reading,
        planted_in_work,
    )
    assert parts == {module.__name__ for module in modules}
    assert len(PLANTED) >= 30


def _first_seed_that_finds(name: str) -> int | None:
    first = FIRST_BATCH_SEED if PLANTED[name].__module__ == planted_in_batches.__name__ else 0
    seeds: list[int] = [SEEDS_THAT_FOUND.get(name, first), *range(first, first + SEEDS_ENOUGH)]
    for seed in seeds:
        with pytest.MonkeyPatch.context() as patch:
            PLANTED[name](patch)
            try:
                run_seed(seed)
            except SeedFailed:
                return seed
    return None
