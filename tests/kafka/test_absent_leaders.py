"""A partition whose only broker is away: the other partitions go on, and so does it once its broker is back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from pyrallel_consumer import KafkaConfig, PyrallelConsumer
from pyrallel_consumer.config.typed.choices import OffsetReset
from tests.kafka.conftest import skip_or_fail
from tests.kafka.deadline import until, wait_until
from tests.kafka.journal import Journal, journaling_worker
from tests.kafka_cluster import KafkaCluster
from tests.kafka_jars import KafkaUnavailableError
from tests.kafka_node import KafkaNode, Seat, free_port, new_identity

pytestmark = pytest.mark.xdist_group("absent leaders")  # two brokers for all of them

PARTITIONS, EACH = 4, 100
OFFLINE = 2
TIMEOUT_SECONDS = 30.0


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[tuple[KafkaCluster, KafkaNode]]:
    """A cluster, and the one of its two brokers that is neither coordinator nor controller."""
    identity, voters = new_identity(), {1: free_port()}
    first, second = (KafkaNode(seat=Seat(number, voters, identity)) for number in (1, 2))
    try:
        first.start()
        cluster = KafkaCluster(first.bootstrap_servers, first)
        # With the first commit the topic of the groups' offsets is made, all on the first node.
        cluster.commit("any", [ClientPartition(cluster.new_topic(), 0, 0)])
        second.start()
        yield cluster, second
    except KafkaUnavailableError as error:
        skip_or_fail(error)
    finally:
        second.close()
        first.close()


def spread_topic(kafka: KafkaCluster) -> str:
    """A topic of which one partition is on the second node, and the others on the first."""
    topic = kafka.new_name("spread")
    nodes = [[2] if partition == OFFLINE else [1] for partition in range(PARTITIONS)]
    created = NewTopic(topic, num_partitions=PARTITIONS, replica_assignment=nodes)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([created])[topic].result(TIMEOUT_SECONDS)
    wait_until(lambda: len(kafka.partitions(topic)) == PARTITIONS, "all partitions have leaders")
    for partition in range(PARTITIONS):
        kafka.produce_numbered(topic, messages=EACH, keys=10, partition=partition)
    return topic


@pytest.mark.parametrize(
    ("reset", "begin"),
    [("earliest", None), ("latest", 50)],
    ids=["a new group", "a group that has committed"],
)
async def test_one_partition_without_a_leader_stops_no_other_and_is_read_when_it_has_one(
    two_nodes: tuple[KafkaCluster, KafkaNode], journal: Journal, reset: OffsetReset, begin: int | None
) -> None:
    kafka, second = two_nodes
    await asyncio.to_thread(second.start)  # where a test before has failed while it was away
    topic, group = spread_topic(kafka), kafka.new_group()
    if begin is not None:
        kafka.commit(group, [ClientPartition(topic, partition, begin) for partition in range(PARTITIONS)])
    config = KafkaConfig(
        bootstrap_servers=kafka.bootstrap_servers, consumer_group=group, auto_offset_reset=reset, dlq_enabled=False
    )
    of_each = EACH - (begin or 0)
    second.kill()
    wait_until(lambda: OFFLINE not in kafka.partitions(topic), "the partition has lost its leader")

    async with PyrallelConsumer(config, journaling_worker(journal), topic) as consumer:
        await until(lambda: journal.finished == (PARTITIONS - 1) * of_each, "the other partitions are worked on")
        await until(
            lambda: len(consumer.get_runtime_snapshot().partitions) == PARTITIONS,
            "it waits with its partition assigned",
        )
        await asyncio.to_thread(second.start)
        await until(lambda: journal.finished == PARTITIONS * of_each, "so is the one whose broker was away")

    assert not journal.history().run_twice
    assert kafka.committed_offsets(group, topic) == dict.fromkeys(range(PARTITIONS), EACH)
