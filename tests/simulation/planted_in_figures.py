"""Bugs in what operators see: numbers that are counted twice, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyrallel_consumer.control_plane.latency import Stopwatch
from pyrallel_consumer.control_plane.slowness import Cause, Slowness
from tests.simulation.planting import around, planted


@planted
def failures_are_not_timed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stopwatch, "failed", lambda stopwatch, item, now: None)


@planted
def what_came_back_out_of_order_is_timed_again(patch: pytest.MonkeyPatch) -> None:
    def succeeded(original: Callable[..., Any], stopwatch: Any, items: Any, now: float) -> None:
        original(stopwatch, items, now)
        original(stopwatch, items[:1], now)

    around(patch, Stopwatch, "succeeded", succeeded)


@planted
def a_moment_counts_for_every_cause(patch: pytest.MonkeyPatch) -> None:
    def look(original: Callable[..., Any], slowness: Any, *args: Any, **more: Any) -> None:
        original(slowness, *args, **more)
        longest = max(slowness.seconds.values())
        slowness.seconds.update(dict.fromkeys(Cause, longest))

    around(patch, Slowness, "look", look)
