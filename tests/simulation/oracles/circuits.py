"""The circuits: while that for outages is open nothing is let go and little is tried; poisoned keys were poisoned."""

from __future__ import annotations

from collections.abc import Sequence

from pyrallel_consumer.dto import OnExhausted, WorkItem
from tests.simulation.oracles.verdict import RuleBroken


def nothing_is_let_go_while_open(item: WorkItem, outcome: OnExhausted | None, *, was_open: bool) -> None:
    if was_open and outcome is not None:
        raise RuleBroken("circuit", f"{item} failed while the circuit was open and was met with {outcome}")


def what_is_kept_is_kept_for_an_outage(item: WorkItem, *, is_kept: bool, is_open: bool) -> None:
    if is_kept and not is_open:
        raise RuleBroken("circuit", f"{item} failed for good, nothing came of it, and the circuit is closed")


def one_probe_at_a_time(started: Sequence[WorkItem], running_probe: WorkItem | None) -> None:
    if len(started) > 1 or (started and running_probe is not None):
        raise RuleBroken("circuit", f"{started} start while the circuit is open and {running_probe} is its probe")


def reads_at_most_one_message(credit: int) -> None:
    if credit > 1:
        raise RuleBroken("circuit", f"{credit} messages may be read while the circuit is open")


def only_poisoned_keys_are_condemned(item: WorkItem, failures_in_a_row: int, limit: int | None) -> None:
    if limit is None or failures_in_a_row < limit:
        raise RuleBroken("poison", f"{item} is not tried after {failures_in_a_row} failures of its key, limit {limit}")
