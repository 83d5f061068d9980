"""The poll thread alone, on the embedded broker: reading within its credit, commits, topics, callbacks, ends."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.config.typed.choices import OffsetReset
from pyrallel_consumer.control_plane.events import (
    Assigned,
    CommitAnswered,
    CommitSnapshot,
    Delivered,
    Lost,
    Pause,
    PollerClosed,
    PollerFailed,
    PositionAdvanced,
    Resume,
    RevokeAsked,
)
from pyrallel_consumer.control_plane.offsets.commit_encoder import encode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.policies import FlowLimits
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.errors import (
    AuthenticationError,
    BrokerError,
    BrokerUnreachableError,
    ConfigurationError,
    StateError,
    UnknownTopicError,
)
from pyrallel_consumer.ingress.broker_poller import PollerPolicy
from pyrallel_consumer.ingress.reading.start_offset import NoOffsetError
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.conftest import Produce, producing_to
from tests.integration.loop_side import DEADLINE_SECONDS, Member, running, wait_until

GROUPS = (f"group-{number}" for number in itertools.count())
NOWHERE = -1001


@pytest.fixture
def group() -> str:
    return next(GROUPS)


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    """A broker of its own, for tests that inject faults."""
    with EmbeddedBroker({"orders": 1}) as broker:
        yield broker


def committed(broker: EmbeddedBroker, group: str, *tps: TopicPartition) -> list[tuple[int, str]]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": group})
    try:
        answers = consumer.committed([ClientPartition(*tp) for tp in tps], timeout=DEADLINE_SECONDS)
    finally:
        consumer.close()
    return [(answer.offset, answer.metadata or "") for answer in answers]


def commit_for_group(broker: EmbeddedBroker, group: str, tp: TopicPartition, offset: int, metadata: str) -> None:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": group})
    try:
        consumer.commit(offsets=[ClientPartition(*tp, offset, metadata)], asynchronous=False)
    finally:
        consumer.close()


def test_every_message_is_delivered_once_in_order_and_stamped_with_its_epoch(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce, group: str
) -> None:
    topic = new_topic(6)
    produce(topic, 3000, partitions=6)
    member = Member(embedded_broker, topic, group)

    with running(member):
        member.read_at_least(3000)
        epochs = {assigned.tp: assigned.epoch for assigned in member.side.of(Assigned)}

        assert sorted(epochs.values()) == [1, 2, 3, 4, 5, 6]
        for partition in range(6):
            assert member.side.offsets(TopicPartition(topic, partition)) == list(range(500))
        assert all(epoch == epochs[tp] for tp, _, epoch in member.side.read_under)


def test_never_more_is_read_than_was_granted_and_a_new_grant_resumes(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce, group: str
) -> None:
    topic = new_topic(2)
    produce(topic, 1000, partitions=2)
    member = Member(embedded_broker, topic, group, policy=PollerPolicy(read_ahead=FlowLimits(20, 1 << 20)))

    with running(member, grant=10):
        for granted in (10, 11, 500):
            member.poller.grant(granted)
            member.read_at_least(granted)
            member.poll_on(20)  # enough to fill up what is read ahead, to give up holding back, and to pause instead
            assert member.side.count == granted
        member.poller.grant(1000)
        member.read_at_least(1000)

        for partition in range(2):
            assert member.side.offsets(TopicPartition(topic, partition)) == list(range(500))


def test_a_read_takes_no_more_than_a_batch(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce, group: str
) -> None:
    topic = new_topic(1)
    produce(topic, 200, partitions=1)
    member = Member(embedded_broker, topic, group, policy=PollerPolicy(poll_batch_size=7))

    with running(member):
        member.read_at_least(200)

        assert max(len(fact.messages) for fact in member.side.of(Delivered)) == 7


def test_a_small_credit_is_shared_by_all_partitions_however_the_client_gives_them_out(
    own_broker: EmbeddedBroker, group: str
) -> None:
    own_broker.create_topic("bills", 8)
    producer = Producer({"bootstrap.servers": own_broker.bootstrap_servers})
    for partition in range(8):
        for _ in range(500):
            producer.produce("bills", b"one after the other", partition=partition)
        assert producer.flush(DEADLINE_SECONDS) == 0
    member = Member(own_broker, "bills", group)

    with running(member, grant=0):
        member.until_read_ahead(8 * 500)
        member.poller.grant(80)
        member.read_at_least(80)

        assert {tp.partition: len(member.side.offsets(tp)) for tp in member.side.owned} == dict.fromkeys(range(8), 10)
        member.poller.grant(4000)
        member.read_at_least(4000)
        for partition in range(8):
            assert member.side.offsets(TopicPartition("bills", partition)) == list(range(500))


def test_what_was_read_ahead_of_a_partition_is_not_handed_on_while_it_is_paused(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce, group: str
) -> None:
    topic = new_topic(2)
    paused, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    produce(topic, 100, partitions=2)
    member = Member(embedded_broker, topic, group)

    with running(member, grant=0):
        member.until_read_ahead(100)
        member.poller.pause(Pause(paused, member.side.owned[paused]))
        member.commit(1, ())  # the commands are obeyed in their order
        member.poller.grant(1000)
        member.read_at_least(50)
        member.poll_on()
        assert (member.side.offsets(paused), member.side.offsets(other)) == ([], list(range(50)))
        assert member.side.of(PositionAdvanced) == []

        member.poller.resume(Resume(paused, member.side.owned[paused]))
        member.read_at_least(100)
        assert member.side.offsets(paused) == list(range(50))


def test_positions_are_told_when_the_client_passed_offsets_without_messages(
    own_broker: EmbeddedBroker, group: str
) -> None:
    producing_to(own_broker.bootstrap_servers)("orders", 10, partitions=1)
    member = Member(own_broker, "orders", group)

    with running(member):
        member.read_at_least(10)
        member.poll_on()

        assert member.side.of(PositionAdvanced) == []  # the position is what was delivered: no news


def test_a_commit_is_answered_and_stands_at_the_broker_with_its_metadata(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce, group: str
) -> None:
    topic = new_topic(2)
    produce(topic, 20, partitions=2)
    tps = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    member = Member(embedded_broker, topic, group)

    with running(member):
        member.read_at_least(20)
        answer = member.commit(1, member.side.snapshots(metadata="a map"))

        assert answer.errors == dict.fromkeys(tps)
        assert committed(embedded_broker, group, *tps) == [(10, "a map"), (10, "a map")]
        assert member.poller.get_metrics()["commit_failures"] == {}


def test_what_is_not_assigned_under_the_snapshots_epoch_is_left_out_of_a_commit(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce, group: str
) -> None:
    topic = new_topic(2)
    produce(topic, 20, partitions=2)
    here, stale, foreign = (TopicPartition(topic, partition) for partition in range(3))
    member = Member(embedded_broker, topic, group)

    with running(member):
        member.read_at_least(20)
        epoch = member.side.owned[here]
        wanted = [(here, epoch), (stale, member.side.owned[stale] + 100), (foreign, epoch)]
        mixed = member.commit(1, tuple(CommitSnapshot(tp, epoch, 5, "", 0, None) for tp, epoch in wanted))
        nothing = member.commit(2, tuple(CommitSnapshot(tp, epoch, 5, "", 0, None) for tp, epoch in wanted[1:]))

        assert mixed.errors == {here: None}
        assert nothing.errors == {}
        assert committed(embedded_broker, group, here, stale) == [(5, ""), (0, "")]


def test_a_refused_commit_is_answered_with_the_errors_name_and_counted(own_broker: EmbeddedBroker, group: str) -> None:
    producing_to(own_broker.bootstrap_servers)("orders", 5, partitions=1)
    member = Member(own_broker, "orders", group)

    with running(member):
        member.read_at_least(5)
        own_broker.fail_requests("offset_commit", ["REBALANCE_IN_PROGRESS"])
        refused = member.commit(1, member.side.snapshots())
        taken = member.commit(2, member.side.snapshots())

        assert refused.errors == {TopicPartition("orders", 0): "REBALANCE_IN_PROGRESS"}
        assert taken.errors == {TopicPartition("orders", 0): None}
        assert member.poller.get_metrics()["commit_failures"] == {"REBALANCE_IN_PROGRESS": 1}


def test_a_paused_partition_is_not_read_until_it_is_resumed_under_its_epoch(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce, group: str
) -> None:
    topic = new_topic(2)
    paused, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    member = Member(embedded_broker, topic, group, policy=PollerPolicy(read_ahead=FlowLimits(20, 1 << 20)))

    with running(member, grant=0):
        member.side.until(lambda: len(member.side.owned) == 2)
        epoch = member.side.owned[paused]
        member.poller.pause(Pause(paused, epoch))
        member.poller.pause(Pause(other, member.side.owned[other] + 100))  # of another epoch: no effect
        member.commit(1, ())  # the commands are obeyed in their order
        produce(topic, 100, partitions=2)
        member.until_read_ahead(20)
        member.poll_on()  # held, then paused for load, then resumed: that must not resume `paused`
        member.poller.grant(1000)
        member.read_at_least(50)
        member.poll_on()
        assert (member.side.offsets(paused), member.side.offsets(other)) == ([], list(range(50)))

        member.poller.resume(Resume(paused, epoch))
        member.read_at_least(100)
        assert member.side.offsets(paused) == list(range(50))


def test_after_stop_fetching_nothing_is_read_and_commits_go_on(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce, group: str
) -> None:
    topic = new_topic(1)
    produce(topic, 5, partitions=1)
    member = Member(embedded_broker, topic, group)

    with running(member):
        member.read_at_least(5)
        member.poller.stop_fetching()
        member.commit(1, ())  # the commands are obeyed in their order
        produce(topic, 5, partitions=1)
        member.poll_on()

        assert member.commit(2, member.side.snapshots()).errors == {TopicPartition(topic, 0): None}
        assert member.side.count == 5


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


# Starting


def test_a_topic_that_does_not_exist_is_named_and_not_created(embedded_broker: EmbeddedBroker, group: str) -> None:
    member = Member(embedded_broker, ["no-such-topic"], group)

    with pytest.raises(UnknownTopicError, match="'no-such-topic' does not exist"):
        member.start()
    member.poller.ended.result(DEADLINE_SECONDS)

    consumer = Consumer({"bootstrap.servers": embedded_broker.bootstrap_servers, "group.id": group})
    assert "no-such-topic" not in consumer.list_topics(timeout=DEADLINE_SECONDS).topics
    consumer.close()
    assert member.side.facts == []


def test_an_unreachable_broker_is_named_with_the_reason(group: str) -> None:
    with EmbeddedBroker({"orders": 1}) as broker:
        member = Member(broker, "orders", group, policy=PollerPolicy(start_timeout_seconds=0.7))

    with pytest.raises(
        BrokerUnreachableError, match=r"no broker of .* answered within 0.7 s.*(refused|down)"
    ) as caught:
        member.start()

    assert caught.value.retriable
    member.poller.ended.result(DEADLINE_SECONDS)


def test_refused_credentials_end_the_start_at_once(embedded_broker: EmbeddedBroker, group: str) -> None:
    member = Member(
        embedded_broker,
        "orders",
        group,
        policy=PollerPolicy(start_timeout_seconds=10 * DEADLINE_SECONDS),
        librdkafka={
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanisms": "PLAIN",
            "sasl.username": "somebody",
            "sasl.password": "guessed",
        },
    )

    with pytest.raises(AuthenticationError) as caught:
        member.start()

    assert "guessed" not in str(caught.value)
    member.poller.ended.result(DEADLINE_SECONDS)


def test_a_setting_the_client_does_not_know_is_refused_by_name(embedded_broker: EmbeddedBroker, group: str) -> None:
    member = Member(embedded_broker, "orders", group, librdkafka={"fetch.quickly": True})

    with pytest.raises(ConfigurationError, match=r"fetch\.quickly"):
        member.start()
    member.poller.ended.result(DEADLINE_SECONDS)


def test_a_poller_starts_once(embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], group: str) -> None:
    member = Member(embedded_broker, new_topic(1), group)

    with running(member), pytest.raises(StateError, match="started already"):
        member.start()


def test_closing_ends_a_start_that_still_waits_for_a_broker(group: str) -> None:
    with EmbeddedBroker({"orders": 1}) as broker:
        member = Member(broker, "orders", group, policy=PollerPolicy(start_timeout_seconds=10 * DEADLINE_SECONDS))
    started = member.poller.start()
    member.poller.close(1.0)

    with pytest.raises(StateError, match="while it started"):
        started.result(DEADLINE_SECONDS)
    member.poller.ended.result(DEADLINE_SECONDS)


# Patterns


def test_a_pattern_takes_new_topics_in_and_leaves_its_dead_letter_topics_out(
    own_broker: EmbeddedBroker, group: str
) -> None:
    produce = producing_to(own_broker.bootstrap_servers)
    own_broker.create_topic("orders.dlq", 1)
    produce("orders", 5, partitions=1)
    produce("orders.dlq", 5, partitions=1)
    policy = PollerPolicy(pattern_refresh_seconds=0.1)
    member = Member(own_broker, "^orders.*", group, policy=policy, dlq_suffix=".dlq")

    with running(member):
        member.read_at_least(5)
        own_broker.create_topic("orders-eu", 1)
        own_broker.create_topic("bills", 1)
        produce("orders-eu", 5, partitions=1)
        member.read_at_least(10)

        assert {tp.topic for tp in member.side.owned} == {"orders", "orders-eu"}


def test_a_pattern_that_matches_nothing_yet_warns_once_and_waits(
    own_broker: EmbeddedBroker, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    member = Member(own_broker, "^bills-.*", group, policy=PollerPolicy(pattern_refresh_seconds=0.1))

    with caplog.at_level(logging.WARNING), running(member):
        member.poll_on()
        own_broker.create_topic("bills-eu", 1)
        producing_to(own_broker.bootstrap_servers)("bills-eu", 5, partitions=1)
        member.read_at_least(5)

    assert len([record for record in caplog.records if "no topic matches" in record.getMessage()]) == 1


# Callbacks and errors


def test_callbacks_of_the_user_that_raise_are_reported_and_do_no_harm(
    own_broker: EmbeddedBroker, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    called: set[str] = set()

    def raising(name: str) -> Callable[..., None]:
        def callback(*_: object) -> None:
            called.add(name)
            raise SystemExit(name)

        return callback

    callbacks = {name: raising(name) for name in ("error_cb", "stats_cb", "on_commit")}
    member = Member(own_broker, "orders", group, librdkafka={**callbacks, "statistics.interval.ms": 50})
    produce = producing_to(own_broker.bootstrap_servers)
    produce("orders", 50, partitions=1)

    with caplog.at_level(logging.ERROR), running(member):
        member.read_at_least(50)
        member.commit(1, member.side.snapshots())
        wait_until(lambda: "stats_cb" in called)
        own_broker.set_down()
        wait_until(lambda: "error_cb" in called)
        own_broker.set_up()
        produce("orders", 50, partitions=1)
        member.read_at_least(100)

    assert called == {"error_cb", "stats_cb", "on_commit"}
    for name in called:
        assert any(f"your {name} raised" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("request_name", "code"),
    [("join_group", "GROUP_AUTHORIZATION_FAILED"), ("fetch", "TOPIC_AUTHORIZATION_FAILED")],
)
def test_an_error_that_does_not_go_away_ends_the_poller_and_is_the_last_it_tells(
    own_broker: EmbeddedBroker, group: str, request_name: str, code: str
) -> None:
    producing_to(own_broker.bootstrap_servers)("orders", 5, partitions=1)
    own_broker.fail_requests(request_name, [code] * 20)
    member = Member(own_broker, "orders", group)

    with running(member):
        member.side.until(lambda: member.side.of(PollerFailed))
        member.poller.ended.result(DEADLINE_SECONDS)

        assert isinstance(member.side.facts[-1], PollerFailed)
        error = member.side.facts[-1].error
        assert isinstance(error, BrokerError)
        assert error.code == code


def test_a_closed_loop_ends_the_thread_without_a_commit(own_broker: EmbeddedBroker, group: str) -> None:
    produce = producing_to(own_broker.bootstrap_servers)
    member = Member(own_broker, "orders", group)

    with running(member):
        member.side.until(lambda: member.side.owned)
        member.side.is_closed = True
        produce("orders", 5, partitions=1)
        member.poller.ended.result(DEADLINE_SECONDS)

        wait_until(lambda: not member.poller.is_alive)
        assert committed(own_broker, group, TopicPartition("orders", 0)) == [(0, "")]


# Closing


def test_close_commits_what_the_loop_answers_and_tells_the_end_last(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce, group: str
) -> None:
    topic = new_topic(1)
    produce(topic, 20, partitions=1)
    member = Member(embedded_broker, topic, group)

    with running(member):
        member.read_at_least(20)
        member.close()

        assert member.side.facts[-1] == PollerClosed()
        assert len(member.side.of(RevokeAsked)) == 1
        assert committed(embedded_broker, group, TopicPartition(topic, 0)) == [(20, "")]


def test_close_commits_again_until_the_broker_confirms(own_broker: EmbeddedBroker, group: str) -> None:
    producing_to(own_broker.bootstrap_servers)("orders", 5, partitions=1)
    member = Member(own_broker, "orders", group)

    with running(member):
        member.read_at_least(5)
        own_broker.fail_requests("offset_commit", ["REBALANCE_IN_PROGRESS", "NOT_COORDINATOR"])
        member.close()

        assert committed(own_broker, group, TopicPartition("orders", 0)) == [(5, "")]


def test_close_waits_no_longer_than_the_grace_for_a_loop_that_does_not_answer(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce, group: str
) -> None:
    topic = new_topic(1)
    tp = TopicPartition(topic, 0)
    produce(topic, 5, partitions=1)
    member = Member(embedded_broker, topic, group, policy=PollerPolicy(revoke_grace_seconds=0.1))
    member.side.is_answering = False

    with running(member):
        member.read_at_least(5)
        member.close(2 * DEADLINE_SECONDS)

        assert [type(fact) for fact in member.side.facts[-3:]] == [RevokeAsked, Lost, PollerClosed]
        assert committed(embedded_broker, group, tp) == [(0, "")]


def test_abandoning_ends_a_close_that_waits_for_the_loop(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], group: str
) -> None:
    member = Member(embedded_broker, new_topic(1), group, policy=PollerPolicy(revoke_grace_seconds=1000))
    member.side.is_answering = False

    with running(member):
        member.side.until(lambda: member.side.owned)
        member.poller.close(1000)
        member.side.until(lambda: member.side.of(RevokeAsked))
        member.abandon()

        assert not member.side.of(CommitAnswered)
