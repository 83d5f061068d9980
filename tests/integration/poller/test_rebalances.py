"""Poll threads of one group on the embedded broker: assigned, revoked and lost partitions."""

from __future__ import annotations

import itertools
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer.control_plane.events import Assigned, CommitSnapshot, Lost, Pause, PollerClosed, RevokeAsked
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.broker_poller import PollerPolicy
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.conftest import Produce, producing_to
from tests.integration.poller.loop_side import DEADLINE_SECONDS, Member, running, wait_until

GROUPS = (f"rebalanced-{number}" for number in itertools.count())
COOPERATIVE = {"partition.assignment.strategy": "cooperative-sticky"}
EAGER = {"partition.assignment.strategy": "range"}
BY_BROKER = {"group.protocol": "consumer"}
protocols = pytest.mark.parametrize(
    "protocol", [COOPERATIVE, EAGER, BY_BROKER], ids=["cooperative-sticky", "range", "consumer"]
)


@pytest.fixture
def group() -> str:
    return next(GROUPS)


def committed(broker: EmbeddedBroker, group: str, topic: str, partitions: int) -> list[int]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": group})
    try:
        answers = consumer.committed(
            [ClientPartition(topic, partition) for partition in range(partitions)], timeout=DEADLINE_SECONDS
        )
    finally:
        consumer.close()
    return [answer.offset for answer in answers]


def settled(partitions: int, *members: Member) -> Callable[[], bool]:
    """Whether the members own this many partitions: each member some, and no partition twice."""

    def holds() -> bool:
        owned = [set(member.side.owned) for member in members]
        return all(owned) and sum(map(len, owned)) == len(set().union(*owned)) == partitions

    return holds


@contextmanager
def frozen(broker: EmbeddedBroker) -> Iterator[None]:
    """The broker neither answers nor closes its connections."""
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.pid, signal.SIGCONT)


@protocols
def test_members_that_join_and_leave_read_everything_once_and_in_order(
    embedded_broker: EmbeddedBroker,
    new_topic: Callable[[int], str],
    produce: Produce,
    group: str,
    protocol: dict[str, str],
) -> None:
    topic = new_topic(4)
    first = Member(embedded_broker, topic, group, librdkafka=protocol)
    second = Member(embedded_broker, topic, group, librdkafka=protocol)

    def read_in_all(messages: int) -> Callable[[], bool]:
        return lambda: first.side.count + second.side.count >= messages

    with running(first):
        produce(topic, 400, partitions=4)
        first.read_at_least(400)
        # The embedded broker refuses an eager member's commits from the moment it asks it to rejoin; real ones do not.
        first.commit(1, first.side.snapshots())
        with running(second):
            wait_until(settled(4, first, second))
            produce(topic, 400, partitions=4)
            second.side.until(lambda: second.side.count >= 200)
            wait_until(read_in_all(800))
            first.commit(2, first.side.snapshots())
            second.close()
        first.side.until(settled(4, first))
        produce(topic, 400, partitions=4)
        wait_until(read_in_all(1200))
        first.close()

    times_read = Counter((tp, offset) for member in (first, second) for tp, offset, _ in member.side.read_under)
    assert times_read == Counter(
        (TopicPartition(topic, partition), offset) for partition in range(4) for offset in range(300)
    )
    for member in (first, second):
        assert all(offsets == sorted(offsets) for offsets in map(member.side.offsets, member.side.read))
    assert committed(embedded_broker, group, topic, 4) == [300] * 4


def test_what_the_loop_answers_on_a_revoke_is_committed_before_the_next_owner_begins(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce, group: str
) -> None:
    # Under the classic protocol the embedded broker refuses commits until all have synced, which a member cannot know;
    # tests/kafka holds this on a real broker, under every protocol.
    topic = new_topic(4)
    produce(topic, 400, partitions=4)
    first = Member(embedded_broker, topic, group, librdkafka=BY_BROKER)
    second = Member(embedded_broker, topic, group, librdkafka=BY_BROKER)

    with running(first):
        first.read_at_least(400)
        with running(second):
            wait_until(settled(4, first, second))

            assert {assigned.start_offset for assigned in second.side.of(Assigned)} == {100}
            assert {tp for asked in first.side.of(RevokeAsked) for tp, _ in asked.partitions} >= set(second.side.owned)


def test_a_partition_that_comes_back_has_a_new_epoch(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], group: str
) -> None:
    topic = new_topic(2)
    first, second = (Member(embedded_broker, topic, group, librdkafka=BY_BROKER) for _ in range(2))

    with running(first):
        first.side.until(settled(2, first))
        with running(second):
            wait_until(settled(2, first, second))
            second.close()
        first.side.until(settled(2, first))

        epochs = [assigned.epoch for assigned in first.side.of(Assigned)]
        assert epochs == [1, 2, 3]


