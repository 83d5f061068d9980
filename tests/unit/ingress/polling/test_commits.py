"""Commits of the poll thread against a scripted client: the requests, and which answers count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.control_plane.events import CommitSnapshot
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.client.log_throttle import LogThrottle
from pyrallel_consumer.ingress.polling.commits import OVERDUE_SECONDS, Commits
from pyrallel_consumer.ingress.reading.assignments import Assignments
from pyrallel_consumer.ingress.reading.start_offset import Start
from pyrallel_consumer.log import Log

A, B = TopicPartition("orders", 0), TopicPartition("orders", 1)
REBALANCING = KafkaError(KafkaError.REBALANCE_IN_PROGRESS)


class ScriptedClient:
    """Notes its calls and answers as scripted; ``frozen`` has no coordinator."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[tuple[str, int], int]]] = []
        self.refuses: KafkaError | None = None
        self.refuses_partitions: KafkaError | None = None
        self.is_frozen = False
        self.most_metadata = 4096

    def commit(self, *, offsets: list[ClientPartition], asynchronous: bool) -> list[Any] | None:
        self.asked.append(("async" if asynchronous else "sync", {(p.topic, p.partition): p.offset for p in offsets}))
        if self.refuses is not None:
            raise KafkaException(self.refuses)
        if any(len(p.metadata or "") > self.most_metadata for p in offsets):
            raise KafkaException(KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE))
        return None if asynchronous else [Answer(p, self.refuses_partitions) for p in offsets]

    def committed(self, partitions: list[ClientPartition], timeout: float) -> list[ClientPartition]:
        self.asked.append(("probe", {}))
        if self.is_frozen:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 -- the client's public name of it
        return partitions

    @property
    def ways(self) -> list[str]:
        return [way for way, _ in self.asked]


class Answer:
    """A partition as ``on_commit`` gets it: the error of the client's own type cannot be set."""

    def __init__(self, asked: ClientPartition, error: KafkaError | None) -> None:
        self.topic, self.partition, self.offset, self.error = asked.topic, asked.partition, asked.offset, error


class Rig:
    def __init__(self) -> None:
        self.now = 100.0
        self.client = ScriptedClient()
        assignments = Assignments()
        self.epochs = {
            assigned.tp: assigned.epoch
            for assigned in assignments.assign([Start(tp, 0, OffsetMap(0, 0)) for tp in (A, B)])
        }
        self.assignments = assignments
        self.commits = Commits(assignments, lambda: self.now, LogThrottle(Log(__name__), lambda: self.now))
        self.answers: list[dict[TopicPartition, str | None]] = []

    def snapshot(self, tp: TopicPartition, offset: int, metadata: str = "") -> CommitSnapshot:
        return CommitSnapshot(tp, self.epochs[tp], offset, metadata, 0, None)

    def send(self, **offsets: int) -> None:
        snapshots = [self.snapshot({"a": A, "b": B}[name], offset) for name, offset in offsets.items()]
        self.commits.send(cast("Consumer", self.client), snapshots, lambda errors: self.answers.append(dict(errors)))

    def before_revoke(self, **offsets: int) -> None:
        snapshots = [self.snapshot({"a": A, "b": B}[name], offset) for name, offset in offsets.items()]
        self.commits.commit_before_revoke(cast("Consumer", self.client), snapshots)

    def answer(self, *offsets: tuple[TopicPartition, int], error: KafkaError | None = None, of: Any = None) -> None:
        told = [Answer(ClientPartition(*tp, offset), of) for tp, offset in offsets]
        self.commits.on_commit(error, cast("list[ClientPartition]", told))


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_an_answer_counts_for_the_commit_with_the_same_offsets_only(rig: Rig) -> None:
    rig.send(a=5, b=7)
    rig.answer((A, 4), (B, 7))  # of an earlier one
    rig.answer((A, 5))
    assert (rig.answers, rig.commits.is_awaited) == ([], True)

    rig.answer((A, 5), (B, 7))
    assert (rig.answers, rig.commits.is_awaited) == ([{A: None, B: None}], False)

    rig.answer((A, 5), (B, 7))  # a second time
    assert len(rig.answers) == 1


def test_a_commit_whose_client_has_ended_is_answered_as_failed(rig: Rig) -> None:
    rig.commits.client_ended()
    assert rig.answers == []

    rig.send(a=5)
    rig.commits.client_ended()

    assert (rig.answers, rig.commits.is_awaited) == ([{A: "_DESTROY"}], False)


