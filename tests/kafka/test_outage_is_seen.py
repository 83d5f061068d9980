"""An idle consumer notices an outage of all brokers, killed or frozen, within 15 s, and also its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pyrallel_consumer import KafkaConfig, MetricsConfig, PyrallelConsumer, WorkItem
from tests.kafka.deadline import until, until_asked
from tests.kafka.readiness import reasons
from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import KafkaNode

NOTICED_SECONDS = 15.0


async def ignore(item: WorkItem) -> None:
    """A worker that is done at once."""


@pytest.mark.parametrize(
    ("how", "group_protocol"),
    [("killed", "classic"), ("killed", "consumer"), ("frozen", "consumer")],
    indirect=["group_protocol"],
)
async def test_a_total_outage_is_no_idle_consumer(
    kafka: KafkaCluster, kafka_node: KafkaNode, settings: Callable[..., KafkaConfig], how: str
) -> None:
    topic = kafka.new_topic(partitions=2)
    kafka.produce_numbered(topic, messages=100, keys=10)
    config = settings(kafka.new_group(), metrics=MetricsConfig(enabled=True, port=0))

    def lag() -> int | None:
        lags = consumer.get_metrics()["consumer_broker_lag"]
        return sum(lags.values()) if len(lags) == 2 else None

    async with PyrallelConsumer(config, ignore, topic) as consumer:
        await until(lambda: lag() == 0, "it is idle")
        assert await asyncio.to_thread(reasons, consumer) == []
        if how == "killed":
            await asyncio.to_thread(kafka_node.kill)
        else:
            kafka_node.freeze()
        await until_asked(
            lambda: reasons(consumer)[:1] == ["broker_unreachable"], "the outage is seen", NOTICED_SECONDS
        )
        assert consumer.get_metrics()["consumer_broker_connected"] == 0
        assert lag() is None
        if how == "killed":
            await asyncio.to_thread(kafka_node.start)
        else:
            kafka_node.thaw()
        await until_asked(lambda: reasons(consumer) == [], "its end is seen")
        kafka.produce_numbered(topic, messages=100, keys=10)
        await until(lambda: consumer.get_runtime_snapshot().processed >= 200, "it goes on")
        await until(lambda: lag() == 0, "the lag is known again")
