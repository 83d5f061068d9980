"""The producer of dead letters: the broker takes them late, or refuses them in one way or another, as the world says.

A broker answers a batch as a whole: with one letter that it refuses, all others in the batch are refused. Where letters
fail, their topics also refuse some records for good: those without a key, as a compacted topic does, and some values.
The letters, and the handling of failed ones, are the real ``DeadLetters``'.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyrallel_consumer.control_plane.events import LetterAnswer, LettersAnswered
from pyrallel_consumer.control_plane.failures.letter import Letter, record_of
from pyrallel_consumer.control_plane.failures.letter_queue import LetterPolicy
from tests.simulation.oracles import work
from tests.simulation.scene import Scene
from tests.simulation.watched_manager import WatchedManager

REFUSALS = ("_TIMED_OUT", "TOPIC_AUTHORIZATION_FAILED", "MSG_SIZE_TOO_LARGE", "INVALID_RECORD", "POLICY_VIOLATION")
REFUSED_VALUES = 5
"""One of this many offsets has a value that its dead-letter topic never accepts."""
POLICY = LetterPolicy(first_wait_seconds=0.05, longest_wait_seconds=0.4, most_under_way=3)


class VirtualLetterProducer:
    """Letters under way; the manager learns which were acknowledged, to judge which messages are settled."""

    def __init__(self, scene: Scene, manager: WatchedManager) -> None:
        self._scene = scene
        self._manager = manager
        self._under_way: list[Letter] = []
        self._refused_alone: set[Letter] = set()

    def produce(self, letters: Sequence[Letter]) -> None:
        for letter in letters:
            work.rule_15_attempts_are_counted(letter.attempt, letter.attempt, self._scene.scenario.retry.max_attempts)
            work.rule_27_a_letter_shrinks_for_its_own_refusals(letter, is_refused_alone=letter in self._refused_alone)
        self._under_way += letters

    def answer_batch(self) -> LettersAnswered | None:
        """The broker's answer for some letters of one topic, None if no letter is under way."""
        if not self._under_way:
            return None
        random = self._scene.random
        first = random.choice(self._under_way)
        batch = [
            letter
            for letter in self._under_way
            if letter is first or (letter.topic == first.topic and random.random() < 0.5)
        ]
        self._under_way = [letter for letter in self._under_way if letter not in batch]
        code = self._verdict(batch)
        self._scene.note(f"{batch!r} is answered with {code}")
        if code is None:
            self._manager.acknowledged += [letter.item for letter in batch]
        elif len(batch) == 1:
            self._refused_alone.add(first)
        return LettersAnswered(tuple(LetterAnswer(letter, code, "") for letter in batch))

    def _verdict(self, batch: Sequence[Letter]) -> str | None:
        if self._scene.fault("letters fail", 0.7):
            return self._scene.random.choice(REFUSALS)
        is_picky = "letters fail" in self._scene.scenario.faults
        return "INVALID_RECORD" if is_picky and any(map(_is_refused, batch)) else None


def _is_refused(letter: Letter) -> bool:
    record = record_of(letter)
    return record.key is None or (bool(record.value) and letter.item.offset % REFUSED_VALUES == 0)
