"""Settings to client configuration, tried on real clients without a broker, and the client's errors in our words."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.errors import (
    AuthenticationError,
    BrokerError,
    BrokerUnreachableError,
    ConfigurationError,
    PyrallelConsumerError,
    StateError,
    UnknownTopicError,
)
from pyrallel_consumer.ingress.client.client_errors import translate_client_error
from pyrallel_consumer.ingress.client.client_settings import (
    admin_configuration,
    consumer_configuration,
    is_cooperative,
    observer_configuration,
    producer_configuration,
    protocol_choice,
    protocol_of,
    read_ahead_limits,
)
from pyrallel_consumer.ingress.reading.group_protocol import ProtocolChoice

NOBODY_LISTENS = "127.0.0.1:1"
CONFIGURATIONS: dict[str, Callable[[KafkaConfig], dict[str, Any]]] = {
    "consumer": consumer_configuration,
    "producer": producer_configuration,
    "admin": admin_configuration,
}
CLIENTS: dict[str, Any] = {"consumer": Consumer, "producer": Producer, "admin": AdminClient}


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.upper().startswith(("KAFKA_", "METRICS_", "PARALLEL_CONSUMER_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def mapped(**client_settings: Any) -> KafkaConfig:
    """A configuration whose ``librdkafka`` mapping holds these, written with _ for the dots."""
    return KafkaConfig(librdkafka={name.replace("_", "."): value for name, value in client_settings.items()})


def refusal_of(configuration: dict[str, Any], client: Any = Consumer) -> str:
    """The error for a configuration that the client does not accept."""
    with pytest.raises((KafkaException, TypeError, ValueError)) as refused:
        client(configuration)
    translated = translate_client_error(refused.value)
    assert isinstance(translated, ConfigurationError)
    return str(translated)


# ---------------------------------------------------------------- the consumer


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


# ---------------------------------------------------------------- producer and admin


def test_dead_letters_count_only_when_all_replicas_have_them() -> None:
    configuration = producer_configuration(KafkaConfig())
    assert configuration["acks"] == "all"
    assert configuration["enable.idempotence"] is True
    assert configuration["queue.buffering.max.messages"] <= 10_000


def test_reports_of_success_cannot_be_turned_off() -> None:
    assert producer_configuration(mapped(delivery_report_only_error=True))["delivery.report.only.error"] is False


@pytest.mark.parametrize("name", ["acks", "request.required.acks"])
@pytest.mark.parametrize("value", [0, "0"], ids=repr)
def test_a_producer_without_acknowledgements_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match="acks=0"):
        producer_configuration(KafkaConfig(librdkafka={name: value}))


def test_a_transactional_producer_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"transactional\.id"):
        producer_configuration(mapped(transactional_id="x"))


def test_the_users_mapping_tunes_the_producer_too() -> None:
    config = KafkaConfig(
        librdkafka={"delivery.timeout.ms": 1, "acks": "1", "enable.idempotence": False, "linger.ms": 7}
    )
    configuration = producer_configuration(config)
    assert configuration["message.timeout.ms"] == 1
    assert configuration["acks"] == "1"
    assert configuration["linger.ms"] == 7
    assert not consumer_configuration(config).keys() & {"message.timeout.ms", "acks", "linger.ms"}


def test_each_client_gets_its_own_settings_only() -> None:
    def hear(*_: object) -> None: ...

    config = KafkaConfig(
        bootstrap_servers=NOBODY_LISTENS,
        librdkafka={
            "group.instance.id": "one",
            "isolation.level": "read_committed",
            "enable.partition.eof": False,
            "statistics.interval.ms": 100,
            "stats_cb": hear,
            "error_cb": hear,
            "throttle_cb": hear,
            "on_commit": hear,
            "on_delivery": hear,
            "compression.type": "none",
            "batch.size": 1000,
            "socket.send.buffer.bytes": 100_000,
        },
    )
    assert consumer_configuration(config)["stats_cb"] is hear
    assert consumer_configuration(config).keys() & {"on_delivery", "compression.type"} == set()
    assert producer_configuration(config).keys() & {"stats_cb", "error_cb", "group.id", "group.instance.id"} == set()
    for kind, configure in CONFIGURATIONS.items():
        configuration = configure(config)
        assert configuration["socket.send.buffer.bytes"] == 100_000, kind


class Said(logging.Handler):
    """Keeps what a client logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def said() -> Iterator[Said]:
    handler = Said()
    logger = logging.getLogger("said-by-client")
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_real_clients_take_the_configuration_without_a_warning(kind: str, protocol: str, said: Said) -> None:
    config = KafkaConfig(
        bootstrap_servers=NOBODY_LISTENS,
        librdkafka={"group.protocol": protocol, "linger.ms": 3, "enable.partition.eof": True},
    )
    configuration = CONFIGURATIONS[kind](config) | {"logger": logging.getLogger("said-by-client")}
    client = CLIENTS[kind](configuration)
    while not any("Connect to" in line for line in said.lines):  # by then it has said all about its settings
        client.poll(0.05)
    if kind == "consumer":
        client.close()
    assert [line for line in said.lines if "CONFWARN" in line] == []


