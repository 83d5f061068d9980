"""The poll thread reads within its credit, in order, and commits with metadata."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import Producer

from pyrallel_consumer.control_plane.events import Assigned, CommitSnapshot, Delivered, Pause, PositionAdvanced, Resume
from pyrallel_consumer.control_plane.policies import FlowLimits
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.broker_poller import PollerPolicy
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.conftest import Produce, producing_to
from tests.integration.poller.group_offsets import committed
from tests.integration.poller.loop_side import DEADLINE_SECONDS, Member, running


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
