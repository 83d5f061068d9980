"""The real Apache Kafka of these tests: one node for the whole run, or the one that KAFKA_BOOTSTRAP_SERVERS names.

Where no broker can be had the tests are skipped with the reason; with PYRALLEL_REQUIRE_KAFKA set they fail instead.
PYRALLEL_GROUP_PROTOCOL (classic or consumer) is what members speak in tests that leave it open: with both values every
test has run under both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pyrallel_consumer import KafkaConfig
from tests.kafka.consumer_process import ConsumerProcess
from tests.kafka.journal import Journal
from tests.kafka_cluster import KafkaCluster
from tests.kafka_jars import KafkaUnavailableError
from tests.kafka_node import KafkaNode, Listener


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaCluster]:
    """A running Kafka with what tests ask of it beside the consumer under test."""
    elsewhere = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if elsewhere:
        cluster = KafkaCluster(elsewhere)
        yield cluster
        cluster.close()
        return
    yield from node_or_skip({})


def node_or_skip(settings: dict[str, str], listeners: dict[str, Listener] | None = None) -> Iterator[KafkaCluster]:
    """A node of our own with these broker settings beside the usual ones, for as long as the fixture lives."""
    node = KafkaNode(settings, listeners=listeners)
    try:
        node.start()
    except KafkaUnavailableError as error:
        skip_or_fail(error)
    cluster = KafkaCluster(node.bootstrap_servers, node)
    try:
        yield cluster
    finally:
        cluster.close()
        node.close()


def skip_or_fail(error: KafkaUnavailableError) -> NoReturn:
    """Ends a test for which no Kafka can be had."""
    if os.environ.get("PYRALLEL_REQUIRE_KAFKA"):
        pytest.fail(f"PYRALLEL_REQUIRE_KAFKA is set, and: {error}")
    pytest.skip(str(error))


@pytest.fixture
def kafka_node(kafka: KafkaCluster) -> Iterator[KafkaNode]:
    """The node itself, to be stopped, killed or frozen by the test; it runs again when the test is over."""
    if kafka.node is None:
        pytest.skip("This test stops the broker, and the one of KAFKA_BOOTSTRAP_SERVERS is not ours to stop.")
    yield kafka.node
    kafka.node.thaw()
    kafka.node.start()
    kafka.node.wait_ready()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """The journal of a worker that runs in the test's own process."""
    journal = Journal(tmp_path, "here")
    yield journal
    journal.close()


@pytest.fixture
def group_protocol(request: pytest.FixtureRequest) -> str:
    """The protocol of the test's groups: what ``each_group_protocol`` says, else what the library takes by itself."""
    return getattr(request, "param", os.environ.get("PYRALLEL_GROUP_PROTOCOL", "auto"))


def to_kafka(ours: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The arguments of KafkaConfig; a test whose client's mapping names a protocol, or an assignor, has chosen."""
    if {"group.protocol", "partition.assignment.strategy"} & values.get("librdkafka", {}).keys():
        ours = ours | {"group_protocol": "auto"}
    return ours | values


@pytest.fixture
def settings(kafka: KafkaCluster, group_protocol: str) -> Callable[..., KafkaConfig]:
    """Makes the configuration of a consumer of the given group; further arguments are KafkaConfig's."""

    def make(group: str, **values: Any) -> KafkaConfig:
        ours = {"bootstrap_servers": kafka.bootstrap_servers, "group_protocol": group_protocol}
        return KafkaConfig(consumer_group=group, **to_kafka(ours, values))

    return make


@pytest.fixture
def start_member(kafka: KafkaCluster, group_protocol: str, tmp_path: Path) -> Iterator[Callable[..., ConsumerProcess]]:
    """Starts a member of a group in a process of its own; further arguments are ConsumerProcess's.

    ``kafka`` adds to the arguments of KafkaConfig. Without ``each_group_protocol`` members speak classic, because of
    their short session. Whoever is left when the test is over is killed.
    """
    with ExitStack() as processes:

        def start(name: str, topic: Any, group: str, **values: Any) -> ConsumerProcess:
            ours = {
                "bootstrap_servers": kafka.bootstrap_servers,
                "consumer_group": group,
                "group_protocol": group_protocol,
                # Heartbeats once a second: members hear of a rebalance that soon.
                "session_timeout_ms": 6000,
            }
            settings = to_kafka(ours, values.pop("kafka", {}))
            return processes.enter_context(ConsumerProcess(tmp_path, name, topic, settings, **values))

        yield start
