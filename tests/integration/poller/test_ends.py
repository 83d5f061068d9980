"""The poll thread's end: callbacks that raise, errors that stay, and the last commit of a close."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from pyrallel_consumer.control_plane.events import CommitAnswered, Lost, PollerClosed, PollerFailed, RevokeAsked
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.errors import BrokerError
from pyrallel_consumer.ingress.broker_poller import PollerPolicy
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.conftest import Produce, producing_to
from tests.integration.poller.group_offsets import committed
from tests.integration.poller.loop_side import DEADLINE_SECONDS, Member, running, wait_until


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
