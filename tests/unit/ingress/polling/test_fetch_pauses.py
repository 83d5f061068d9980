"""Reasons not to fetch, and the pauses of the client that follow from them."""

from __future__ import annotations

from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import FlowLimits
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.polling.fetch_pauses import LOAD, STOPPING, FetchPauses
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.read_ahead import ReadAhead
from pyrallel_consumer.ingress.reading.start_offset import Start
from pyrallel_consumer.testing import PlainMessage

A, B, C = (TopicPartition("orders", partition) for partition in range(3))


class ScriptedClient:
    """Keeps which partitions are paused, as the client does, and the offsets of its seeks."""

    def __init__(self) -> None:
        self.paused: set[TopicPartition] = set()
        self.calls = 0
        self.seeks: dict[TopicPartition, int] = {}
        self.refuses = False

    def pause(self, partitions: list[ClientPartition]) -> None:
        self._check()
        self.paused |= {TopicPartition(p.topic, p.partition) for p in partitions}

    def resume(self, partitions: list[ClientPartition]) -> None:
        self._check()
        self.paused -= {TopicPartition(p.topic, p.partition) for p in partitions}

    def seek(self, partition: ClientPartition) -> None:
        self._check()
        self.seeks[TopicPartition(partition.topic, partition.partition)] = partition.offset

    def _check(self) -> None:
        self.calls += 1
        if self.refuses:
            raise KafkaException(KafkaError(KafkaError._STATE))  # noqa: SLF001 -- the client's public name of it


class Rig:
    def __init__(self) -> None:
        self.scripted = ScriptedClient()
        self.client = cast("Consumer", self.scripted)
        self.assignments = Assignments()
        self.assign(A, B)
        self.read_ahead = ReadAhead(FlowLimits())
        self.pauses = FetchPauses(self.assignments, self.read_ahead)

    def assign(self, *tps: TopicPartition) -> None:
        self.assignments.assign([Start(tp, 10 + tp.partition, OffsetMap(10, 10)) for tp in tps])


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_partition_is_fetched_again_when_its_last_reason_is_gone(rig: Rig) -> None:
    rig.pauses.pause(rig.client, A)
    rig.pauses.pause_all(rig.client, LOAD)
    rig.pauses.pause_all(rig.client, STOPPING)
    assert rig.scripted.paused == {A, B}

    rig.pauses.resume_all(rig.client, LOAD)
    rig.pauses.resume(rig.client, A)
    assert rig.scripted.paused == {A, B}

    rig.pauses.resume_all(rig.client, STOPPING)
    assert rig.scripted.paused == set()


def test_what_holds_already_is_not_told_again(rig: Rig) -> None:
    rig.pauses.resume(rig.client, A)
    rig.pauses.resume_all(rig.client, LOAD)
    rig.pauses.pause(rig.client, A)
    rig.pauses.pause(rig.client, A)
    rig.pauses.pause_all(rig.client, LOAD)
    rig.pauses.pause_all(rig.client, LOAD)

    assert rig.scripted.calls == 2


def test_a_resumed_partition_is_sent_where_it_goes_on_anyway_so_that_the_client_wakes(rig: Rig) -> None:
    rig.pauses.pause(rig.client, A)
    rig.pauses.pause_all(rig.client, LOAD)
    rig.pauses.resume_all(rig.client, LOAD)

    assert rig.scripted.seeks == {B: 11}


def test_what_was_read_ahead_waits_while_the_loop_wants_its_partition_paused(rig: Rig) -> None:
    rig.read_ahead.put(rig.assignments.split([PlainMessage(A.topic, A.partition, 10)]))
    rig.pauses.pause_all(rig.client, LOAD)
    for_load = rig.read_ahead.has_ready
    rig.pauses.pause(rig.client, A)
    paused = rig.read_ahead.has_ready
    rig.pauses.resume(rig.client, A)

    assert (for_load, paused, rig.read_ahead.has_ready) == (True, False, True)


def test_a_new_partition_is_paused_for_what_holds_for_all(rig: Rig) -> None:
    rig.pauses.pause_all(rig.client, LOAD)
    rig.assign(C)
    rig.pauses.settle(rig.client, [C])
    assert rig.scripted.paused == {A, B, C}

    rig.pauses.resume_all(rig.client, LOAD)
    assert rig.scripted.paused == set()


def test_a_new_partition_is_resumed_whatever_the_client_remembers_of_it(rig: Rig) -> None:
    rig.pauses.pause(rig.client, A)
    rig.assignments.release([A])
    rig.assign(A)
    rig.pauses.settle(rig.client, [A])

    assert rig.scripted.paused == set()


def test_a_refusal_of_the_client_raises_nothing(rig: Rig) -> None:
    rig.pauses.pause_all(rig.client, LOAD)
    rig.scripted.refuses = True
    rig.pauses.resume_all(rig.client, LOAD)
    rig.scripted.refuses = False

    assert rig.scripted.paused == {A, B}
