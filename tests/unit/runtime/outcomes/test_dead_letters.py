"""The loop's side of dead letters: what a letter says about its failure, and what remains after a revoke."""

from __future__ import annotations

from collections.abc import Sequence

from pyrallel_consumer.control_plane.events import LetterAnswer
from pyrallel_consumer.control_plane.failures.letter import Letter
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import DlqPayloadMode, WorkItem
from pyrallel_consumer.runtime.outcomes.dead_letters import DeadLetters
from tests.unit.control_plane.builders import OTHER, TP, manager_of, run_of


class Given:
    """Stands for the producer: keeps the letters that it was given."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []

    def produce(self, letters: Sequence[Letter]) -> None:
        self.letters += letters


def held_item(manager: WorkManager) -> WorkItem:
    """A message of ``TP`` that failed its last attempt."""
    manager.add(TP, 1, run_of({0: b"key"}))
    [item] = manager.take(1)
    manager.exhaust(item)
    return item


def letters_of(manager: WorkManager, producer: Given) -> DeadLetters:
    return DeadLetters(
        manager,
        producer,
        suffix=".dlq",
        payload_mode=DlqPayloadMode.FULL,
        clock=lambda: 0.0,
        group="shop",
        wall_clock=lambda: 1.5,
    )


def test_a_letter_names_the_group_the_time_and_the_place_of_the_failure() -> None:
    manager, producer = manager_of(), Given()
    letters = letters_of(manager, producer)

    letters.send(held_item(manager), ValueError("no"), 3)
    letters.pump()

    [letter] = producer.letters
    assert (letter.group, letter.failed_at_ms, letter.traceback) == ("shop", 1500, "ValueError")


def test_no_topic_fails_any_more_once_the_partition_whose_letters_it_refused_is_gone() -> None:
    manager, producer = manager_of(TP, OTHER), Given()
    letters = letters_of(manager, producer)
    letters.send(held_item(manager), ValueError("no"), 3)
    letters.pump()
    letters.take_answers([LetterAnswer(producer.letters[0], "TOPIC_AUTHORIZATION_FAILED", "no")])
    assert letters.queue.is_failing

    manager.end([(TP, 1)], is_lost=False)
    letters.drop_ended()

    assert (letters.queue.is_failing, len(letters)) == (False, 0)


def test_an_answer_that_comes_after_the_partition_has_gone_makes_no_topic_fail() -> None:
    manager, producer = manager_of(TP, OTHER), Given()
    letters = letters_of(manager, producer)
    letters.send(held_item(manager), ValueError("no"), 3)
    letters.pump()
    manager.end([(TP, 1)], is_lost=True)
    letters.drop_ended()

    letters.take_answers([LetterAnswer(producer.letters[0], "_MSG_TIMED_OUT", "no")])

    assert (letters.queue.is_failing, len(letters), letters.queue.sent) == (False, 0, 0)