@pytest.mark.skipif(sys.platform != "linux", reason="finds the client's library in /proc")
def test_no_setting_of_this_librdkafka_is_missing_from_our_lists(tmp_path: Path) -> None:
    table = tmp_path / "properties"
    maps = Path("/proc/self/maps").read_text()
    library = ctypes.CDLL(next(line.split()[-1] for line in maps.splitlines() if "librdkafka" in line))
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    libc.fopen.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    libc.fclose.argtypes = [ctypes.c_void_p]
    library.rd_kafka_conf_properties_show.argtypes = [ctypes.c_void_p]
    stream = libc.fopen(bytes(table), b"w")
    library.rd_kafka_conf_properties_show(stream)
    libc.fclose(stream)
    rows = re.findall(r"^([a-z_.]+) +\|  ([CP*])  \|", table.read_text(), flags=re.MULTILINE)
    assert len(rows) > 100

    unsuited = {"transactional.id", "enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store"}
    for name, of in rows:
        if name in unsuited:
            continue
        # The value is of no interest: no client is made. This one passes for a file.
        config = KafkaConfig(librdkafka={name: "probe"}, security_protocol="SASL_SSL", sasl_mechanisms="PLAIN")
        got = {kind for kind, configure in CONFIGURATIONS.items() if configure(config).get(name) == "probe"}
        if of == "C":
            assert got <= {"consumer"}, name
        elif of == "P":
            assert got <= {"producer"}, name


# ---------------------------------------------------------------- refused before any connection


