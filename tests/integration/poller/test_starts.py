"""The poll thread's start: topics, patterns, credentials and brokers that are there or are not."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer

from pyrallel_consumer.errors import (
    AuthenticationError,
    BrokerUnreachableError,
    ConfigurationError,
    StateError,
    UnknownTopicError,
)
from pyrallel_consumer.ingress.broker_poller import PollerPolicy
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.conftest import producing_to
from tests.integration.poller.loop_side import DEADLINE_SECONDS, Member, running


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
