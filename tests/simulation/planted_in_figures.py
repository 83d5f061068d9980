"""Bugs in the numbers for operators: counted twice, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
from pyrallel_consumer.control_plane.partitions.slowness import Cause, Slowness
from pyrallel_consumer.control_plane.work_manager import WorkManager
from tests.simulation.planting import around, planted


@planted
def failures_are_not_timed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PartitionWork, "time", lambda work, item, now: None)


@planted
def what_came_back_out_of_order_is_timed_again(patch: pytest.MonkeyPatch) -> None:
    def succeed(original: Callable[..., Any], manager: Any, items: Any, now: float) -> None:
        original(manager, items, now)
        for item in items[:1]:
            item.origin.work.time(item, now)

    around(patch, WorkManager, "succeed", succeed)


@planted
def a_moment_counts_for_every_cause(patch: pytest.MonkeyPatch) -> None:
    def look(original: Callable[..., Any], slowness: Any, *args: Any, **more: Any) -> None:
        original(slowness, *args, **more)
        longest = max(slowness.seconds.values())
        slowness.seconds.update(dict.fromkeys(Cause, longest))

    around(patch, Slowness, "look", look)
