"""Any history of assignments, messages and completions against the naive model, under every ordering."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from pyrallel_consumer.control_plane.policies import OrderingPolicy
from pyrallel_consumer.dto import NullKeyOrdering, OnExhausted, OrderingMode, RebalanceStateStrategy
from tests.unit.control_plane.run_machine import RunMachine
from tests.unit.control_plane.timed_machine import TimedMachine, TimedRunMachine
from tests.unit.control_plane.work_machine import WorkManagerMachine

ORDERINGS = [
    OrderingPolicy(OrderingMode.KEY_HASH, NullKeyOrdering.UNORDERED),
    OrderingPolicy(OrderingMode.KEY_HASH, NullKeyOrdering.PARTITION),
    OrderingPolicy(OrderingMode.PARTITION, NullKeyOrdering.UNORDERED),
    OrderingPolicy(OrderingMode.UNORDERED, NullKeyOrdering.PARTITION),
]


def check(machine: type[WorkManagerMachine], examples: int, steps: int = 40, **policy: Any) -> None:
    run_state_machine_as_test(
        type(machine.__name__, (machine,), policy),
        settings=settings(max_examples=examples, stateful_step_count=steps),
    )


@pytest.mark.parametrize("ordering", ORDERINGS, ids=lambda ordering: f"{ordering.mode}-{ordering.null_keys}")
def test_any_history_under_any_ordering(ordering: OrderingPolicy) -> None:
    check(WorkManagerMachine, 60, ordering=ordering)


@pytest.mark.parametrize("on_exhausted", [OnExhausted.SKIP, OnExhausted.STOP, OnExhausted.PAUSE_PARTITION])
def test_any_history_whatever_becomes_of_exhausted_messages(on_exhausted: OnExhausted) -> None:
    check(WorkManagerMachine, 30, on_exhausted=on_exhausted)


def test_any_history_with_commits_that_carry_no_map() -> None:
    check(WorkManagerMachine, 30, strategy=RebalanceStateStrategy.CONTIGUOUS_ONLY)


@pytest.mark.parametrize("ordering", ORDERINGS, ids=lambda ordering: f"{ordering.mode}-{ordering.null_keys}")
def test_any_history_with_durations_taken(ordering: OrderingPolicy) -> None:
    check(TimedMachine, 40, ordering=ordering)


def test_any_history_of_runs_with_durations_taken() -> None:
    check(TimedRunMachine, 30, 50)


@pytest.mark.parametrize("ordering", ORDERINGS[:3], ids=lambda ordering: f"{ordering.mode}-{ordering.null_keys}")
def test_any_history_of_runs_that_are_sent_ahead(ordering: OrderingPolicy) -> None:
    check(RunMachine, 30, 50, ordering=ordering)


@pytest.mark.parametrize("on_exhausted", [OnExhausted.SKIP, OnExhausted.PAUSE_PARTITION])
def test_any_history_of_runs_whatever_becomes_of_exhausted_messages(on_exhausted: OnExhausted) -> None:
    check(RunMachine, 15, 50, on_exhausted=on_exhausted)
