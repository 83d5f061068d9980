"""TLS, mutual TLS, SASL and access rights against a real broker, and no secret in any output of the library."""

from __future__ import annotations

import asyncio
import logging
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from pyrallel_consumer import BrokerError, ExecutionConfig, KafkaConfig, PyrallelConsumer, PyrallelConsumerError
from tests.kafka.certificates import Authority
from tests.kafka.conftest import node_or_skip
from tests.kafka.deadline import until_asked, wait_until
from tests.kafka.guarantees import GUARANTEES, Guarantee, NothingTwiceWhenGraceful, broken
from tests.kafka.journal import read_journals
from tests.kafka.ledger import read_ledger
from tests.kafka.load import Load
from tests.kafka.told_worker import ALWAYS, told, told_worker
from tests.kafka_cluster import KafkaCluster, Record
from tests.kafka_node import Listener, free_port

pytestmark = pytest.mark.xdist_group("security")

CANARY = "canary-7c31d9"
"""A text within every secret of these tests, which no output of the library may contain."""
PASSWORD, SCRAM_PASSWORD, KEY_PASSWORD = f"{CANARY}-plain", f"{CANARY}-scram", f"{CANARY}-key"
REAUTHENTICATION_MS = 1_500
MODULES = "org.apache.kafka.common.security"
WAYS = ("TLS", "MTLS", "PLAIN", "SCRAM", "OAUTH")
ONCE = ExecutionConfig(max_retries=2, retry_backoff_ms=20, retry_jitter_ms=0)


class Secured(NamedTuple):
    """A broker with a listener for each kind of authentication."""

    kafka: KafkaCluster
    ports: dict[str, int]
    folder: Path
    authority: Authority

    def settings(self, way: str) -> dict[str, Any]:
        """Arguments of KafkaConfig."""
        certificate, key = self.folder / "client.crt", self.folder / "client.key"
        sasl = {"security_protocol": "SASL_SSL"}
        ways: dict[str, dict[str, Any]] = {
            "TLS": {"security_protocol": "SSL"},
            "MTLS": {
                "security_protocol": "SSL",
                "ssl_certificate_location": str(certificate),
                "ssl_key_location": str(key),
                "ssl_key_password": KEY_PASSWORD,
            },
            "PLAIN": sasl | {"sasl_mechanisms": "PLAIN", "sasl_username": "alice", "sasl_password": PASSWORD},
            "SCRAM": sasl
            | {"sasl_mechanisms": "SCRAM-SHA-512", "sasl_username": "carol", "sasl_password": SCRAM_PASSWORD},
            "OAUTH": sasl
            | {
                "sasl_mechanisms": "OAUTHBEARER",
                "librdkafka": {
                    "enable.sasl.oauthbearer.unsecure.jwt": True,
                    "sasl.oauthbearer.config": f"principal=dora scope={CANARY}",
                },
            },
        }
        return {
            "bootstrap_servers": f"127.0.0.1:{self.ports[way]}",
            "ssl_ca_location": str(self.authority.certificate),
            **ways[way],
        }

    def config(self, way: str, group: str, **values: Any) -> KafkaConfig:
        return KafkaConfig(consumer_group=group, **(self.settings(way) | values))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("security")
    authority = Authority(folder)
    authority.issue("client", key_password=KEY_PASSWORD)
    ports = {way: free_port() for way in WAYS}
    protocols = {"TLS": "SSL", "MTLS": "SSL"}
    users = f'user_alice="{PASSWORD}" user_bob="{PASSWORD}"'
    settings = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(authority.key_store("broker")),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.certificate),
        "listener.name.mtls.ssl.client.auth": "required",
        "listener.name.plain.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.oauth.sasl.enabled.mechanisms": "OAUTHBEARER",
        "listener.name.plain.plain.sasl.jaas.config": f"{MODULES}.plain.PlainLoginModule required {users};",
        "listener.name.plain.plain.connections.max.reauth.ms": str(REAUTHENTICATION_MS),
        "listener.name.scram.scram-sha-512.sasl.jaas.config": f"{MODULES}.scram.ScramLoginModule required;",
        "listener.name.scram.scram-sha-512.connections.max.reauth.ms": str(REAUTHENTICATION_MS),
        "listener.name.oauth.oauthbearer.sasl.jaas.config": (
            f'{MODULES}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
        ),
        "listener.name.oauth.oauthbearer.connections.max.reauth.ms": str(REAUTHENTICATION_MS),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "allow.everyone.if.no.acl.found": "true",
    }
    listeners = {way: Listener(port, port, protocols.get(way, "SASL_SSL")) for way, port in ports.items()}
    for kafka in node_or_skip(settings, listeners):
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        credential = UserScramCredentialUpsertion(
            "carol", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), SCRAM_PASSWORD.encode()
        )
        for answer in admin.alter_user_scram_credentials([credential]).values():
            answer.result(30)
        yield Secured(kafka, ports, folder, authority)


