"""The producer of dead letters: the broker takes them late, or refuses them in one way or another, as the world says.

The letters themselves, and what becomes of those that failed, are the real ``DeadLetters``.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyrallel_consumer.control_plane.events import LetterAnswer, LettersAnswered
from pyrallel_consumer.control_plane.letter import Letter
from pyrallel_consumer.control_plane.letter_queue import LetterPolicy
from tests.simulation.oracles import work
from tests.simulation.scene import Scene
from tests.simulation.watched_manager import WatchedManager

REFUSALS = ("_TIMED_OUT", "TOPIC_AUTHORIZATION_FAILED", "MSG_SIZE_TOO_LARGE", "INVALID_RECORD")
POLICY = LetterPolicy(first_wait_seconds=0.05, longest_wait_seconds=0.4, most_under_way=3)


class VirtualLetterProducer:
    """Letters under way; the manager is told which were acknowledged, to judge what is settled."""

    def __init__(self, scene: Scene, manager: WatchedManager) -> None:
        self._scene = scene
        self._manager = manager
        self._under_way: list[Letter] = []

    def produce(self, letters: Sequence[Letter]) -> None:
        for letter in letters:
            work.rule_15_attempts_are_counted(letter.attempt, letter.attempt, self._scene.scenario.retry.max_attempts)
        self._under_way += letters

    def answer_one(self) -> LettersAnswered | None:
        """The broker's word on one letter, None without any under way."""
        if not self._under_way:
            return None
        random = self._scene.random
        letter = self._under_way.pop(random.randrange(len(self._under_way)))
        code = random.choice(REFUSALS) if self._scene.fault("letters fail", 0.7) else None
        self._scene.note(f"{letter!r} is answered with {code}")
        if code is None:
            self._manager.acknowledged.append(letter.item)
        return LettersAnswered((LetterAnswer(letter, code, ""),))
