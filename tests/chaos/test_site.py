"""What a run does to its brokers beside breaking them."""

from __future__ import annotations

from contextlib import ExitStack

from confluent_kafka import TopicPartition

from tests.chaos.site import Site
from tests.kafka.conftest import skip_or_fail
from tests.kafka_jars import KafkaUnavailableError


def test_a_group_is_made_anew_with_its_offsets_and_maps() -> None:
    with ExitStack() as stack:
        site = Site(1)
        try:
            topics = site.open(stack)
        except KafkaUnavailableError as error:
            skip_or_fail(error)
        group = site.kafka.new_group()
        site.kafka.commit(group, [TopicPartition(topics.work, at, at, f"map of {at}") for at in range(3)])

        site.make_group_anew(group)

        kept = site.kafka.committed(group, topics.work)
        assert {at: (kept[at].offset, kept[at].metadata) for at in kept} == {
            at: (at, f"map of {at}") for at in range(3)
        }
        assert site.kafka_faults() == []