def record(number: int) -> Record:
    return b"key-%d" % (number % 20), told(number, "fail", ALWAYS) if number % 50 == 9 else told(number)


def new_topic(kafka: KafkaCluster) -> str:
    topic = kafka.new_topic(partitions=2)
    kafka.new_topic(name=f"{topic}.dlq")
    return topic


def assert_kept(
    kafka: KafkaCluster, topic: str, group: str, folder: Path, promised: tuple[Guarantee, ...] = GUARANTEES
) -> None:
    ledger = read_ledger(kafka, topic, group, read_journals(folder), [], dlq_topic=f"{topic}.dlq", max_attempts=2)
    assert ledger.letters
    assert broken(ledger, promised) == {}


def is_committed(kafka: KafkaCluster, topic: str, group: str) -> Callable[[], bool]:
    return lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic)


async def pages(address: tuple[str, int]) -> str:
    """Everything that the endpoint serves."""

    def asked(path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://{address[0]}:{address[1]}{path}") as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return str(error.read().decode())

    paths = ("/", "/metrics", "/snapshot.json", "/livez", "/readyz", "/no-such-page")
    return "\n".join([await asyncio.to_thread(asked, path) for path in paths])


@pytest.mark.parametrize("way", WAYS)
async def test_messages_and_letters_come_and_go_by_each_way_and_nothing_tells_a_secret(
    secured: Secured, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], way: str
) -> None:
    kafka, group = secured.kafka, secured.kafka.new_group()
    topic, port = new_topic(kafka), free_port()
    caplog.set_level(logging.DEBUG)
    config = secured.config(way, group, metrics={"enabled": True, "port": port})
    worker = told_worker(ONCE.mode, tmp_path, "member", 2)
    consumer = PyrallelConsumer(config, worker, topic, execution_config=ONCE)
    said = [repr(config), str(config), repr(consumer), repr(config.model_dump()), config.model_dump_json()]

    async with consumer:
        with Load(kafka, topic, per_second=60, record=record):
            # Longer than several sessions of a connection, each of which begins with authentication.
            await asyncio.to_thread(read_until, tmp_path, 250)
        await until_asked(is_committed(kafka, topic, group), "the commits reach the end")
        said += [repr(consumer.get_runtime_snapshot()), repr(consumer.get_metrics())]
        said.append(await pages(("127.0.0.1", port)))

    assert_kept(kafka, topic, group, tmp_path)
    captured = capfd.readouterr()
    told_of = "\n".join([*said, caplog.text, captured.out, captured.err])
    assert CANARY not in told_of, [line for line in told_of.splitlines() if CANARY in line][:3]


def read_until(folder: Path, runs: int) -> None:
    wait_until(lambda: len(read_journals(folder).finished) >= runs, f"{runs} messages were worked on")


