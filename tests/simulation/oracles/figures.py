"""Numbers for operators add up: each ended attempt was timed once, and a moment has one cause of slowness at most."""

from __future__ import annotations

from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
from tests.simulation.oracles.verdict import RuleBroken

ROUNDING_SECONDS = 1e-6


def rule_14_what_ended_was_timed_once(work: PartitionWork, fenced: int) -> None:
    """``fenced`` attempts ended after their offset was delivered again: they may be timed, and count nowhere."""
    assert work.latency is not None
    counts = work.latency.taken_of(work.finished - work.settled).counts
    timed = sum(counts)
    ended = work.finished - work.settled + work.failed
    if min(counts) < 0 or not ended <= timed <= ended + fenced:
        raise RuleBroken("14", f"{ended} messages of {work.tp} ended, {timed} were timed, {fenced} were fenced off")


def a_moment_has_one_cause(work: PartitionWork, elapsed_seconds: float) -> None:
    """The seconds of the three causes add up to no more than the time since the consumer began."""
    seconds = sum(work.slowness.seconds.values())
    if seconds > elapsed_seconds + ROUNDING_SECONDS:
        raise RuleBroken("slowness", f"{work.tp} was slow for {seconds} of {elapsed_seconds} s")
