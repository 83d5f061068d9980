"""When a member is started again, and the exit code of several members."""

from __future__ import annotations

import pytest

from pyrallel_consumer.cli.command import EXIT_CUT_OFF, EXIT_FAILED, EXIT_OK, EXIT_USAGE
from pyrallel_consumer.cli.run.supervisors.restarts import LONGEST_WAIT_SECONDS, STEADY_SECONDS, Restarts, one_exit_code


def test_a_member_that_ends_quickly_again_and_again_waits_longer_each_time() -> None:
    restarts = Restarts()
    waits = [restarts.wait_seconds(EXIT_FAILED, 1.0, is_another_steady=True) for _ in range(7)]
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert LONGEST_WAIT_SECONDS == 30


def test_where_no_other_is_steady_the_fifth_quick_end_gives_all_up() -> None:
    restarts = Restarts()
    waits = [restarts.wait_seconds(EXIT_FAILED, 1.0, is_another_steady=False) for _ in range(5)]
    assert waits == [1, 2, 4, 8, None]


def test_a_member_that_was_steady_begins_anew() -> None:
    restarts = Restarts()
    for _ in range(4):
        restarts.wait_seconds(EXIT_FAILED, 1.0, is_another_steady=False)
    assert restarts.wait_seconds(137, STEADY_SECONDS, is_another_steady=False) == 1


def test_settings_that_do_not_fit_give_all_up_at_once() -> None:
    assert Restarts().wait_seconds(EXIT_USAGE, 100.0, is_another_steady=True) is None


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([EXIT_OK, EXIT_OK], EXIT_OK),
        ([EXIT_OK, EXIT_CUT_OFF], EXIT_CUT_OFF),
        ([EXIT_CUT_OFF, 137], 137),
        ([EXIT_FAILED, 137, EXIT_OK], EXIT_FAILED),
        ([EXIT_FAILED, EXIT_USAGE], EXIT_USAGE),
        ([], EXIT_OK),
    ],
)
def test_the_exit_code_of_all_is_the_gravest(codes: list[int], code: int) -> None:
    assert one_exit_code(codes) == code
