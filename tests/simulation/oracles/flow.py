"""Rule 20: read and unfinished messages stay within their bounds, and nothing starves."""

from __future__ import annotations

from collections.abc import Iterable

from pyrallel_consumer.control_plane.flow.rate_limit import BURST_SECONDS
from pyrallel_consumer.dto import TopicPartition
from tests.simulation.oracles.verdict import RuleBroken


def rule_20_load_is_bounded(messages: int, limit: int) -> None:
    if messages > limit:
        raise RuleBroken("20", f"{messages} messages are read and unfinished, the limit is {limit}")


def rule_20_bytes_counted_are_never_too_few(counted: int, exact: int) -> None:
    if counted < exact:
        raise RuleBroken("20", f"{counted} bytes counted, {exact} held")


def rule_20_pauses_at_the_limit(credit: int, fullness: float) -> None:
    """``fullness`` is the larger of both loads, as a share of its limit."""
    if fullness >= 1 and credit > 0:
        raise RuleBroken("20", f"{credit} more messages are granted at a load of {fullness:.2f} of the limit")


def rule_20_resumes_below_the_limit(starved_ticks: int) -> None:
    if starved_ticks > 4:
        raise RuleBroken("20", f"for {starved_ticks} ticks nothing is granted, and the load is low")


def rule_20_one_partition_leaves_room(tp: TopicPartition, hogging_ticks: int) -> None:
    if hogging_ticks > 4:
        raise RuleBroken("20", f"{tp} leaves others no room, and is not paused for {hogging_ticks} ticks")


def no_more_start_than_the_rate_allows(starts: Iterable[tuple[float, int]], now: float, rate: float) -> None:
    """``starts`` are times and numbers of messages, the oldest first; whatever span up to ``now`` is looked at."""
    begun = 0
    for since, messages in reversed([*starts]):
        begun += messages
        allowed = (now - since) * rate + 1 + rate * BURST_SECONDS
        if begun > allowed + 1e-6:
            raise RuleBroken("rate", f"{begun} messages started within {now - since:.3f} s, {allowed:.1f} were allowed")
