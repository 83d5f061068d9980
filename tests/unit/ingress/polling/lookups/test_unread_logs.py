"""When a client is replaced that reads nothing of a topic that was created again; the admin client is scripted."""

from __future__ import annotations

import logging
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import FlowLimits
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.admin.admin_look import AdminLook
from pyrallel_consumer.ingress.polling.fetch_pauses import FetchPauses
from pyrallel_consumer.ingress.polling.lookups.unread_logs import ASK_EVERY_SECONDS, PATIENCE, UnreadLogs
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.read_ahead import ReadAhead
from pyrallel_consumer.ingress.reading.start_offset import Start
from pyrallel_consumer.testing import PlainMessage

A, B = TopicPartition("orders", 0), TopicPartition("orders", 1)
DOUBTED = {"orders"}


@dataclass
class End:
    offset: int


class ScriptedAdmin(AdminLook):
    """Answers with ``ends`` when it is served; a partition without an end is refused."""

    def __init__(self) -> None:
        super().__init__({}, lambda: 0.0)
        self.ends: dict[TopicPartition, int] = {}
        self.asked: list[set[TopicPartition]] = []
        self.is_silent = False
        self._open: list[dict[TopicPartition, Future[Any]]] = []

    def stable_ends(self, tps: Collection[TopicPartition], seconds: float) -> dict[TopicPartition, Future[Any]]:
        self.asked.append(set(tps))
        answers: dict[TopicPartition, Future[Any]] = {tp: Future() for tp in tps}
        self._open.append(answers)
        return answers

    def serve(self) -> None:
        while self._open and not self.is_silent:
            for tp, answer in self._open.pop().items():
                if tp in self.ends:
                    answer.set_result(End(self.ends[tp]))
                else:
                    answer.set_exception(KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE)))


class Rig:
    def __init__(self) -> None:
        self.now = 100.0
        self.admin = ScriptedAdmin()
        self.assignments = Assignments()
        self.read_ahead = ReadAhead(FlowLimits(1_000, 1_000_000))
        self.pauses = FetchPauses(self.assignments, self.read_ahead)
        self.unread = UnreadLogs(self.admin, self.assignments, self.pauses, self.read_ahead, lambda: self.now)
        self.assignments.assign([Start(tp, 0, OffsetMap(0, 0)) for tp in (A, B)])

    def look(self, times: int, topics: Collection[str] = DOUBTED) -> bool:
        """The thread looks until the given number of requests is answered; returns whether it gave the client up."""
        was_lost = False
        for _ in range(times):
            self.now += ASK_EVERY_SECONDS
            was_lost = self.unread.is_client_lost(topics, self.now) or was_lost
            was_lost = self.unread.is_client_lost(topics, self.now) or was_lost
        return was_lost


@pytest.fixture
def rig() -> Rig:
    return Rig()


def read(rig: Rig, tp: TopicPartition, offset: int) -> None:
    rig.assignments.split([PlainMessage(tp.topic, tp.partition, offset, b"k", b"v")])


def test_a_client_that_reads_nothing_of_a_log_that_goes_on_is_lost(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.admin.ends = {A: 0, B: 7}

    assert not rig.look(PATIENCE - 1)
    with caplog.at_level(logging.WARNING, "pyrallel_consumer.ingress"):
        assert rig.look(1)

    assert "nothing is read of orders[1]" in caplog.text


def test_a_client_that_reads_however_slowly_is_kept(rig: Rig) -> None:
    rig.admin.ends = {A: 1_000, B: 0}

    for offset in range(2 * PATIENCE):
        read(rig, A, offset)
        assert not rig.look(1)


def test_a_client_that_read_between_question_and_answer_is_kept(rig: Rig) -> None:
    rig.admin.ends = {A: 1_000, B: 0}

    for offset in range(2 * PATIENCE):
        rig.now += ASK_EVERY_SECONDS
        rig.unread.is_client_lost(DOUBTED, rig.now)
        read(rig, A, offset)
        assert not rig.unread.is_client_lost(DOUBTED, rig.now)


def test_a_client_that_has_read_all_is_kept(rig: Rig) -> None:
    read(rig, A, 0)
    rig.admin.ends = {A: 1, B: 0}

    assert not rig.look(3 * PATIENCE)


def test_without_answers_nothing_is_known(rig: Rig) -> None:
    assert not rig.look(3 * PATIENCE)


def test_while_an_answer_is_awaited_nothing_more_is_asked(rig: Rig) -> None:
    rig.admin.is_silent = True

    assert not rig.look(5)
    assert len(rig.admin.asked) == 1


def test_nothing_is_asked_about_partitions_that_wait_for_their_workers(rig: Rig) -> None:
    rig.read_ahead.put(rig.assignments.split([PlainMessage("orders", 0, 0, b"k", b"v")]))
    rig.assignments.release([B])

    rig.look(PATIENCE)

    assert rig.admin.asked == []


def test_nothing_is_asked_about_topics_that_are_not_doubted(rig: Rig) -> None:
    rig.look(PATIENCE, {"payments"})

    assert rig.admin.asked == []


def test_another_client_gets_twice_as_much_time(rig: Rig) -> None:
    rig.admin.ends = {A: 5, B: 5}
    assert rig.look(PATIENCE)

    for longer in (2, 4, 8, 16, 20, 20):
        rig.unread.forget()
        assert not rig.look(longer * (PATIENCE - 1))
        assert rig.look(longer)
