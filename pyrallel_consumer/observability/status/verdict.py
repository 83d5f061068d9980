"""Whether a consumer keeps up, and if not, why: the sentences at the top of the status page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pyrallel_consumer.control_plane.policies import HealthLimits
from pyrallel_consumer.dto import BlockedBy, RuntimeSnapshot
from pyrallel_consumer.observability.ailments import SignsOfLife, ailments, holds_starts
from pyrallel_consumer.observability.status.history import Moment
from pyrallel_consumer.observability.status.pace import Pace, Trend, pace

BLOCKED_SECONDS: Final = 5.0
"""From this time on a blocking offset is mentioned; the health limits decide when it is an error."""
STALE_SECONDS: Final = 2.0
TREND_SECONDS: Final = 60.0
RATE_SECONDS: Final = 10.0
BUSY_MOMENTS: Final = 5
MOST_PARTITIONS_NAMED: Final = 3
JUST_STARTED_SECONDS: Final = 3.0
"""A shorter time is not enough to say whether a backlog grows."""
_WHY: Final = {
    BlockedBy.RUNNING: "its worker runs",
    BlockedBy.RETRY: "it waits for its next attempt",
    BlockedBy.HELD: "it failed its last attempt",
    BlockedBy.UNWRITTEN: "its worker returned, and its records are not written yet",
    BlockedBy.EARLIER_ASSIGNMENT: "an attempt from before the last rebalance still runs",
}


class Level(StrEnum):
    """``bad``: somebody must act. ``look``: worth a look. ``ok``: all is well."""

    OK = "ok"
    LOOK = "look"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One headline and the reasons for it, the worst first."""

    level: Level
    headline: str
    reasons: tuple[tuple[Level, str], ...]


def verdict(
    picture: RuntimeSnapshot, signs: SignsOfLife, limits: HealthLimits, moments: Sequence[Moment], now: float
) -> Verdict:
    """The sentences that an operator should read first."""
    ill = [(Level.BAD, _sentence(each.detail, each.topic, each.partition)) for each in ailments(picture, signs, limits)]
    named = {(each.topic, each.partition) for each in ailments(picture, signs, limits)}
    age_seconds = now - picture.taken_at
    if age_seconds > STALE_SECONDS and picture.state != "closed":
        level, headline = Level.LOOK, _of_old(age_seconds, signs)
    elif not picture.is_broker_connected:
        level, headline = Level.BAD, "No broker answers, so it is unknown how much there is to do."
    else:
        level, headline = _pace_of(moments) if moments else (Level.OK, "Just started.")
    notes = [(Level.LOOK, text) for text in _notes(picture, moments, named)]
    if ill:
        return Verdict(Level.BAD, f"Needs attention. {headline}", (*ill, *notes))
    return Verdict(Level.LOOK if notes else level, headline, tuple(notes))


def _of_old(age_seconds: float, signs: SignsOfLife) -> str:
    if signs.loop_age_seconds > STALE_SECONDS:
        return f"Unknown: the event loop has not turned for {duration(age_seconds)}."
    return f"Unknown: no snapshot could be taken for {duration(age_seconds)}; the log says why."


def _pace_of(moments: Sequence[Moment]) -> tuple[Level, str]:
    last = moments[-1]
    before = next(each for each in moments if each.at >= last.at - TREND_SECONDS)
    recent = [each.finished_per_second for each in moments if each.at >= last.at - RATE_SECONDS]
    rate = sum(recent) / len(recent)
    seconds = last.at - before.at
    # Not from the old backlog: messages of newly assigned partitions were found meanwhile, and are not new.
    grown = sum(each.grown for each in moments if each.at > before.at)
    if last.backlog and seconds < JUST_STARTED_SECONDS:
        return Level.OK, f"Just started: {_count(last.backlog, 'message')} to do."
    return _told(pace(last.backlog, last.backlog - grown, seconds, rate), last)


