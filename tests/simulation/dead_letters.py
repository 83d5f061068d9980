"""Dead letters on their way: acknowledged late, or refused and sent again, as the world says."""

from __future__ import annotations

from pyrallel_consumer.dto import WorkItem
from tests.simulation.oracles import work
from tests.simulation.scene import Scene


class VirtualDeadLetters:
    """An acknowledged letter settles its item, whether or not its assignment still exists."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._pending: list[WorkItem] = []

    def send(self, item: WorkItem, error: BaseException, attempt: int) -> None:
        work.rule_15_attempts_are_counted(attempt, attempt, self._scene.scenario.retry.max_attempts)
        self._pending.append(item)

    def acknowledge_one(self) -> WorkItem | None:
        """The broker took one letter; returns the item to settle, None where none was taken."""
        if not self._pending or self._scene.fault("letters fail", 0.7):
            return None
        return self._pending.pop(self._scene.random.randrange(len(self._pending)))
