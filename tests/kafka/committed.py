"""The finished messages of a group's commits: below the committed offset, and above it in the map."""

from __future__ import annotations

from confluent_kafka import TopicPartition as Committed

from pyrallel_consumer.control_plane.offsets.commit_encoder import decode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from tests.kafka.history import Place
from tests.kafka_cluster import KafkaCluster


def map_of(committed: Committed) -> OffsetMap:
    """The map that a commit carries; one without metadata has an empty one."""
    return decode(committed.metadata, TopicPartition(committed.topic, committed.partition), committed.offset)


def committed_maps(kafka: KafkaCluster, group: str, topic: str) -> dict[int, OffsetMap]:
    """The map of each partition that has a commit."""
    return {partition: map_of(answer) for partition, answer in kafka.committed(group, topic).items()}


def committed_places(kafka: KafkaCluster, group: str, topic: str) -> set[Place]:
    """Every place that the group's next owners must not run again: the finished ones."""
    return {
        (topic, partition, offset)
        for partition, known in committed_maps(kafka, group, topic).items()
        for offset in set(range(known.top)) - set(known.unfinished)
    }
