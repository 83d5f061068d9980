"""The ends of the logs: from the client's fetches, and by rare requests for partitions without fetches."""

from __future__ import annotations

from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import FlowLimits
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.polling.fetch_pauses import LOAD, FetchPauses
from pyrallel_consumer.ingress.polling.lookups.log_ends import (
    ASK_EVERY_SECONDS,
    ASK_SECONDS,
    LOOK_EVERY_SECONDS,
    LogEnds,
)
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.read_ahead import ReadAhead
from pyrallel_consumer.ingress.reading.start_offset import Start

A, B = (TopicPartition("orders", partition) for partition in range(2))
NOT_KNOWN_YET = -1001


class ScriptedClient:
    """The ends ``cached`` from fetches, and the ends that the broker would ``answer``; keeps the requests."""

    def __init__(self) -> None:
        self.cached: dict[TopicPartition, int] = {}
        self.first: dict[TopicPartition, int] = {}
        self.answers: dict[TopicPartition, int | None] = {}
        self.asked: list[TopicPartition] = []
        self.longest_wait = 0.0

    def get_watermark_offsets(
        self, place: ClientPartition, timeout: float = 0.0, *, cached: bool = False
    ) -> tuple[int, int] | None:
        tp = TopicPartition(place.topic, place.partition)
        if cached:
            return self.first.get(tp, 0), self.cached.get(tp, NOT_KNOWN_YET)
        self.asked.append(tp)
        self.longest_wait = max(self.longest_wait, timeout)
        if tp not in self.answers:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 -- the client's public name of it
        end = self.answers[tp]
        return None if end is None else (0, end)

    def pause(self, partitions: list[ClientPartition]) -> None: ...
    def resume(self, partitions: list[ClientPartition]) -> None: ...
    def seek(self, partition: ClientPartition) -> None: ...


class Bench:
    def __init__(self) -> None:
        self.client = ScriptedClient()
        self.assignments = Assignments()
        self.assignments.assign([Start(tp, 0, OffsetMap(0, 0)) for tp in (A, B)])
        self.pauses = FetchPauses(self.assignments, ReadAhead(FlowLimits()))
        self.now = 100.0
        self.ends = LogEnds(self.assignments, self.pauses, lambda: self.now)

    @property
    def consumer(self) -> Consumer:
        return cast("Consumer", self.client)

    def look(self, seconds_later: float = LOOK_EVERY_SECONDS) -> dict[TopicPartition, int]:
        self.now += seconds_later
        self.ends.look(self.consumer, self.now)
        return dict(self.ends.offsets)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_the_client_knows_is_taken_once_a_second_and_nothing_is_asked(bench: Bench) -> None:
    assert bench.look() == {}
    bench.client.cached = {A: 50}
    assert bench.look() == {A: 50}
    bench.client.cached = {A: 70, B: 0}
    assert bench.look(LOOK_EVERY_SECONDS / 2) == {A: 50}
    assert bench.look(LOOK_EVERY_SECONDS / 2) == {A: 70, B: 0}
    assert bench.client.asked == []


def test_a_partition_that_went_is_forgotten(bench: Bench) -> None:
    bench.client.cached = {A: 50, B: 60}
    bench.look()
    bench.assignments.release([A])
    assert bench.look() == {B: 60}


def test_paused_partitions_are_asked_for_one_after_the_other_seldom_and_briefly(bench: Bench) -> None:
    bench.client.cached = {A: 50, B: 60}
    bench.client.answers = {A: 500, B: 600}
    bench.pauses.pause_all(bench.consumer, LOAD)
    first = bench.look()
    assert first in ({A: 500, B: 60}, {A: 50, B: 600})
    assert bench.look() == first
    assert bench.look(ASK_EVERY_SECONDS) == {A: 500, B: 600}
    bench.look(ASK_EVERY_SECONDS)
    assert sorted(bench.client.asked[:2]) == [A, B]
    assert bench.client.asked[2] == bench.client.asked[0]
    assert bench.client.longest_wait == ASK_SECONDS


def test_once_a_partition_is_fetched_again_its_fetches_count_even_where_the_log_went_back(bench: Bench) -> None:
    bench.client.cached = {A: 50}
    bench.client.answers = {A: 500}
    bench.pauses.pause(bench.consumer, A)
    assert bench.look() == {A: 500}
    bench.pauses.resume(bench.consumer, A)
    bench.client.cached = {A: 3}
    assert bench.look() == {A: 3}
    assert bench.client.asked == [A]


@pytest.mark.parametrize("answers", [{}, {A: None}, {A: NOT_KNOWN_YET}], ids=["an error", "no answer", "not known"])
def test_a_question_in_vain_leaves_what_was_known(bench: Bench, answers: dict[TopicPartition, int | None]) -> None:
    bench.client.cached = {A: 50}
    bench.client.answers = answers
    bench.pauses.pause(bench.consumer, A)
    assert bench.look() == {A: 50}
    assert bench.client.asked == [A]


def test_a_log_that_is_shorter_than_before_or_has_no_end_any_more_is_odd(bench: Bench) -> None:
    bench.client.cached = {A: 50, B: 60}
    bench.look()
    bench.client.cached = {A: 51, B: 59}
    bench.look()
    assert bench.ends.take_odd() == {B}
    bench.client.cached = {B: 59}
    bench.look()
    assert bench.ends.take_odd() == {A}
    assert bench.ends.take_odd() == set()


def test_a_partition_that_went_is_not_odd(bench: Bench) -> None:
    bench.client.cached = {A: 50, B: 60}
    bench.look()
    bench.assignments.release([A])
    bench.look()
    assert bench.ends.take_odd() == set()


def test_where_logs_begin_is_told_of_partitions_that_are_fetched(bench: Bench) -> None:
    bench.client.cached = {A: 50, B: 60}
    bench.client.first = {A: 7, B: NOT_KNOWN_YET}
    bench.look()
    assert bench.ends.first_offsets == {A: 7}
    bench.pauses.pause(bench.consumer, A)
    bench.look()
    assert bench.ends.first_offsets == {}
