"""What an operator reads first: one headline, and the reasons for it, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pyrallel_consumer.dto import BlockedBy, RuntimeSnapshot, TopicPartition
from pyrallel_consumer.observability.ailments import SignsOfLife
from pyrallel_consumer.observability.status.history import Moment
from pyrallel_consumer.observability.status.verdict import Level, Verdict, duration, verdict
from tests.unit.control_plane.pictures import LIMITS, WELL, partition, picture


def moments(*backlogs: int, rate: float = 10.0, in_flight: int = 1) -> list[Moment]:
    """Moments ten seconds apart with these backlogs; all partitions were assigned all the time."""
    before = (backlogs[0], *backlogs) if backlogs else ()
    return [
        Moment(10.0 * at, rate, 0.0, backlog, backlog, 1, in_flight, None, None, grown=backlog - before[at])
        for at, backlog in enumerate(backlogs)
    ]


def seconds_of(*backlogs_and_growth: tuple[int, int], rate: float = 1000.0) -> list[Moment]:
    """One per second."""
    return [
        Moment(float(at), rate, 0.0, backlog, backlog, 1, 1, None, None, grown=grown)
        for at, (backlog, grown) in enumerate(backlogs_and_growth)
    ]


def judged(
    shown: RuntimeSnapshot, history: Sequence[Moment] = (), now: float = 0.1, signs: SignsOfLife = WELL
) -> Verdict:
    return verdict(shown, signs, LIMITS, history, now)


@pytest.mark.parametrize(
    ("history", "level", "headline"),
    [
        ([], Level.OK, "Just started."),
        (moments(0, 0, rate=0.0), Level.OK, "Idle: nothing comes in, and nothing is left to do."),
        (moments(90, 80), Level.OK, "Keeps up."),
        (moments(1, 1, rate=0.0), Level.LOOK, "Stands still: 1 message left, and none has finished in the last 10 s."),
        (moments(*[9000] * 20), Level.LOOK, "Keeps its distance: 9,000 messages behind, no more and no fewer."),
        (moments(9000, 8000, 7000), Level.OK, "Catches up: about 70 s to go."),
        (moments(7000, 8000, 9000), Level.LOOK, "Falls behind: what is left to do grows by 100 messages a second."),
        (moments(*[99_000] * 9, 1000, 1000, 1000, 1000, 1000, 1000, 1000), Level.LOOK, "Keeps its distance: 1,000 "),
    ],
)
def test_the_headline_says_whether_it_keeps_up(history: list[Moment], level: Level, headline: str) -> None:
    found = judged(picture(), history)
    assert (found.level, found.reasons) == (level, ())
    assert found.headline.startswith(headline)


def test_a_backlog_that_is_being_discovered_is_worked_off_and_does_not_grow() -> None:
    discovered = seconds_of((50_000, 0), (250_000, -1000), (500_000, -2000), (900_000, -3000), (1_000_000, -90_000))
    assert judged(picture(), discovered[:3]) == Verdict(Level.OK, "Just started: 500,000 messages to do.", ())
    assert judged(picture(), discovered).headline.startswith("Catches up: about ")


def test_a_backlog_that_shrank_because_partitions_went_elsewhere_is_not_caught_up_with() -> None:
    revoked = seconds_of(*[(900_000, 9000)] * 5, (400_000, 9000), (409_000, 9000))
    assert judged(picture(), revoked).headline == "Falls behind: what is left to do grows by 9,000 messages a second."


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"load_messages": 100}, "The buffer is full, so reading waits for the workers."),
        ({"load_bytes": 100_000}, "The buffer is full, so reading waits for the workers."),
        ({"is_paused": True}, "Reading is paused until the buffer has room again."),
        ({"stuck": 1}, "1 attempt should have ended and still runs."),
        ({"stuck": 2}, "2 attempts should have ended and still run."),
        ({"waiting_retries": 3}, "3 messages failed and will be tried again."),
        ({"held": 1}, "1 message failed the last attempt and is held."),
        ({"poisoned_keys": 2}, "2 keys are poisoned: dead letters untried."),
        ({"is_rebalancing": True}, "A rebalance is under way."),
    ],
)
def test_what_is_worth_a_look_is_said(changes: dict[str, Any], reason: str) -> None:
    found = judged(picture(**changes))
    assert (found.level, found.reasons) == (Level.LOOK, ((Level.LOOK, reason),))


def test_slots_are_short_only_where_they_have_been_taken_for_some_seconds() -> None:
    busy = moments(*[50] * 5, in_flight=10)
    assert judged(picture(), busy).reasons == (
        (Level.LOOK, "All 10 slots are taken: more could run if max_in_flight allowed it."),
    )
    assert judged(picture(), busy[1:]).reasons == ()
    assert judged(picture(), [*busy, *moments(50, in_flight=9)]).reasons == ()


def test_paused_partitions_are_counted_but_not_those_that_all_are_for_one_reason() -> None:
    paused = partition(paused_for=("exhausted", "load"))
    found = judged(picture(paused, partition(paused_for=("load",)), partition(paused_for=())))
    assert found.reasons == ((Level.LOOK, "1 partition is paused: see below why."),)


def test_the_partitions_that_are_blocked_for_longest_are_named_and_the_rest_counted() -> None:
    blocked = [
        partition(tp=TopicPartition("orders", number), blocking_seconds=5.0 + number, blocking_offset=1000 + number)
        for number in range(5)
    ]
    assert [text for _, text in judged(picture(*blocked)).reasons] == [
        "orders[4]: offset 1,004 has blocked for 9.0 s: its worker runs.",
        "orders[3]: offset 1,003 has blocked for 8.0 s: its worker runs.",
        "orders[2]: offset 1,002 has blocked for 7.0 s: its worker runs.",
        "2 more partitions are blocked.",
    ]


@pytest.mark.parametrize(
    ("blocked_by", "reason"),
    [
        (BlockedBy.RUNNING, "orders[3]: offset 10 has blocked for 9.0 s: its worker runs."),
        (BlockedBy.RETRY, "orders[3]: offset 10 has blocked for 9.0 s: it waits for its next attempt."),
        (BlockedBy.HELD, "orders[3]: offset 10 has blocked for 9.0 s: it failed its last attempt."),
        (
            BlockedBy.EARLIER_ASSIGNMENT,
            "orders[3]: offset 10 has blocked for 9.0 s: an attempt from before the last rebalance still runs.",
        ),
        (BlockedBy.SLOT, "1 partition is ready and waiting for a slot."),
    ],
)
def test_what_an_offset_that_blocks_waits_for_is_said(blocked_by: BlockedBy, reason: str) -> None:
    found = judged(picture(partition(blocking_seconds=9.0, blocked_by=blocked_by)))
    assert [text for _, text in found.reasons] == [reason]


@pytest.mark.parametrize("held", [{"is_circuit_open": True}, {"is_rate_limited": True}, {"starts_held_seconds": 2.0}])
def test_slots_are_not_blamed_while_the_consumer_itself_delays_starts(held: dict[str, Any]) -> None:
    waiting = partition(blocking_seconds=9.0, blocked_by=BlockedBy.SLOT)
    assert not any("slot" in text for _, text in judged(picture(waiting, **held)).reasons)


def test_what_makes_the_consumer_unready_comes_first_and_is_said_once() -> None:
    found = judged(picture(partition(blocking_seconds=121.0), held=1), moments(0, rate=0.0))
    assert found.level is Level.BAD
    assert found.headline == "Needs attention. Idle: nothing comes in, and nothing is left to do."
    assert found.reasons == (
        (Level.BAD, "orders[3]: offset 10 has kept the commit back for 121 s."),
        (Level.LOOK, "1 message failed the last attempt and is held."),
    )


def test_an_outage_of_all_brokers_is_bad_and_nobody_knows_the_lag() -> None:
    outage = picture(is_broker_connected=False, broker_silent_seconds=12.4)
    assert judged(outage, moments(0, 0, rate=0.0)) == Verdict(
        Level.BAD,
        "Needs attention. No broker answers, so it is unknown how much there is to do.",
        ((Level.BAD, "No broker has answered for 12 s, so the lag is not known."),),
    )


def test_a_picture_that_is_old_says_so() -> None:
    blocked = SignsOfLife(40.0, 0.0, is_poll_thread_alive=True)
    late = SignsOfLife(4.0, 0.0, is_poll_thread_alive=True)
    assert judged(picture(), moments(0, 0), now=4.0).headline == (
        "Unknown: no snapshot could be taken for 4.0 s; the log says why."
    )
    assert judged(picture(), moments(0, 0), now=4.0, signs=late) == Verdict(
        Level.LOOK, "Unknown: the event loop has not turned for 4.0 s.", ()
    )
    assert judged(picture(), moments(0, 0), now=40.0, signs=blocked) == Verdict(
        Level.BAD,
        "Needs attention. Unknown: the event loop has not turned for 40 s.",
        ((Level.BAD, "The event loop has not turned for 40.0 s."),),
    )
    assert judged(picture(state="closed"), moments(0, 0, rate=0.0), now=4.0).headline == (
        "Needs attention. Idle: nothing comes in, and nothing is left to do."
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (99.6, "100 s"), (120, "2 min"), (7200, "2.0 h"), (172_800, "2 days")],
)
def test_durations_are_told_in_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
