"""The consumer's configuration: names, defaults, what the user's mapping beats, and the group's protocol."""

from __future__ import annotations

import logging
import re

import pytest
from confluent_kafka import Consumer

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.ingress.client.client_settings import (
    consumer_configuration,
    is_cooperative,
    observer_configuration,
    protocol_choice,
    protocol_of,
    read_ahead_limits,
)
from pyrallel_consumer.ingress.reading.group_protocol import ProtocolChoice
from tests.unit.ingress.client.mapped_settings import NOBODY_LISTENS, mapped, refusal_of


def test_settings_reach_the_client_under_its_own_names() -> None:
    configuration = consumer_configuration(
        KafkaConfig(
            bootstrap_servers="a:1,b:2", consumer_group="demo", auto_offset_reset="latest", session_timeout_ms=30_000
        )
    )
    assert configuration["bootstrap.servers"] == "a:1,b:2"
    assert configuration["group.id"] == "demo"
    assert configuration["auto.offset.reset"] == "latest"
    assert configuration["session.timeout.ms"] == 30_000
    assert configuration["partition.assignment.strategy"] == "cooperative-sticky"
    assert "sasl.password" not in configuration
    assert "security.protocol" not in configuration


def test_none_is_error_in_the_words_of_librdkafka() -> None:
    assert consumer_configuration(KafkaConfig(auto_offset_reset="none"))["auto.offset.reset"] == "error"


def test_auto_commit_is_off_whatever_the_mapping_says() -> None:
    for config in (KafkaConfig(), mapped(enable_auto_commit="false", enable_auto_offset_store="false")):
        configuration = consumer_configuration(config)
        assert configuration["enable.auto.commit"] is False
        assert configuration["enable.auto.offset.store"] is False


def test_auto_commit_that_was_slipped_in_past_validation_is_refused() -> None:
    config = KafkaConfig()
    config.librdkafka["enable.auto.commit"] = True
    with pytest.raises(ConfigurationError, match=r"enable\.auto\.commit"):
        consumer_configuration(config)


def test_secrets_reach_the_client_in_clear_from_either_place() -> None:
    security = {"security_protocol": "SASL_SSL", "sasl_mechanisms": "PLAIN", "sasl_username": "alice"}
    named = consumer_configuration(KafkaConfig(**security, sasl_password="open sesame", ssl_key_password="key"))  # type: ignore[arg-type]
    assert (named["sasl.password"], named["ssl.key.password"]) == ("open sesame", "key")
    from_mapping = consumer_configuration(KafkaConfig(**security, librdkafka={"sasl.password": "open sesame"}))  # type: ignore[arg-type]
    assert from_mapping["sasl.password"] == "open sesame"


@pytest.mark.parametrize(
    "name", ["fetch.wait.max.ms", "queued.min.messages", "fetch.message.max.bytes", "client.id", "session.timeout.ms"]
)
def test_the_users_mapping_beats_our_choice(name: str) -> None:
    assert consumer_configuration(KafkaConfig(librdkafka={name: "1234"}))[name] == "1234"


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("metadata.broker.list", "bootstrap.servers"),
        ("sasl.mechanism", "sasl.mechanisms"),
        ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ],
)
def test_the_users_mapping_beats_ours_under_either_of_two_names(alias: str, name: str) -> None:
    configuration = consumer_configuration(
        KafkaConfig(security_protocol="SASL_SSL", sasl_mechanisms="PLAIN", librdkafka={alias: "theirs"})
    )
    assert configuration[name] == "theirs"
    assert alias not in configuration


@pytest.mark.parametrize(
    ("session_timeout_ms", "heartbeat_ms"), [(1000, 166), (3000, 500), (6000, 1000), (45_000, 1000), (1_800_000, 1000)]
)
def test_heartbeats_and_poll_interval_fit_the_session_timeout(session_timeout_ms: int, heartbeat_ms: int) -> None:
    for config in (
        KafkaConfig(session_timeout_ms=session_timeout_ms),
        KafkaConfig(librdkafka={"session.timeout.ms": str(session_timeout_ms)}),
    ):
        configuration = consumer_configuration(config)
        assert configuration["heartbeat.interval.ms"] == heartbeat_ms
        assert configuration["max.poll.interval.ms"] == max(300_000, session_timeout_ms)
        Consumer(configuration | {"bootstrap.servers": NOBODY_LISTENS, "logger": logging.getLogger("quiet")}).close()


@pytest.mark.parametrize(
    ("queue_max_bytes", "kbytes"),
    [(1, 1024), (1 << 20, 1024), (8 << 20, 2048), (64 << 20, 16_384), (1 << 40, 16_384)],
)
def test_what_is_fetched_and_not_handed_on_is_small_where_our_own_buffer_is(queue_max_bytes: int, kbytes: int) -> None:
    config = KafkaConfig()
    config.parallel_consumer.queue_max_bytes = queue_max_bytes
    configuration = consumer_configuration(config)

    assert configuration["queued.max.messages.kbytes"] == kbytes
    assert configuration["fetch.max.bytes"] == kbytes * 1024
    assert read_ahead_limits(config).max_bytes == kbytes * 1024
    Consumer(configuration | {"bootstrap.servers": NOBODY_LISTENS, "logger": logging.getLogger("quiet")}).close()


