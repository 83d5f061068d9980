"""Requests that only an admin client can make, to an embedded broker, and without any broker."""

from __future__ import annotations

import time

import pytest

from pyrallel_consumer import KafkaConfig
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.ingress.admin.admin_look import AdminLook
from pyrallel_consumer.ingress.client.client_settings import consumer_configuration
from pyrallel_consumer.ingress.reading.start_offset import Position
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.conftest import producing_to
from tests.integration.poller.loop_side import wait_until
from tests.metadata_proxy import MetadataProxy


def look_at(bootstrap_servers: str, **more: object) -> AdminLook:
    configuration = consumer_configuration(KafkaConfig(bootstrap_servers=bootstrap_servers, consumer_group="g"))
    return AdminLook(configuration | more, time.monotonic)


def test_ends_of_logs_are_told_and_partitions_that_are_not_there_left_out() -> None:
    with EmbeddedBroker({"orders": 2}) as broker:
        producing_to(broker.bootstrap_servers)("orders", 5, partitions=1)

        found = look_at(broker.bootstrap_servers).high_watermarks(
            [TopicPartition("orders", 0), TopicPartition("orders", 7)], 5
        )

    assert found == {TopicPartition("orders", 0): Position(5)}


def test_without_a_broker_nothing_is_told_and_nothing_waits_longer_than_it_may() -> None:
    look = look_at("127.0.0.1:1")
    began_at = time.monotonic()

    assert look.high_watermarks([TopicPartition("orders", 0)], 0.3) == {}
    assert time.monotonic() - began_at < 10
    answers = look.topic_ids(["orders"], 0.3)
    look.serve()
    look.close()
    assert set(answers) == {"orders"}


def test_a_configuration_that_makes_no_admin_client_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    look = look_at("127.0.0.1:1", **{"no.such.setting": 1})

    assert look.topic_ids(["orders"], 1) == {}
    assert look.high_watermarks([TopicPartition("orders", 0)], 1) == {}
    look.serve()
    assert caplog.text.count("no admin client can be made") == 1


def test_a_client_that_has_lost_its_brokers_does_not_stay() -> None:
    places = [TopicPartition("orders", 0)]
    with EmbeddedBroker({"orders": 1}) as broker, MetadataProxy(broker.bootstrap_servers) as proxy:
        look = look_at(
            proxy.bootstrap_servers, **{"metadata.max.age.ms": 300, "topic.metadata.refresh.interval.ms": 300}
        )
        wait_until(lambda: look.high_watermarks(places, 5) != {})
        proxy.hide_brokers()
        wait_until(lambda: look.high_watermarks(places, 1) == {})
        proxy.show_brokers()

        wait_until(lambda: look.high_watermarks(places, 5) != {})
        look.close()