@pytest.mark.parametrize(
    "refuse",
    [
        lambda rig: rig.answer((A, 5), of=REBALANCING),
        lambda rig: rig.answer((A, 5), error=REBALANCING),
        lambda rig: rig.answer(error=REBALANCING),
    ],
    ids=["partition", "request", "request-without-partitions"],
)
def test_a_refusal_is_told_by_name_however_the_client_puts_it(rig: Rig, refuse: Callable[[Rig], None]) -> None:
    rig.send(a=5)
    refuse(rig)

    assert rig.answers == [{A: "REBALANCE_IN_PROGRESS"}]
    assert rig.commits.failed_by_code == {"REBALANCE_IN_PROGRESS": 1}


def test_a_commit_the_client_does_not_even_take_is_answered_at_once(rig: Rig) -> None:
    rig.client.refuses = REBALANCING
    rig.send(a=5, b=7)

    assert rig.answers == [dict.fromkeys((A, B), "REBALANCE_IN_PROGRESS")]
    assert not rig.commits.is_awaited


def test_before_a_revoke_metadata_that_is_too_large_costs_its_partition_the_map_and_nobody_an_offset(rig: Rig) -> None:
    rig.client.most_metadata = 3
    snapshots = [rig.snapshot(A, 5, "map"), rig.snapshot(B, 7, "larger map")]
    rig.commits.commit_before_revoke(cast("Consumer", rig.client), snapshots)

    assert rig.client.asked == [
        ("probe", {}),
        ("sync", {A: 5, B: 7}),
        ("sync", {A: 5}),
        ("sync", {B: 7}),
        ("sync", {B: 7}),
    ]


def test_what_is_not_assigned_any_more_is_not_sent(rig: Rig) -> None:
    rig.assignments.release([A])
    rig.send(a=5, b=7)
    rig.send(a=5)
    rig.before_revoke(a=5)

    assert rig.client.asked == [("async", {B: 7})]
    assert rig.answers == [{}]


def test_before_a_revoke_a_commit_is_waited_for_when_the_coordinator_answers(rig: Rig) -> None:
    rig.before_revoke(a=5)

    assert rig.client.asked == [("probe", {}), ("sync", {A: 5})]


def test_a_coordinator_that_confirmed_a_moment_ago_is_not_asked_again(rig: Rig) -> None:
    rig.send(a=5)
    rig.answer((A, 5))
    rig.now += 0.5
    rig.before_revoke(a=6)
    rig.now += 1.5
    rig.before_revoke(a=7)

    assert rig.client.ways == ["async", "sync", "probe", "sync"]


def test_before_a_revoke_nothing_waits_for_a_coordinator_that_does_not_answer(rig: Rig) -> None:
    rig.client.is_frozen = True
    rig.before_revoke(a=5)

    assert rig.client.ways == ["probe", "async"]


def test_before_a_revoke_nothing_waits_when_the_last_commit_is_overdue(rig: Rig) -> None:
    rig.send(a=5)
    rig.now += OVERDUE_SECONDS + 0.1
    rig.before_revoke(a=6)

    assert rig.client.ways == ["async", "async"]


@pytest.mark.parametrize("whole", [True, False], ids=["request", "partitions"])
def test_a_commit_that_fails_before_a_revoke_is_counted_and_raises_nothing(rig: Rig, *, whole: bool) -> None:
    if whole:
        rig.client.refuses = REBALANCING
    else:
        rig.client.refuses_partitions = REBALANCING
    rig.before_revoke(a=5, b=6)

    assert rig.commits.failed_by_code == {"REBALANCE_IN_PROGRESS": 2}


@pytest.mark.parametrize("whole", [True, False], ids=["request", "partitions"])
def test_starts_that_could_not_be_committed_are_named(rig: Rig, *, whole: bool) -> None:
    starts = [Start(A, 3, OffsetMap(3, 3), True), Start(B, 4, OffsetMap(4, 6, (4,)), True, leader_epoch=2)]
    taken = rig.commits.commit_starts(cast("Consumer", rig.client), starts)
    if whole:
        rig.client.refuses = REBALANCING
    else:
        rig.client.refuses_partitions = REBALANCING
    refused = rig.commits.commit_starts(cast("Consumer", rig.client), starts)

    assert (taken, refused) == (set(), {A, B})
    assert rig.client.asked == [("sync", {A: 3, B: 4})] * 2