def _told(found: Pace, last: Moment) -> tuple[Level, str]:
    match found.trend:
        case Trend.IDLE:
            return Level.OK, "Idle: nothing comes in, and nothing is left to do."
        case Trend.STANDS_STILL:
            left = _count(last.backlog, "message")
            return Level.LOOK, f"Stands still: {left} left, and none has finished in the last {RATE_SECONDS:.0f} s."
        case Trend.KEEPS_UP:
            return Level.OK, "Keeps up."
        case Trend.CATCHES_UP:
            return Level.OK, f"Catches up: about {duration(found.seconds_left or 0.0)} to go."
        case Trend.STEADY:
            return Level.LOOK, f"Keeps its distance: {last.backlog:,} messages behind, no more and no fewer."
        case Trend.FALLS_BEHIND:
            return Level.LOOK, f"Falls behind: what is left to do grows by {-found.per_second:,.0f} messages a second."


def _notes(
    picture: RuntimeSnapshot, moments: Sequence[Moment], named: set[tuple[str | None, int | None]]
) -> Iterator[str]:
    yield from _blocked(picture, named)
    yield from _flow(picture, moments)
    yield from _failures(picture)


def _flow(picture: RuntimeSnapshot, moments: Sequence[Moment]) -> Iterator[str]:
    if picture.load_messages >= picture.queue_max_messages or picture.load_bytes >= picture.queue_max_bytes:
        yield "The buffer is full, so reading waits for the workers."
    elif picture.is_paused and not picture.is_circuit_open:
        yield "Reading is paused until the buffer has room again."
    paused = sum(1 for each in picture.partitions if set(each.paused_for) - {"load", "circuit"})
    if paused:
        yield f"{_count(paused, 'partition')} {_are(paused)} paused: see below why."
    recent = moments[-BUSY_MOMENTS:]
    if len(recent) == BUSY_MOMENTS and all(each.in_flight >= picture.max_in_flight for each in recent):
        yield f"All {picture.max_in_flight:,} slots are taken: more could run if max_in_flight allowed it."
    if picture.is_rate_limited:
        yield f"Messages wait for max_per_second: {picture.max_per_second:g} a second are started, and no more."
    if picture.is_rebalancing:
        yield "A rebalance is under way."


def _failures(picture: RuntimeSnapshot) -> Iterator[str]:
    if picture.stuck:
        yield f"{_count(picture.stuck, 'attempt')} should have ended and still {_runs(picture.stuck)}."
    if picture.waiting_retries:
        yield f"{_count(picture.waiting_retries, 'message')} failed and will be tried again."
    if picture.held:
        yield f"{_count(picture.held, 'message')} failed the last attempt and {_are(picture.held)} held."
    if picture.poisoned_keys:
        yield f"{_count(picture.poisoned_keys, 'key')} {_are(picture.poisoned_keys)} poisoned: dead letters untried."


def _blocked(picture: RuntimeSnapshot, named: set[tuple[str | None, int | None]]) -> Iterator[str]:
    long = [each for each in picture.partitions if each.blocking_seconds >= BLOCKED_SECONDS and each.tp not in named]
    blocked = sorted(
        (each for each in long if each.blocked_by is not BlockedBy.SLOT), key=lambda each: -each.blocking_seconds
    )
    for each in blocked[:MOST_PARTITIONS_NAMED]:
        why = _WHY[each.blocked_by or BlockedBy.RUNNING]
        yield f"{each.tp}: offset {each.blocking_offset:,} has blocked for {duration(each.blocking_seconds)}: {why}."
    if len(blocked) > MOST_PARTITIONS_NAMED:
        more = len(blocked) - MOST_PARTITIONS_NAMED
        yield f"{_count(more, 'more partition')} {_are(more)} blocked."
    waiting = len(long) - len(blocked)
    if waiting and not holds_starts(picture):
        yield f"{_count(waiting, 'partition')} {_are(waiting)} ready and waiting for a slot."


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them: ``0.4 s``, ``12 s``, ``3 min``, ``2.5 h``, ``4 days``."""
    if seconds < 10:  # noqa: PLR2004 -- steps of a scale, named by what they return
        return f"{seconds:.1f} s"
    if seconds < 120:  # noqa: PLR2004 -- as above
        return f"{seconds:.0f} s"
    if seconds < 7200:  # noqa: PLR2004 -- as above
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:  # noqa: PLR2004 -- as above
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.0f} days"


def _sentence(detail: str, topic: str | None, partition: int | None) -> str:
    text = detail if topic is None else f"{topic}[{partition}]: {detail}"
    return (text if topic is not None else text[:1].upper() + text[1:]) + "."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _runs(number: int) -> str:
    return "runs" if number == 1 else "run"
