"""When topic ids are requested, and which partitions begin again because of them; the admin client is scripted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.admin.admin_look import AdminLook
from pyrallel_consumer.ingress.polling.lookups.topic_ids import (
    ASK_EVERY_SECONDS,
    FORGET_SECONDS,
    SUSPICION_SECONDS,
    TopicIds,
)
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.start_offset import Start
from pyrallel_consumer.testing import PlainMessage

A, B = TopicPartition("orders", 0), TopicPartition("orders", 1)


@dataclass
class Description:
    topic_id: str


class ScriptedAdmin(AdminLook):
    """Answers with ``ids`` when it is served; a topic without an id is unknown."""

    def __init__(self) -> None:
        super().__init__({}, lambda: 0.0)
        self.ids = {"orders": "old"}
        self.asked: list[set[str]] = []
        self.is_silent = False
        self._open: list[dict[str, Future[Any]]] = []

    def topic_ids(self, topics: Collection[str], seconds: float) -> dict[str, Future[Any]]:
        self.asked.append(set(topics))
        answers: dict[str, Future[Any]] = {topic: Future() for topic in topics}
        self._open.append(answers)
        return answers

    def serve(self) -> None:
        while self._open and not self.is_silent:
            for topic, answer in self._open.pop().items():
                if topic in self.ids:
                    answer.set_result(Description(self.ids[topic]))
                else:
                    answer.set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))


class Rig:
    def __init__(self) -> None:
        self.now = 100.0
        self.admin = ScriptedAdmin()
        self.assignments = Assignments()
        self.errors: Counter[str] = Counter()
        self.ids = TopicIds(self.admin, self.assignments, self.errors, lambda: self.now)

    def assign(self, *tps: TopicPartition, start: int = 0) -> None:
        self.assignments.assign([Start(tp, start, OffsetMap(start, start)) for tp in tps])

    def read(self, tp: TopicPartition, *offsets: int, leader_epoch: int = 0) -> None:
        messages = [PlainMessage(tp.topic, tp.partition, at, b"k", b"v", leader_epoch=leader_epoch) for at in offsets]
        self.assignments.split(messages)

    def look(self, seconds: float = 0.0, *odd: TopicPartition) -> set[TopicPartition]:
        """The poll thread looks for this long; returns the result of its last look."""
        found: set[TopicPartition] = set()
        for _ in range(int(seconds * 4) + 1):
            self.now += 0.25
            found = self.ids.look({*odd, *self.assignments.take_odd()}, self.now)
        return found

    def settle(self) -> int:
        """Wait until no suspicion is left; returns how many requests there were."""
        self.look(SUSPICION_SECONDS + 3)
        return len(self.admin.asked)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.assign(A, B)
    rig.settle()
    return rig


def test_while_nothing_is_odd_the_id_is_asked_for_once_in_half_a_minute(rig: Rig) -> None:
    before = rig.settle()

    rig.look(4 * ASK_EVERY_SECONDS)

    assert 3 <= len(rig.admin.asked) - before <= 4


def test_nothing_is_asked_while_nothing_is_assigned() -> None:
    rig = Rig()

    assert rig.look(2 * ASK_EVERY_SECONDS) == set()
    assert rig.admin.asked == []


def test_the_id_is_asked_for_before_anything_is_assigned() -> None:
    rig = Rig()
    rig.ids.expect(["orders"], rig.now)
    rig.look()
    rig.admin.ids = {"orders": "new"}
    rig.assign(A, start=70)

    assert rig.look(1) == {A}


def test_a_partition_that_was_assigned_between_question_and_new_log_is_begun_anew_although_it_began_at_0() -> None:
    rig = Rig()
    rig.ids.expect(["orders"], rig.now)
    rig.look()
    rig.assign(A)
    rig.read(A, *range(4))
    rig.admin.ids = {"orders": "new"}

    assert rig.look(1) == {A}


def test_a_partition_that_is_assigned_after_the_answer_with_the_new_id_is_not_begun_twice(rig: Rig) -> None:
    rig.admin.ids = {"orders": "new"}
    rig.assignments.release([A, B])
    rig.ids.expect(["orders"], rig.now)
    rig.ids.hear(rig.now)
    rig.assign(A)
    rig.read(A, *range(4))

    assert rig.look(3) == set()


def test_a_topic_that_is_created_anew_again_before_all_of_it_is_begun_is_begun_anew_as_a_whole(rig: Rig) -> None:
    rig.admin.ids = {"orders": "new"}
    assert rig.look(1, A) == {A, B}
    rig.assignments.begin_anew(A)
    assert rig.look() == {B}
    rig.admin.ids = {"orders": "newer"}

    assert rig.look(1.5) == {A, B}


@pytest.mark.parametrize("looks_between", [0, 1])
def test_a_topic_that_is_created_anew_twice_in_a_moment_is_begun_anew_twice(rig: Rig, looks_between: int) -> None:
    rig.admin.ids = {"orders": "new"}
    assert rig.look(1, A) == {A, B}
    for tp in (A, B):
        rig.assignments.begin_anew(tp)
    for _ in range(looks_between):
        assert rig.look() == set()
    rig.admin.ids = {"orders": "newer"}

    assert rig.look(1.5) == {A, B}


def test_a_partition_that_is_assigned_once_the_new_log_is_known_is_not_begun_twice(rig: Rig) -> None:
    rig.admin.ids = {"orders": "new"}
    rig.look(0, A)
    rig.assignments.release([A, B])
    assert rig.look(3) == set()

    rig.assign(A)

    assert rig.look(1) == set()


@pytest.mark.parametrize("sign", ["offset", "leader epoch", "end of the log", "error", "assignment"])
def test_a_sign_has_the_id_looked_at_within_a_second_and_the_new_log_is_begun(rig: Rig, sign: str) -> None:
    rig.read(A, *range(5, 9), leader_epoch=3)
    rig.look()
    rig.admin.ids = {"orders": "new"}
    odd: tuple[TopicPartition, ...] = ()
    if sign == "offset":
        rig.read(A, 7)
    elif sign == "leader epoch":
        rig.read(A, 10, leader_epoch=2)
    elif sign == "end of the log":
        odd = (A,)
    elif sign == "error":
        rig.errors["UNKNOWN_TOPIC_OR_PART"] += 1
    else:
        rig.assignments.release([B])
        rig.assign(B, start=4)

    assert rig.look(1, *odd) == {A, B}


def test_a_new_log_without_a_sign_is_found_within_half_a_minute(rig: Rig) -> None:
    rig.settle()
    rig.admin.ids = {"orders": "new"}

    assert rig.look(ASK_EVERY_SECONDS + 1) == {A, B}


def test_a_sign_without_a_new_id_begins_nothing_anew_and_ends(rig: Rig) -> None:
    before = rig.settle()
    rig.read(A, 5)
    rig.read(A, 2)

    assert rig.look(20) == set()
    assert 3 <= len(rig.admin.asked) - before <= 8


def test_partitions_are_named_until_they_have_begun_anew(rig: Rig) -> None:
    rig.admin.ids = {"orders": "new"}
    assert rig.look(1, A) == {A, B}

    rig.assignments.begin_anew(A)
    assert rig.look() == {B}
    rig.assignments.begin_anew(B)
    assert rig.look() == set()
    assert rig.look(20, A) == set()


def test_a_partition_that_the_client_began_from_the_first_offset_by_itself_is_not_begun_twice(rig: Rig) -> None:
    rig.read(A, 5)
    rig.look()
    rig.settle()
    rig.admin.ids = {"orders": "new"}
    rig.read(A, 0)

    assert rig.look(1) == {B}


def test_beginning_at_the_first_offset_of_the_old_log_does_not_count(rig: Rig) -> None:
    rig.read(A, 5)
    rig.read(A, 0)
    rig.settle()
    rig.admin.ids = {"orders": "new"}

    assert rig.look(1, A) == {A, B}


def test_a_partition_that_comes_back_with_the_old_logs_offset_begins_anew(rig: Rig) -> None:
    rig.admin.ids = {"orders": "new"}
    rig.look(0, A)
    rig.assignments.release([A, B])
    assert rig.look(3) == set()

    rig.assign(A, start=1000)

    assert rig.look() == {A}


def test_what_was_assigned_long_ago_is_forgotten(rig: Rig) -> None:
    rig.assignments.release([A, B])
    rig.look(FORGET_SECONDS + 1)
    rig.admin.ids = {"orders": "new"}
    rig.assign(A, start=1000)

    assert rig.look(5) == set()


def test_a_topic_that_is_away_is_waited_for(rig: Rig) -> None:
    rig.admin.ids = {}
    assert rig.look(3, A) == set()
    rig.admin.ids = {"orders": "new"}

    assert rig.look(2) == {A, B}


def test_a_question_without_an_answer_is_not_asked_again_meanwhile(rig: Rig) -> None:
    rig.admin.is_silent = True
    before = len(rig.admin.asked)

    assert rig.look(20, A) == set()
    assert len(rig.admin.asked) == before + 1


def test_the_position_in_the_old_log_is_not_believed_before_the_new_one_is_read() -> None:
    rig = Rig()
    rig.assign(A, start=1000)
    [fact] = rig.assignments.begin_anew(A)

    assert (fact.offset, fact.leader_epoch) == (0, None)
    assert rig.assignments.advance(A, 1000) is None
    rig.read(A, 3)
    assert rig.assignments.advance(A, 9) is not None
    assert rig.assignments.begin_anew(B) == []


def test_a_topic_that_was_made_anew_is_doubted_until_another_client_reads(rig: Rig) -> None:
    assert rig.ids.doubted == set()
    rig.admin.ids = {"orders": "new"}
    rig.look(ASK_EVERY_SECONDS)
    assert rig.ids.doubted == {"orders"}

    rig.ids.trust()
    rig.look(2 * ASK_EVERY_SECONDS)

    assert rig.ids.doubted == set()


def test_a_topic_that_was_made_anew_while_it_was_forgotten_is_doubted(rig: Rig) -> None:
    rig.assignments.release([A, B])
    rig.look(FORGET_SECONDS + 1)
    rig.admin.ids = {"orders": "new"}
    rig.assign(A)

    rig.look(ASK_EVERY_SECONDS)

    assert rig.ids.doubted == {"orders"}


def test_a_topic_that_a_broker_did_not_know_when_it_was_subscribed_to_is_doubted() -> None:
    rig = Rig()
    rig.ids.expect(["orders"], rig.now)
    rig.errors["UNKNOWN_TOPIC_OR_PART"] += 1

    rig.look(1)

    assert rig.ids.doubted == {"orders"}
