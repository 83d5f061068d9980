"""The circuits: while the circuit for outages is open few messages start; poisoned keys had failed in a row."""

from __future__ import annotations

from collections.abc import Sequence

from pyrallel_consumer.control_plane.failures.failure_circuit import MOST_PATIENCE
from pyrallel_consumer.dto import OnExhausted, WorkItem
from pyrallel_consumer.runtime.pump.timers import STILL_TICK_SECONDS
from tests.simulation.oracles.verdict import RuleBroken

SLACK_SECONDS = STILL_TICK_SECONDS + 0.01
"""The circuit knows the time of the last tick."""
IDLE_SLACK_SECONDS = 0.3


def nothing_is_let_go_while_open(item: WorkItem, outcome: OnExhausted | None, *, was_open: bool) -> None:
    if was_open and outcome is not None:
        raise RuleBroken("circuit", f"{item} failed while the circuit was open and was met with {outcome}")


def what_is_kept_is_kept_for_an_outage(item: WorkItem, *, is_kept: bool, is_open: bool) -> None:
    if is_kept and not is_open:
        raise RuleBroken("circuit", f"{item} failed for good, nothing came of it, and the circuit is closed")


def probes_start_when_they_are_due(
    started: Sequence[WorkItem], seconds_since_the_last: float, wait_seconds: float
) -> None:
    """``wait_seconds`` is the wait between two probes, while no earlier probe hangs."""
    if len(started) > 1 or (started and seconds_since_the_last < wait_seconds - SLACK_SECONDS):
        raise RuleBroken("circuit", f"{started} start as probes, {seconds_since_the_last} s after the last one")


def rule_29_a_probe_is_under_way_or_due(idle_seconds: float, wait_seconds: float) -> None:
    """For ``idle_seconds`` no probe started, though the circuit is open, a message is ready and a slot is free."""
    if idle_seconds > MOST_PATIENCE * wait_seconds + IDLE_SLACK_SECONDS:
        raise RuleBroken("29", f"the circuit is open, and no probe was started for {idle_seconds} s")


def reads_at_most_one_message(credit: int) -> None:
    if credit > 1:
        raise RuleBroken("circuit", f"{credit} messages may be read while the circuit is open")


def only_poisoned_keys_are_condemned(item: WorkItem, failures_in_a_row: int, limit: int | None) -> None:
    if limit is None or failures_in_a_row < limit:
        raise RuleBroken("poison", f"{item} is not tried after {failures_in_a_row} failures of its key, limit {limit}")