@pytest.mark.parametrize("kind", CONFIGURATIONS)
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"ssl_ca_location": "/no/such/ca.pem"}, r"KafkaConfig\.ssl_ca_location: there is no file '/no/such/ca\.pem'"),
        (
            {"librdkafka": {"ssl.keystore.location": "/no/such"}},
            r"librdkafka\['ssl\.keystore\.location'\]: there is no",
        ),
        ({"sasl_username": "alice"}, "security_protocol is PLAINTEXT.*SASL_SSL"),
        ({"sasl_password": "x", "security_protocol": "ssl"}, "security_protocol is SSL, which does not log in"),
        ({"sasl_password": "x", "security_protocol": "sasl_ssl"}, r"KafkaConfig\.sasl_mechanisms is not set"),
    ],
    ids=repr,
)
def test_security_that_cannot_work_is_refused_by_every_client(kind: str, settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        CONFIGURATIONS[kind](KafkaConfig(**settings))


def test_an_empty_group_is_refused_before_the_client_aborts_the_process_over_it() -> None:
    with pytest.raises(ConfigurationError, match=r"group\.id is empty"):
        consumer_configuration(mapped(group_id=""))


def test_files_that_exist_and_the_word_probe_are_taken(tmp_path: Path) -> None:
    assert consumer_configuration(KafkaConfig(ssl_ca_location=tmp_path))["ssl.ca.location"] == str(tmp_path)
    assert consumer_configuration(mapped(ssl_ca_location="probe"))["ssl.ca.location"] == "probe"


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        ({"foo.bar": 1}, "librdkafka has no setting 'foo.bar'; correct its name in KafkaConfig.librdkafka"),
        ({"session.timeout.ms": "x"}, "refuses session.timeout.ms (KafkaConfig.session_timeout_ms): Invalid"),
        ({"fetch.min.bytes": -1}, "librdkafka refuses fetch.min.bytes: "),
        ({"check.crcs": "perhaps"}, "librdkafka refuses check.crcs: Expected bool"),
        ({"partition.assignment.strategy": "fair"}, "partition.assignment.strategy: Unsupported"),
        ({"partition.assignment.strategy": "range,cooperative-sticky"}, "refuses partition.assignment.strategy: All"),
        ({"fetch.max.bytes": 100}, "librdkafka refuses fetch.max.bytes: `fetch.max.bytes` must be"),
        (
            {"security.protocol": "SASL_SSL", "sasl.mechanism": "MAGIC"},
            "librdkafka refuses SASL mechanism (KafkaConfig.sasl_mechanisms): Unsupported",
        ),
        ({"security.protocol": "SASL_SSL", "sasl.mechanisms": "PLAIN"}, "(KafkaConfig.sasl_username): sasl.username"),
        ({"security.protocol": "SSL", "ssl.key.pem": "key to all"}, "refuses ssl.key.pem: its value was refused"),
        ({"error_cb": 3}, "the Kafka client refuses its configuration: expected error_cb"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_the_client_itself_refuses_becomes_an_error_that_names_the_setting(
    mapping: dict[str, Any], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    said = refusal_of(consumer_configuration(KafkaConfig(bootstrap_servers=NOBODY_LISTENS, librdkafka=mapping)))
    assert reason in said
    assert "key to all" not in said


def test_what_the_producer_refuses_is_named_too() -> None:
    said = refusal_of(producer_configuration(mapped(compression_type="zip")), Producer)
    assert "librdkafka refuses compression.codec: Invalid value" in said


# ---------------------------------------------------------------- errors of the broker


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        (KafkaError._ALL_BROKERS_DOWN, BrokerUnreachableError, "KafkaConfig.bootstrap_servers"),  # noqa: SLF001
        (KafkaError._TRANSPORT, BrokerUnreachableError, "advertised listeners"),  # noqa: SLF001
        (KafkaError._TIMED_OUT, BrokerUnreachableError, "security_protocol"),  # noqa: SLF001
        (KafkaError._RESOLVE, BrokerUnreachableError, "DNS"),  # noqa: SLF001
        (KafkaError._AUTHENTICATION, AuthenticationError, "sasl_password"),  # noqa: SLF001
        (KafkaError.SASL_AUTHENTICATION_FAILED, AuthenticationError, "sasl_username"),
        (KafkaError.UNSUPPORTED_SASL_MECHANISM, AuthenticationError, "sasl_mechanisms"),
        (KafkaError.ILLEGAL_SASL_STATE, AuthenticationError, "takes no SASL"),
        (KafkaError._SSL, AuthenticationError, "ssl_ca_location"),  # noqa: SLF001
        (KafkaError.UNKNOWN_TOPIC_OR_PART, UnknownTopicError, "create the topic"),
        (KafkaError._UNKNOWN_TOPIC, UnknownTopicError, "create the topic"),  # noqa: SLF001
        (KafkaError._UNKNOWN_PARTITION, UnknownTopicError, "no such partition"),  # noqa: SLF001
        (KafkaError.TOPIC_EXCEPTION, UnknownTopicError, "no topic can have this name"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, BrokerError, "grant this user READ"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, BrokerError, "KafkaConfig.consumer_group"),
        (KafkaError.INCONSISTENT_GROUP_PROTOCOL, BrokerError, "partition.assignment.strategy"),
        (KafkaError.INVALID_SESSION_TIMEOUT, BrokerError, "session_timeout_ms"),
        (KafkaError.FENCED_INSTANCE_ID, BrokerError, "group.instance.id"),
        (KafkaError.UNSUPPORTED_VERSION, BrokerError, "too old"),
        (KafkaError._AUTO_OFFSET_RESET, BrokerError, "auto_offset_reset is none"),  # noqa: SLF001
        (KafkaError.OFFSET_METADATA_TOO_LARGE, BrokerError, "offset.metadata.max.bytes"),
        (KafkaError.ILLEGAL_GENERATION, BrokerError, "ILLEGAL_GENERATION"),
    ],
    ids=repr,
)
def test_errors_of_the_broker_get_their_class_and_say_what_to_do_next(
    code: int, kind: type[BrokerError], advice: str
) -> None:
    error = KafkaError(code, "the words of the client")
    for raised in (error, KafkaException(error)):
        translated = translate_client_error(raised, "asking for something")
        assert type(translated) is kind
        assert isinstance(translated, BrokerError)
        assert translated.code == error.name()
        assert str(translated).startswith("asking for something: the words of the client")
        assert advice in str(translated)


def test_whether_a_second_try_may_succeed_is_said() -> None:
    def retriable(code: int) -> bool:
        translated = translate_client_error(KafkaError(code))
        assert isinstance(translated, BrokerError)
        return translated.retriable

    assert retriable(KafkaError.NOT_COORDINATOR)
    assert retriable(KafkaError._TIMED_OUT)  # noqa: SLF001 -- the client's name for it
    assert not retriable(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    assert not retriable(KafkaError.FENCED_INSTANCE_ID)


def test_an_invalid_argument_that_is_about_no_setting_is_no_configuration_error() -> None:
    translated = translate_client_error(KafkaError(KafkaError._INVALID_ARG, "offset out of bounds"))  # noqa: SLF001
    assert type(translated) is BrokerError
    translated = translate_client_error(KafkaError(KafkaError._INVALID_ARG, "Failed to create consumer: for no reason"))  # noqa: SLF001
    assert type(translated) is ConfigurationError
    assert "for no reason" in str(translated)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (RuntimeError("Consumer closed"), StateError),
        (TypeError("not a dict"), ConfigurationError),
        (OSError("disk"), BrokerError),
        (KafkaException("without a code"), BrokerError),
    ],
    ids=repr,
)
def test_whatever_else_the_client_raises_becomes_an_error_of_ours(
    raised: Exception, kind: type[PyrallelConsumerError]
) -> None:
    translated = translate_client_error(raised)
    assert type(translated) is kind
    assert str(raised) in str(translated)


def test_an_error_of_ours_is_left_as_it_is() -> None:
    ours = StateError("started twice")
    assert translate_client_error(ours) is ours
