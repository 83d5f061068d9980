"""The configurations of all clients: the producer's and admin's, and what the real clients take and refuse."""

from __future__ import annotations

import ctypes
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.ingress.client.client_settings import (
    admin_configuration,
    consumer_configuration,
    producer_configuration,
)
from tests.unit.ingress.client.mapped_settings import NOBODY_LISTENS, mapped, refusal_of

CONFIGURATIONS: dict[str, Callable[[KafkaConfig], dict[str, Any]]] = {
    "consumer": consumer_configuration,
    "producer": producer_configuration,
    "admin": admin_configuration,
}
CLIENTS: dict[str, Any] = {"consumer": Consumer, "producer": Producer, "admin": AdminClient}


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
