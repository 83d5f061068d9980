"""Where the poll thread begins to read: maps, resets, and offsets that fell off the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.config.typed.choices import OffsetReset
from pyrallel_consumer.control_plane.events import Assigned, Pause, PollerFailed, PositionAdvanced, Resume
from pyrallel_consumer.control_plane.offsets.commit_encoder import encode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.errors import BrokerError
from pyrallel_consumer.ingress.broker_poller import PollerPolicy
from pyrallel_consumer.ingress.reading.start_offset import NoOffsetError
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.conftest import Produce, producing_to
from tests.integration.poller.group_offsets import committed
from tests.integration.poller.loop_side import DEADLINE_SECONDS, Member, running, wait_until

NOWHERE = -1001


def commit_for_group(broker: EmbeddedBroker, group: str, tp: TopicPartition, offset: int, metadata: str) -> None:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": group})
    try:
        consumer.commit(offsets=[ClientPartition(*tp, offset, metadata)], asynchronous=False)
    finally:
        consumer.close()


# Where reading begins


def test_an_assignment_restores_the_map_that_came_with_the_committed_offset(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce, group: str
) -> None:
    topic = new_topic(1)
    tp = TopicPartition(topic, 0)
    produce(topic, 100, partitions=1)
    finished_above = OffsetMap(10, 60, (10, 12, 40))
    commit_for_group(embedded_broker, group, tp, 10, encode(finished_above, tp))
    member = Member(embedded_broker, topic, group)

    with running(member):
        member.read_at_least(90)

        assert member.side.of(Assigned) == [Assigned(tp, 1, 10, finished_above, leader_epoch=0)]
        assert member.side.offsets(tp) == list(range(10, 100))


def test_foreign_metadata_is_ignored_with_a_warning(
    embedded_broker: EmbeddedBroker,
    new_topic: Callable[[int], str],
    produce: Produce,
    group: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = new_topic(1)
    tp = TopicPartition(topic, 0)
    produce(topic, 20, partitions=1)
    commit_for_group(embedded_broker, group, tp, 10, "written by something else")
    member = Member(embedded_broker, topic, group)

    with caplog.at_level(logging.WARNING), running(member):
        member.read_at_least(10)

    assert member.side.of(Assigned) == [Assigned(tp, 1, 10, OffsetMap(10, 10), leader_epoch=0)]
    assert len([record for record in caplog.records if "metadata" in record.getMessage()]) == 1


@pytest.mark.parametrize(("reset", "start"), [("earliest", 0), ("latest", 20)])
def test_a_group_without_an_offset_commits_its_start_before_anything_is_delivered(
    own_broker: EmbeddedBroker, group: str, reset: OffsetReset, start: int
) -> None:
    tp = TopicPartition("orders", 0)
    producing_to(own_broker.bootstrap_servers)("orders", 20, partitions=1)
    member = Member(own_broker, "orders", group, auto_offset_reset=reset)

    with running(member, grant=0):
        member.side.until(lambda: member.side.owned)

        [assigned] = member.side.of(Assigned)
        assert replace(assigned, leader_epoch=None) == Assigned(tp, 1, start, OffsetMap(start, start))
        assert committed(own_broker, group, tp) == [(start, "")]


def test_a_coordinator_that_is_away_for_longer_than_the_patience_ends_nothing(
    own_broker: EmbeddedBroker, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    producing_to(own_broker.bootstrap_servers)("orders", 5, partitions=1)
    own_broker.fail_requests("offset_fetch", ["COORDINATOR_LOAD_IN_PROGRESS"] * 10_000)
    impatient = PollerPolicy(start_patience_seconds=0.5)
    member = Member(own_broker, "orders", group, policy=impatient)

    with running(member):
        wait_until(lambda: "leaving the group and joining it anew" in caplog.text)
        assert member.side.of(Assigned) == []
        own_broker.clear_faults("offset_fetch")
        member.read_at_least(5)

        assert member.side.of(PollerFailed) == []
        assert member.side.offsets(TopicPartition("orders", 0)) == list(range(5))


def test_hundreds_of_partitions_of_a_far_broker_begin_within_seconds(group: str) -> None:
    with EmbeddedBroker({"orders": 300}) as broker:
        broker.set_round_trip_ms(140)
        member = Member(broker, "orders", group, policy=PollerPolicy(start_timeout_seconds=60))

        with running(member):
            member.side.until(lambda: len(member.side.owned) == 300)


@pytest.mark.parametrize("reset", ["earliest", "latest"])
def test_a_quiet_group_whose_offset_fell_off_the_log_has_the_resolved_start_at_once(
    own_broker: EmbeddedBroker, group: str, reset: OffsetReset, caplog: pytest.LogCaptureFixture
) -> None:
    tp = TopicPartition("orders", 0)
    producing_to(own_broker.bootstrap_servers)("orders", 20, partitions=1)
    commit_for_group(own_broker, group, tp, 5, "")
    own_broker.delete_records("orders", 0, 10)
    member = Member(own_broker, "orders", group, auto_offset_reset=reset)

    with running(member, grant=0):
        member.side.until(lambda: member.side.owned)

        start = {"earliest": 10, "latest": 20}[reset]
        assert committed(own_broker, group, tp) == [(start, "")]
        assert f"reading begins at {start}" in caplog.text


@pytest.mark.parametrize("reset", ["earliest", "latest"])
def test_a_quiet_log_whose_retention_overtook_a_paused_reader_moves_its_position_on(
    own_broker: EmbeddedBroker, group: str, reset: OffsetReset
) -> None:
    tp = TopicPartition("orders", 0)
    commit_for_group(own_broker, group, tp, 0, "")
    member = Member(own_broker, "orders", group, auto_offset_reset=reset)

    with running(member):
        member.side.until(lambda: member.side.owned)
        member.poller.pause(Pause(tp, 1))
        member.poll_on()
        producing_to(own_broker.bootstrap_servers)("orders", 20, partitions=1)
        own_broker.delete_records("orders", 0, 20)
        member.poller.resume(Resume(tp, 1))
        member.side.until(lambda: member.side.of(PositionAdvanced))

        assert member.side.of(PositionAdvanced) == [PositionAdvanced(tp, 1, 20)]
        assert member.side.count == 0


def test_reading_begins_where_the_log_does(own_broker: EmbeddedBroker, group: str) -> None:
    producing_to(own_broker.bootstrap_servers)("orders", 50, partitions=1)
    own_broker.delete_records("orders", 0, 30)
    member = Member(own_broker, "orders", group)

    with running(member):
        member.read_at_least(20)

        assert member.side.of(Assigned)[0].start_offset == 30
        assert committed(own_broker, group, TopicPartition("orders", 0)) == [(30, "")]


def test_a_start_whose_commit_fails_is_told_as_uncommitted(own_broker: EmbeddedBroker, group: str) -> None:
    own_broker.fail_requests("offset_commit", ["GROUP_ID_NOT_FOUND"])
    member = Member(own_broker, "orders", group)

    with running(member):
        member.side.until(lambda: member.side.owned)

        assert [assigned.is_committed for assigned in member.side.of(Assigned)] == [False]
        assert committed(own_broker, group, TopicPartition("orders", 0)) == [(NOWHERE, "")]


def test_without_an_offset_and_without_a_reset_the_poller_fails(own_broker: EmbeddedBroker, group: str) -> None:
    producing_to(own_broker.bootstrap_servers)("orders", 5, partitions=1)
    member = Member(own_broker, "orders", group, auto_offset_reset="none")

    with running(member):
        member.side.until(lambda: member.side.of(PollerFailed))
        member.poller.ended.result(DEADLINE_SECONDS)

        (failed,) = member.side.facts  # the only fact and the last
        assert isinstance(failed.error, NoOffsetError)


def test_an_offset_that_fell_off_the_log_moves_on_where_a_reset_is_allowed(
    own_broker: EmbeddedBroker, group: str
) -> None:
    tp = TopicPartition("orders", 0)
    producing_to(own_broker.bootstrap_servers)("orders", 50, partitions=1)
    commit_for_group(own_broker, group, tp, 10, "")
    own_broker.delete_records("orders", 0, 30)
    member = Member(own_broker, "orders", group)

    with running(member):
        member.read_at_least(20)

        assert member.side.offsets(tp) == list(range(30, 50))
        assert member.commit(1, member.side.snapshots()).errors == {tp: None}


def test_an_offset_that_fell_off_the_log_ends_the_poller_where_no_reset_is_allowed(
    own_broker: EmbeddedBroker, group: str
) -> None:
    tp = TopicPartition("orders", 0)
    producing_to(own_broker.bootstrap_servers)("orders", 50, partitions=1)
    commit_for_group(own_broker, group, tp, 10, "")
    own_broker.delete_records("orders", 0, 30)
    member = Member(own_broker, "orders", group, auto_offset_reset="none")

    with running(member):
        member.side.until(lambda: member.side.of(PollerFailed))
        member.poller.ended.result(DEADLINE_SECONDS)

        error = member.side.facts[-1].error
        assert isinstance(error, BrokerError)
        assert error.code == "_AUTO_OFFSET_RESET"


def test_questions_about_the_start_are_asked_again_until_the_coordinator_answers(
    own_broker: EmbeddedBroker, group: str
) -> None:
    producing_to(own_broker.bootstrap_servers)("orders", 5, partitions=1)
    own_broker.fail_requests("offset_fetch", ["COORDINATOR_LOAD_IN_PROGRESS"] * 3 + ["UNSTABLE_OFFSET_COMMIT"] * 3)
    own_broker.fail_requests("list_offsets", ["LEADER_NOT_AVAILABLE"] * 2)
    member = Member(own_broker, "orders", group)

    with running(member):
        member.read_at_least(5)

        assert len(member.side.of(Assigned)) == 1
