"""Which partitions wait for the end of a transaction: one question with the assignment, then one after the other."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException

from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.admin.admin_look import AdminLook
from pyrallel_consumer.ingress.polling.stable_reads import ANSWER_SECONDS, BETWEEN_SECONDS, StableReads

A, B, C = (TopicPartition("orders", number) for number in range(3))
OPEN = KafkaError(KafkaError.UNSTABLE_OFFSET_COMMIT)


class Admin:
    """Answers are given by the test, the first one at once: ``open_`` partitions have a transaction."""

    def __init__(self) -> None:
        self.open_: set[TopicPartition] = set()
        self.asked: list[tuple[set[TopicPartition], Future[Any]]] = []
        self.is_there = True

    def committed_offsets(self, group: str, tps: Collection[TopicPartition], seconds: float) -> Future[Any] | None:
        assert (group, seconds <= ANSWER_SECONDS) == ("billing", True)
        if not self.is_there:
            return None
        self.asked.append((set(tps), Future()))
        return self.asked[-1][1]

    def wait(self, answers: Collection[Future[Any]], seconds: float) -> None:
        del answers, seconds
        self.answer()

    def serve(self) -> None:
        pass

    def answer(self) -> None:
        tps, answer = self.asked[-1]
        told = [SimpleNamespace(**tp._asdict(), error=OPEN if tp in self.open_ else None) for tp in tps]
        answer.set_result(SimpleNamespace(topic_partitions=told))


class Rig:
    def __init__(self) -> None:
        self.now = 100.0
        self.admin = Admin()
        self.reads = StableReads(cast("AdminLook", self.admin), "billing", lambda: self.now)

    def turn(self, seconds: float = BETWEEN_SECONDS) -> list[TopicPartition]:
        self.now += seconds
        return self.reads.ended(self.now)


def test_those_with_an_open_transaction_wait_and_only_they_are_asked_for_again() -> None:
    rig = Rig()
    rig.admin.open_ = {A, C}
    assert rig.reads.begin([A, B, C]) == {A, C}
    assert rig.reads.waiting_since == {A: 100.0, C: 100.0}

    assert rig.turn(0.0) == []
    assert len(rig.admin.asked) == 1
    assert rig.turn() == []
    assert rig.turn() == []
    assert [tps for tps, _ in rig.admin.asked] == [{A, B, C}, {A, C}]
    rig.admin.open_ = {C}
    rig.admin.answer()
    assert rig.turn() == [A]
    rig.reads.forget([A])
    assert rig.reads.waiting_since == {C: 100.0}


def test_what_was_revoked_meanwhile_does_not_begin() -> None:
    rig = Rig()
    rig.admin.open_ = {A}
    rig.reads.begin([A])
    rig.turn()
    rig.admin.open_ = set()
    rig.admin.answer()
    rig.reads.forget([A, B])

    assert rig.turn() == []
    assert rig.reads.waiting_since == {}


def test_without_an_answer_nothing_is_known_to_wait_and_what_waits_goes_on_waiting() -> None:
    rig = Rig()
    rig.admin.is_there = False
    assert rig.reads.begin([A]) == set()

    rig.admin.is_there, rig.admin.open_ = True, {A}
    rig.reads.begin([A])
    rig.turn()
    rig.admin.asked[-1][1].set_exception(KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT)))
    assert rig.turn() == []
    assert rig.reads.waiting_since == {A: 100.0}


def test_a_new_assignment_knows_nothing_of_the_earlier_one() -> None:
    rig = Rig()
    rig.admin.open_ = {A, B}
    rig.reads.begin([A, B])
    rig.turn()
    rig.admin.open_ = {B}
    rig.admin.answer()

    assert rig.reads.begin([A, B]) == {B}
    assert rig.reads.waiting_since == {B: rig.now}
    assert rig.turn(0.0) == []