WRONG: dict[str, tuple[str, Callable[[Secured], dict[str, Any]], str]] = {
    "a wrong password": ("PLAIN", lambda _: {"sasl_password": f"{CANARY}-wrong"}, "sasl_password"),
    "a wrong password, SCRAM": ("SCRAM", lambda _: {"sasl_password": f"{CANARY}-wrong"}, "sasl_password"),
    "an authority that is not trusted": (
        "TLS",
        lambda secured: {"ssl_ca_location": str(Authority(secured.folder, "stranger").certificate)},
        "ssl_ca_location",
    ),
    "no certificate": (
        "MTLS",
        lambda _: {"ssl_certificate_location": None, "ssl_key_location": None, "ssl_key_password": None},
        "ssl",
    ),
    "a wrong password of the key": ("MTLS", lambda _: {"ssl_key_password": f"{CANARY}-wrong"}, "ssl_key"),
    "no TLS": ("TLS", lambda _: {"security_protocol": "PLAINTEXT", "ssl_ca_location": None}, "security_protocol"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_an_error_that_names_the_setting_and_tells_no_secret(
    secured: Secured,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    case: str,
) -> None:
    way, wrong, named = WRONG[case]
    caplog.set_level(logging.DEBUG)
    config = secured.config(way, secured.kafka.new_group(), **wrong(secured))
    worker = told_worker(ONCE.mode, tmp_path, "member", 0)

    with pytest.raises(PyrallelConsumerError) as raised:
        async with asyncio.timeout(60), PyrallelConsumer(config, worker, new_topic(secured.kafka)) as consumer:
            await consumer.wait_closed()

    assert named in str(raised.value).lower(), str(raised.value)
    told_of = "".join(traceback.format_exception(raised.value)) + caplog.text
    assert CANARY not in told_of


async def test_rights_that_are_taken_away_end_it_with_what_to_grant_and_then_nothing_is_lost(
    secured: Secured, tmp_path: Path
) -> None:
    kafka, group = secured.kafka, secured.kafka.new_group()
    topic = new_topic(kafka)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    may_read = AclBinding(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        "User:bob",
        "*",
        AclOperation.READ,
        AclPermissionType.ALLOW,
    )
    only_others = AclBinding(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        "User:nobody",
        "*",
        AclOperation.READ,
        AclPermissionType.ALLOW,
    )

    only_bobs = AclBindingFilter(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        "User:bob",
        "*",
        AclOperation.READ,
        AclPermissionType.ALLOW,
    )

    def allow(binding: AclBinding) -> None:
        for answer in admin.create_acls([binding]).values():
            answer.result(30)

    def forbid() -> None:
        allow(only_others)
        for answer in admin.delete_acls([only_bobs]).values():
            answer.result(30)

    await asyncio.to_thread(allow, may_read)
    config = secured.config("PLAIN", group, sasl_username="bob")
    worker = told_worker(ONCE.mode, tmp_path, "before", 2)
    with Load(kafka, topic, per_second=60, record=record):
        consumer = PyrallelConsumer(config, worker, topic, execution_config=ONCE)
        await consumer.start()
        await asyncio.to_thread(read_until, tmp_path, 50)
        await asyncio.to_thread(forbid)
        with pytest.raises(BrokerError, match="grant this user READ") as raised:
            await consumer.wait_closed()
        assert raised.value.code == "TOPIC_AUTHORIZATION_FAILED"
        await asyncio.to_thread(allow, may_read)
        done = len(read_journals(tmp_path).finished)
        worker = told_worker(ONCE.mode, tmp_path, "after", 2)
        consumer = PyrallelConsumer(config, worker, topic, execution_config=ONCE)
        await consumer.start()
        await asyncio.to_thread(read_until, tmp_path, done + 50)
    await until_asked(is_committed(kafka, topic, group), "the commits reach the end")
    await consumer.stop()

    # Its last commits were refused, too.
    but_repetitions = tuple(each for each in GUARANTEES if not isinstance(each, NothingTwiceWhenGraceful))
    assert_kept(kafka, topic, group, tmp_path, but_repetitions)
