"""Typical bugs in reading ahead and handing on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyrallel_consumer.ingress.reading.fetch_gate import FetchGate, GateState
from pyrallel_consumer.ingress.reading.read_ahead import ReadAhead
from tests.simulation.planting import around, planted


@planted
def the_credit_is_ignored(patch: pytest.MonkeyPatch) -> None:
    def take(original: Callable[..., Any], kept: ReadAhead, credit: int, partitions: int) -> Any:
        return original(kept, 100, partitions)

    around(patch, ReadAhead, "take", take)


@planted
def reading_goes_on_though_enough_was_read_ahead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FetchGate, "step", lambda gate, room, now: GateState.READ)


@planted
def what_was_read_ahead_survives_a_release(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReadAhead, "drop", lambda kept, tps: None)


@planted
def what_was_read_ahead_of_a_paused_partition_is_handed_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReadAhead, "hold", lambda kept, tp: None)


@planted
def a_resumed_partition_is_passed_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReadAhead, "resume", lambda kept, tp: None)


@planted
def what_was_read_ahead_is_no_reason_to_keep_the_position(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReadAhead, "__contains__", lambda kept, tp: False)


@planted
def what_was_read_ahead_is_lost_when_an_offset_comes_again(patch: pytest.MonkeyPatch) -> None:
    def go_back(original: Callable[..., Any], kept: ReadAhead, fact: Any) -> Any:
        original(kept, fact)
        return fact

    around(patch, ReadAhead, "_go_back", go_back)


@planted
def what_was_read_ahead_outlives_an_offset_that_comes_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReadAhead, "_go_back", lambda kept, fact: fact)
