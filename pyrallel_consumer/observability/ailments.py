"""Whether a consumer is alive and ready, decided from its snapshot and the ages of its signs of life. Pure.

A consumer that is not *alive* should be restarted by its supervisor: its threads hang. One that is not *ready* needs an
operator: some part of its work makes no progress. A consumer that is not alive is not ready either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrallel_consumer.control_plane.policies import HealthLimits
    from pyrallel_consumer.dto import PartitionSnapshot, RuntimeSnapshot

STARTS_HELD_SECONDS: Final = 10.0
"""An available coordinator confirms a commit much sooner."""
START_WAITS_SECONDS: Final = 5.0
"""The transaction of an owner that lives is open for milliseconds."""


@dataclass(frozen=True, slots=True)
class SignsOfLife:
    """How long ago the event loop last turned, and the poll thread last returned from the client; in seconds.

    ``picture_age_seconds`` is the age of the snapshot.
    """

    loop_age_seconds: float
    poll_age_seconds: float
    is_poll_thread_alive: bool
    picture_age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Ailment:
    """One reason: a name that does not change between versions, a sentence, and the partition if there is one."""

    reason: str
    detail: str
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None


def ailments_of_life(picture: RuntimeSnapshot, signs: SignsOfLife, limits: HealthLimits) -> tuple[Ailment, ...]:
    """Why the consumer is not alive; empty if it is."""
    return tuple(_lifeless(picture, signs, limits))


def ailments(picture: RuntimeSnapshot, signs: SignsOfLife, limits: HealthLimits) -> tuple[Ailment, ...]:
    """Why the consumer is not ready, the most fundamental reason first; empty if it is."""
    return (*_lifeless(picture, signs, limits), *_unready(picture, signs, limits))


def _lifeless(picture: RuntimeSnapshot, signs: SignsOfLife, limits: HealthLimits) -> Iterator[Ailment]:
    if picture.state != "closed" and signs.loop_age_seconds > limits.loop_blocked_seconds:
        yield Ailment("loop_blocked", f"the event loop has not turned for {signs.loop_age_seconds:.1f} s")
    if picture.state != "running":
        return  # Before and after, the poll thread need not poll.
    if not signs.is_poll_thread_alive:
        yield Ailment("poll_thread_dead", "the thread that talks to Kafka has ended")
    elif signs.poll_age_seconds > limits.poll_silent_seconds:
        yield Ailment("poll_thread_silent", f"the client has not been polled for {signs.poll_age_seconds:.1f} s")


def holds_starts(picture: RuntimeSnapshot) -> bool:
    """Whether the consumer itself delays starts: a message that is ready does not wait for a slot then."""
    return picture.is_circuit_open or picture.is_rate_limited or picture.starts_held_seconds > 0


def _unready(picture: RuntimeSnapshot, signs: SignsOfLife, limits: HealthLimits) -> Iterator[Ailment]:
    if picture.state != "running":
        yield Ailment(picture.state, f"the consumer is {picture.state}")
        return
    if signs.loop_age_seconds <= limits.loop_blocked_seconds < signs.picture_age_seconds:
        seconds = signs.picture_age_seconds
        yield Ailment("picture_old", f"no snapshot could be taken for {seconds:.0f} s: the log says why")
    if not picture.is_broker_connected:
        seconds = picture.broker_silent_seconds
        yield Ailment("broker_unreachable", f"no broker has answered for {seconds:.0f} s, so the lag is not known")
    if not picture.partitions and not limits.is_ready_without_partitions:
        yield Ailment("not_assigned", "no partition is assigned to this member of the group")
    if picture.starts_held_seconds > STARTS_HELD_SECONDS:
        detail = (
            f"nothing has been started for {picture.starts_held_seconds:.0f} s: this process stood still, and the "
            "group's coordinator has not confirmed a commit since"
        )
        yield Ailment("membership_unconfirmed", detail)
    yield from _not_begun(picture)
    if picture.dead_letters.is_failing:
        waiting = picture.dead_letters.waiting
        yield Ailment("dead_letters_refused", f"a dead-letter topic takes nothing; {waiting} letters wait")
    if picture.is_circuit_open:
        yield Ailment("circuit_open", "too many messages failed permanently; nothing is read until a probe succeeds")
    for partition in picture.partitions:
        yield from _stuck(partition, limits, is_held_back=picture.is_paused)


def _not_begun(picture: RuntimeSnapshot) -> Iterator[Ailment]:
    for tp, seconds in picture.waiting_starts:
        if seconds > START_WAITS_SECONDS:
            detail = (
                f"it has not been read for {seconds:.0f} s: a transaction of its former owner is open, and the broker "
                "ends it after that owner's OutputConfig.transaction_timeout_ms"
            )
            yield Ailment("transaction_open", detail, tp.topic, tp.partition)


def _stuck(partition: PartitionSnapshot, limits: HealthLimits, *, is_held_back: bool) -> Iterator[Ailment]:
    topic, number = partition.tp
    if partition.blocking_seconds > limits.partition_blocked_seconds:
        detail = f"offset {partition.blocking_offset} has kept the commit back for {partition.blocking_seconds:.0f} s"
        yield Ailment("partition_blocked", detail, topic, number, partition.blocking_offset)
    elif (is_held_back or partition.paused_for) and partition.stalled_seconds > limits.partition_stuck_seconds:
        detail = f"paused, and nothing has finished for {partition.stalled_seconds:.0f} s"
        yield Ailment("partition_stuck", detail, topic, number, partition.blocking_offset)