@pytest.mark.parametrize(("queue_max_messages", "messages"), [(1, 1000), (500, 2000), (5000, 20_000), (10**6, 20_000)])
def test_the_poll_thread_reads_a_few_buffers_ahead(queue_max_messages: int, messages: int) -> None:
    config = KafkaConfig()
    config.parallel_consumer.queue_max_messages = queue_max_messages
    assert read_ahead_limits(config).max_messages == messages


def test_larger_messages_make_larger_fetches() -> None:
    sixteen_mib = 16 * 1024 * 1024
    assert consumer_configuration(KafkaConfig())["fetch.max.bytes"] == sixteen_mib
    assert consumer_configuration(mapped(message_max_bytes=1000))["fetch.max.bytes"] == sixteen_mib
    configuration = consumer_configuration(mapped(message_max_bytes=str(2 * sixteen_mib)))
    assert configuration["fetch.max.bytes"] == 2 * sixteen_mib
    Consumer(configuration | {"bootstrap.servers": NOBODY_LISTENS, "logger": logging.getLogger("quiet")}).close()
    assert "message.max.bytes" in refusal_of(consumer_configuration(mapped(message_max_bytes="much")))


# ---------------------------------------------------------------- protocols of the group


def test_with_the_consumer_protocol_the_broker_decides() -> None:
    configuration = consumer_configuration(mapped(group_protocol="Consumer", group_remote_assignor="uniform"))
    assert not configuration.keys() & {
        "session.timeout.ms",
        "heartbeat.interval.ms",
        "partition.assignment.strategy",
        "group.protocol.type",
    }
    assert configuration["group.remote.assignor"] == "uniform"
    assert is_cooperative(configuration)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (KafkaConfig(), ProtocolChoice("consumer", may_change=True)),
        (KafkaConfig(group_protocol="classic"), ProtocolChoice("classic")),
        (mapped(group_protocol="CONSUMER"), ProtocolChoice("consumer")),
        (mapped(session_timeout_ms="6000", heartbeat_interval_ms=1000), "heartbeat.interval.ms, session.timeout.ms"),
        (mapped(group_protocol_type="consumer"), "group.protocol.type"),
        (KafkaConfig(session_timeout_ms=45_000), "KafkaConfig.session_timeout_ms"),
    ],
    ids=str,
)
def test_the_protocol_of_the_group_follows_from_what_was_set(
    config: KafkaConfig, expected: ProtocolChoice | str
) -> None:
    choice = protocol_choice(config.validate_all())

    if isinstance(expected, str):
        assert choice.first == "classic"
        assert choice.why.startswith(f"{expected} ")
    else:
        assert choice == expected
    assert protocol_of(consumer_configuration(config)) == choice.first


def test_a_protocol_set_twice_is_refused_where_the_two_differ() -> None:
    with pytest.raises(ConfigurationError, match=r"group_protocol is classic.*group\.protocol.*consumer"):
        consumer_configuration(KafkaConfig(group_protocol="classic", librdkafka={"group.protocol": "consumer"}))


def test_both_configurations_of_auto_are_taken_by_the_client() -> None:
    config = mapped(group_remote_assignor="uniform", group_instance_id="one", bootstrap_servers=NOBODY_LISTENS)

    for protocol in (None, "classic", "consumer"):
        consumer = Consumer(consumer_configuration(config, protocol) | {"log_level": 0})
        consumer.close()


def test_whoever_only_looks_into_a_group_is_no_member_of_it() -> None:
    config = mapped(group_protocol="consumer", group_instance_id="one", group_remote_assignor="uniform")

    observer = observer_configuration(config)

    assert not observer.keys() & {"group.protocol", "group.instance.id", "group.remote.assignor"}
    assert observer["group.id"] == config.consumer_group


@pytest.mark.parametrize("name", ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"])
def test_what_the_broker_decides_cannot_be_set_beside_the_consumer_protocol(name: str) -> None:
    config = KafkaConfig(librdkafka={"group.protocol": "consumer", name: "6000"})
    with pytest.raises(ConfigurationError, match=rf"{re.escape(name)} cannot be set with group\.protocol=consumer"):
        consumer_configuration(config)


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ({}, False),
        ({"group.protocol": "classic"}, False),
        ({"partition.assignment.strategy": "range"}, False),
        ({"partition.assignment.strategy": "roundrobin,range"}, False),
        ({"partition.assignment.strategy": "cooperative-sticky"}, True),
        ({"partition.assignment.strategy": " cooperative-sticky "}, True),
        ({"group.protocol": "consumer"}, True),
        ({"group.protocol": "CONSUMER"}, True),
    ],
    ids=repr,
)
def test_eager_are_only_the_classic_assignors(configuration: dict[str, str], expected: bool) -> None:
    assert is_cooperative(configuration) is expected


def test_the_default_is_cooperative() -> None:
    assert is_cooperative(consumer_configuration(KafkaConfig()))
    assert not is_cooperative(consumer_configuration(mapped(partition_assignment_strategy="range")))
