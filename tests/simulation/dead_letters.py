"""Dead letters on their way: acknowledged late, or refused and sent again, as the world says."""

from __future__ import annotations

from collections.abc import Sequence

from pyrallel_consumer.dto import WorkItem
from tests.simulation.oracles import work
from tests.simulation.scene import Scene


class VirtualDeadLetters:
    """What the pump asks of its dead letters. Nothing is a matter of time here: the world acknowledges."""

    next_at: float | None = None

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._pending: list[WorkItem] = []

    def __len__(self) -> int:
        return len(self._pending)

    def send(self, item: WorkItem, error: BaseException, attempt: int) -> None:
        work.rule_15_attempts_are_counted(attempt, attempt, self._scene.scenario.retry.max_attempts)
        self._pending.append(item)

    def pump(self) -> None:
        """Nothing to do: ``send`` has sent."""

    def take_answers(self, answers: Sequence[object]) -> None:
        """Nothing to do: see ``acknowledge_one``."""

    def drop_ended(self) -> None:
        """A letter that is under way arrives all the same."""

    def acknowledge_one(self) -> WorkItem | None:
        """The broker took one letter; returns the item to settle, None where none was taken."""
        if not self._pending or self._scene.fault("letters fail", 0.7):
            return None
        return self._pending.pop(self._scene.random.randrange(len(self._pending)))
