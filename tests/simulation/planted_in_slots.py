"""Bugs in what goes on in the slot of the message before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyrallel_consumer.control_plane.work_manager import WorkManager
from tests.simulation.planting import around, planted


@planted
def a_key_goes_on_while_a_lower_offset_waits_for_the_slot(patch: pytest.MonkeyPatch) -> None:
    def take(original: Callable[..., Any], manager: WorkManager, *args: Any) -> Any:
        items = original(manager, *args)
        manager._is_short = False  # noqa: SLF001 -- the bug to plant
        return items

    around(patch, WorkManager, "take", take)


@planted
def the_message_behind_the_next_goes_on(patch: pytest.MonkeyPatch) -> None:
    def go_on(original: Callable[..., Any], manager: WorkManager, item: Any, now: float) -> Any:
        waiting = item.origin.waiting
        if waiting and not manager.policy.is_sending_ahead:
            waiting.rotate(-1)
            following = original(manager, item, now)
            waiting.rotate(1)
            return following
        return original(manager, item, now)

    around(patch, WorkManager, "go_on", go_on)
