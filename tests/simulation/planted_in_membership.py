"""Bugs after a gap in time: a consumer that starts messages without a session, or one that never starts again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pyrallel_consumer.control_plane.events import CommitAnswered
from pyrallel_consumer.control_plane.membership import Membership
from pyrallel_consumer.control_plane.offsets.commit_sequence import CommitSequence
from pyrallel_consumer.runtime.pump.start_lease import StartLease
from tests.simulation.planting import around, planted


@planted
def a_gap_in_time_goes_unnoticed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Membership, "live", lambda membership, now, last_commit: 0.0)


@planted
def starts_go_on_while_the_membership_is_doubted(patch: pytest.MonkeyPatch) -> None:
    def live(original: Callable[..., float], membership: Any, now: float, last_commit: int) -> float:
        seconds = original(membership, now, last_commit)
        membership._doubted_after = None  # noqa: SLF001 -- the bug to plant
        return seconds

    around(patch, Membership, "live", live)


@planted
def a_commit_that_was_sent_before_the_gap_proves_the_membership(patch: pytest.MonkeyPatch) -> None:
    around(patch, Membership, "doubt", lambda original, membership, last_commit: original(membership, -1))


@planted
def a_refused_commit_proves_the_membership(patch: pytest.MonkeyPatch) -> None:
    def answered(original: Callable[..., bool], membership: Any, answer: CommitAnswered) -> bool:
        return original(membership, CommitAnswered(answer.number, dict.fromkeys(answer.errors)))

    around(patch, Membership, "answered", answered)


@planted
def idle_partitions_are_not_committed_again_after_a_gap(patch: pytest.MonkeyPatch) -> None:
    def next_commit(original: Callable[..., Any], commits: Any, now: float, **how: bool) -> Any:
        return original(commits, now, **how | {"is_repeating": False})

    around(patch, CommitSequence, "next", next_commit)


@planted
def a_gap_of_the_poll_thread_alone_raises_no_doubt(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StartLease, "doubt", lambda *_: None)


@planted
def any_commit_ends_the_doubt_that_the_poll_thread_raised(patch: pytest.MonkeyPatch) -> None:
    def doubt(original: Callable[..., None], lease: Any, fact: Any) -> None:
        original(lease, replace(fact, last_commit=0))

    around(patch, StartLease, "doubt", doubt)