def test_a_pause_does_not_outlive_its_assignment(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce, group: str
) -> None:
    topic = new_topic(2)
    first, second = (Member(embedded_broker, topic, group, librdkafka=EAGER) for _ in range(2))

    with running(first):
        first.side.until(settled(2, first))
        for tp, epoch in dict(first.side.owned).items():
            first.poller.pause(Pause(tp, epoch))
        with running(second):
            wait_until(settled(2, first, second))
            second.close()
        first.side.until(settled(2, first))
        produce(topic, 100, partitions=2)

        first.read_at_least(100)


@protocols
def test_a_loop_that_does_not_answer_a_revoke_loses_the_partitions_and_commits_nothing(
    embedded_broker: EmbeddedBroker,
    new_topic: Callable[[int], str],
    produce: Produce,
    group: str,
    protocol: dict[str, str],
) -> None:
    topic = new_topic(2)
    produce(topic, 100, partitions=2)
    policy = PollerPolicy(revoke_grace_seconds=0.1)
    first = Member(embedded_broker, topic, group, policy=policy, librdkafka=protocol)
    second = Member(embedded_broker, topic, group, librdkafka=protocol)

    with running(first):
        first.read_at_least(100)
        first.side.is_answering = False
        with running(second, grant=0):
            second.side.until(lambda: second.side.owned)
            asked = first.side.of(RevokeAsked)[0]
            first.side.until(lambda: set(first.side.of(Lost)) >= {Lost(tp, epoch) for tp, epoch in asked.partitions})
            late = tuple(CommitSnapshot(tp, epoch, 50, "too late", 0, None) for tp, epoch in asked.partitions)
            asked.answer(late)
            first.poll_on()

            assert committed(embedded_broker, group, topic, 2) == [0, 0]
            assert {assigned.start_offset for assigned in second.side.of(Assigned)} == {0}


# The second of two eager members to close may be revoked before it has committed: the embedded broker refuses its
# commit then, and real ones do not. The eager pair is in tests/kafka/test_rebalances.py.
@pytest.mark.parametrize("protocol", [COOPERATIVE, BY_BROKER], ids=["cooperative-sticky", "consumer"])
def test_two_members_that_close_together_both_commit_and_end(
    embedded_broker: EmbeddedBroker,
    new_topic: Callable[[int], str],
    produce: Produce,
    group: str,
    protocol: dict[str, str],
) -> None:
    topic = new_topic(4)
    members = [Member(embedded_broker, topic, group, librdkafka=protocol) for _ in range(2)]

    with running(*members):
        wait_until(settled(4, *members))
        produce(topic, 400, partitions=4)
        members[0].read_at_least(200)
        members[1].read_at_least(200)
        for member in members:
            member.poller.close(10.0)
        for member in members:
            member.poller.ended.result(DEADLINE_SECONDS)
            assert member.side.facts[-1] == PollerClosed()

        assert committed(embedded_broker, group, topic, 4) == [100] * 4


@pytest.mark.parametrize("protocol", [COOPERATIVE, EAGER], ids=["cooperative-sticky", "range"])
def test_partitions_of_a_member_that_its_group_gave_up_are_lost_and_come_back(
    group: str, protocol: dict[str, str]
) -> None:
    with EmbeddedBroker({"orders": 2}) as broker:
        producing_to(broker.bootstrap_servers)("orders", 100, partitions=2)
        member = Member(broker, "orders", group, librdkafka=protocol)
        with running(member):
            member.read_at_least(100)
            with frozen(broker):
                member.side.until(lambda: len(member.side.of(Lost)) == 2)
            member.side.until(lambda: len(member.side.of(Assigned)) == 4)

            assert member.side.of(RevokeAsked) == []
            assert [assigned.epoch for assigned in member.side.of(Assigned)] == [1, 2, 3, 4]
            member.read_at_least(200)
            assert committed(broker, group, "orders", 2) == [0, 0]


def test_a_close_gives_up_on_a_frozen_broker_and_ends_when_the_client_lets_it(
    group: str, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddedBroker({"orders": 1}) as broker:
        producing_to(broker.bootstrap_servers)("orders", 10, partitions=1)
        member = Member(broker, "orders", group)
        with running(member):
            member.read_at_least(10)
            with frozen(broker):
                member.poller.close(0.3)
                wait_until(lambda: "not confirmed in time" in caplog.text)
            member.poller.ended.result(DEADLINE_SECONDS)

            assert member.side.facts[-1] == PollerClosed()


def test_a_close_does_not_wait_for_answers_about_where_to_begin(group: str, caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedBroker({"orders": 2}) as broker:
        broker.fail_requests("offset_fetch", ["COORDINATOR_LOAD_IN_PROGRESS"] * 10_000)
        member = Member(broker, "orders", group)
        with running(member):
            wait_until(lambda: "the committed offsets of the group for orders" in caplog.text)
            member.close(1.0)

            assert member.side.facts == [PollerClosed()]
