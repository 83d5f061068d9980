"""Whether the group may have given our partitions away during a gap in time, and what proves that it has not."""

from __future__ import annotations

from math import inf

import pytest

from pyrallel_consumer.control_plane.events import CommitAnswered
from pyrallel_consumer.control_plane.membership import GAP_SECONDS, Membership, gap_seconds
from tests.unit.control_plane.builders import OTHER, TP


def doubted(last_commit: int = 7) -> Membership:
    membership = Membership(2.0)
    membership.live(100.0, last_commit)
    assert membership.live(111.0, last_commit) == 11.0
    assert membership.is_doubted
    return membership


def test_before_the_first_turn_and_from_turn_to_turn_attempts_may_start() -> None:
    membership = Membership(2.0)
    assert membership.starts_until == inf

    for now in (100.0, 100.1, 102.1):
        assert membership.live(now, 0) == 0.0
        assert not membership.is_doubted
        assert membership.starts_until == now + 2.0


def test_after_a_longer_gap_nothing_may_start() -> None:
    membership = doubted()

    assert membership.starts_until == -inf
    assert membership.live(111.1, 7) == 0.0
    assert membership.is_doubted


def test_a_confirmed_commit_of_after_the_gap_ends_the_doubt() -> None:
    membership = doubted(last_commit=7)

    assert membership.answered(CommitAnswered(8, {TP: None}))

    assert not membership.is_doubted
    assert membership.starts_until == 113.0


def test_one_confirmed_partition_is_enough() -> None:
    assert doubted().answered(CommitAnswered(8, {TP: "UNKNOWN_TOPIC_OR_PART", OTHER: None}))


@pytest.mark.parametrize(
    "answer",
    [
        CommitAnswered(7, {TP: None}),
        CommitAnswered(8, {}),
        *(
            CommitAnswered(8, {TP: code})
            for code in (
                "ILLEGAL_GENERATION",
                "UNKNOWN_MEMBER_ID",
                "FENCED_INSTANCE_ID",
                "STALE_MEMBER_EPOCH",
                "REBALANCE_IN_PROGRESS",
                "_TIMED_OUT",
            )
        ),
    ],
    ids=lambda answer: f"commit {answer.number}: {list(answer.errors.values())}",
)
def test_nothing_else_ends_the_doubt(answer: CommitAnswered) -> None:
    membership = doubted(last_commit=7)

    assert not membership.answered(answer)
    assert membership.is_doubted


def test_a_second_gap_asks_for_a_newer_commit() -> None:
    membership = doubted(last_commit=7)
    membership.live(130.0, 8)

    assert not membership.answered(CommitAnswered(8, {TP: None}))
    assert membership.answered(CommitAnswered(9, {TP: None}))


def test_an_older_gap_of_the_poll_thread_does_not_take_the_newer_one_back() -> None:
    membership = doubted(last_commit=7)
    membership.doubt(3)

    assert not membership.answered(CommitAnswered(7, {TP: None}))
    assert membership.answered(CommitAnswered(8, {TP: None}))


def test_without_a_doubt_answers_mean_nothing() -> None:
    membership = Membership(2.0)

    assert not membership.answered(CommitAnswered(1, {TP: None}))


def test_the_longest_harmless_gap_is_half_a_short_session() -> None:
    assert gap_seconds(45.0) == GAP_SECONDS == 2.0
    assert gap_seconds(4.0) == 2.0
    assert gap_seconds(1.0) == 0.5
