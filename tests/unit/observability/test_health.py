"""When a consumer counts as alive and as ready: one table of pictures, each with the reasons it must give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pyrallel_consumer.control_plane.policies import HealthLimits
from pyrallel_consumer.dto import DeadLetterSnapshot, RuntimeSnapshot, TopicPartition
from pyrallel_consumer.observability.ailments import SignsOfLife, ailments, ailments_of_life
from tests.unit.control_plane.pictures import LIMITS, WELL, partition, picture


def reasons(shown: RuntimeSnapshot, signs: SignsOfLife = WELL, limits: HealthLimits = LIMITS) -> list[str]:
    return [one.reason for one in ailments(shown, signs, limits)]


def test_a_consumer_that_works_is_alive_and_ready() -> None:
    assert ailments_of_life(picture(), WELL, LIMITS) == ailments(picture(), WELL, LIMITS) == ()


@pytest.mark.parametrize(
    ("state", "signs", "expected"),
    [
        ("running", replace(WELL, loop_age_seconds=30.1), ["loop_blocked"]),
        ("running", replace(WELL, loop_age_seconds=30.0), []),
        ("running", replace(WELL, is_poll_thread_alive=False), ["poll_thread_dead"]),
        ("running", replace(WELL, poll_age_seconds=300.1), ["poll_thread_silent"]),
        ("running", replace(WELL, poll_age_seconds=300.0), []),
        ("running", SignsOfLife(31, 301, is_poll_thread_alive=True), ["loop_blocked", "poll_thread_silent"]),
        ("starting", replace(WELL, is_poll_thread_alive=False), []),
        ("starting", replace(WELL, loop_age_seconds=31), ["loop_blocked"]),
        ("stopping", replace(WELL, is_poll_thread_alive=False, poll_age_seconds=301), []),
        ("stopping", replace(WELL, loop_age_seconds=31), ["loop_blocked"]),
        ("closed", replace(WELL, loop_age_seconds=31, is_poll_thread_alive=False), []),
    ],
)
def test_it_is_alive_while_its_threads_get_on(state: str, signs: SignsOfLife, expected: list[str]) -> None:
    shown = picture(state=state)
    assert [one.reason for one in ailments_of_life(shown, signs, LIMITS)] == expected
    assert reasons(shown, signs)[: len(expected)] == expected  # what is not alive is not ready either


@pytest.mark.parametrize("state", ["starting", "stopping", "closed"])
def test_it_is_ready_only_while_it_runs(state: str) -> None:
    stuck_as_well = partition(blocking_seconds=999.0)
    assert reasons(picture(stuck_as_well, state=state)) == [state]


def test_without_a_partition_it_is_not_ready_unless_it_is_there_to_stand_by() -> None:
    idle = replace(picture(), partitions=())
    assert reasons(idle) == ["not_assigned"]
    assert reasons(idle, limits=replace(LIMITS, is_ready_without_partitions=True)) == []


def test_starts_that_are_held_back_for_long_are_a_reason() -> None:
    assert reasons(picture(starts_held_seconds=10.0)) == []
    [ailment] = ailments(picture(starts_held_seconds=11.0), WELL, LIMITS)
    assert ailment.reason == "membership_unconfirmed"
    assert "11 s" in ailment.detail


def test_a_partition_that_waits_long_for_the_end_of_a_transaction_is_a_reason_and_names_it() -> None:
    tp = TopicPartition("orders", 3)
    assert reasons(picture(waiting_starts=((tp, 1.0),))) == []
    [ailment] = ailments(picture(waiting_starts=((tp, 7.0),)), WELL, LIMITS)
    assert (ailment.reason, ailment.topic, ailment.partition) == ("transaction_open", "orders", 3)
    assert "transaction_timeout_ms" in ailment.detail


def test_dead_letters_that_are_refused_and_an_open_circuit_are_reasons() -> None:
    refused = picture(dead_letters=DeadLetterSnapshot(is_enabled=True, is_failing=True, waiting=7))
    [ailment] = ailments(refused, WELL, LIMITS)
    assert ailment.reason == "dead_letters_refused"
    assert "7 letters" in ailment.detail
    assert reasons(picture(is_circuit_open=True, is_paused=True)) == ["circuit_open"]


def test_an_outage_of_all_brokers_is_the_first_reason_and_says_what_is_not_known() -> None:
    outage = picture(is_broker_connected=False, broker_silent_seconds=12.4)
    [ailment] = ailments(outage, WELL, LIMITS)
    assert (ailment.reason, ailment.detail) == (
        "broker_unreachable",
        "no broker has answered for 12 s, so the lag is not known",
    )
    assert reasons(replace(outage, partitions=())) == ["broker_unreachable", "not_assigned"]
    assert ailments_of_life(outage, WELL, LIMITS) == ()  # a restart would not help


@pytest.mark.parametrize(
    ("changes", "is_paused", "expected"),
    [
        ({"blocking_seconds": 120.1}, False, ["partition_blocked"]),
        ({"blocking_seconds": 120.0}, False, []),
        ({"blocking_seconds": 120.1, "stalled_seconds": 60.1}, True, ["partition_blocked"]),
        ({"blocking_seconds": 90.0, "stalled_seconds": 60.1}, True, ["partition_stuck"]),
        ({"stalled_seconds": 60.0}, True, []),
        ({"stalled_seconds": 60.1, "paused_for": ("exhausted",)}, False, ["partition_stuck"]),
        ({"stalled_seconds": 60.1}, False, []),
        ({"paused_for": ("user",)}, False, []),
    ],
)
def test_one_partition_that_does_not_get_on_is_named_beside_others_that_do(
    changes: dict[str, Any], is_paused: bool, expected: list[str]
) -> None:
    other = partition(tp=TopicPartition("orders", 4))
    found = ailments(picture(other, partition(**changes), is_paused=is_paused), WELL, LIMITS)
    assert [(one.reason, one.topic, one.partition, one.offset) for one in found] == [
        (reason, "orders", 3, 10) for reason in expected
    ]
