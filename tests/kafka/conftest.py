"""The real Apache Kafka of these tests: one node for the whole run, or the one that KAFKA_BOOTSTRAP_SERVERS names.

Where no broker can be had the tests are skipped with the reason; with PYRALLEL_REQUIRE_KAFKA set they fail instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.kafka_cluster import KafkaCluster
from tests.kafka_jars import KafkaUnavailableError
from tests.kafka_node import KafkaNode


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaCluster]:
    """A running Kafka with what tests ask of it beside the consumer under test."""
    elsewhere = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if elsewhere:
        cluster = KafkaCluster(elsewhere)
        yield cluster
        cluster.close()
        return
    node = KafkaNode()
    try:
        node.start()
    except KafkaUnavailableError as error:
        if os.environ.get("PYRALLEL_REQUIRE_KAFKA"):
            pytest.fail(f"PYRALLEL_REQUIRE_KAFKA is set, and: {error}")
        pytest.skip(str(error))
    try:
        yield KafkaCluster(node.bootstrap_servers, node)
    finally:
        node.close()


@pytest.fixture
def kafka_node(kafka: KafkaCluster) -> Iterator[KafkaNode]:
    """The node itself, to be stopped, killed or frozen by the test; it runs again when the test is over."""
    if kafka.node is None:
        pytest.skip("This test stops the broker, and the one of KAFKA_BOOTSTRAP_SERVERS is not ours to stop.")
    yield kafka.node
    kafka.node.thaw()
    kafka.node.start()
    kafka.node.wait_ready()
