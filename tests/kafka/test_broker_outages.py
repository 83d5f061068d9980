"""The broker goes away and comes back, or freezes, while a consumer runs or ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from pyrallel_consumer import ExecutionConfig, KafkaConfig, PyrallelConsumer, WorkItem
from tests.kafka.deadline import until, until_asked, wait_until
from tests.kafka.history import History, shown
from tests.kafka.journal import Journal, journaling_worker
from tests.kafka.plain_log import read_log
from tests.kafka.protocols import each_group_protocol
from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import KafkaNode

Settings = Callable[..., KafkaConfig]

# The drain, the last commits and the leave have five seconds each, and cancelled workers one.
STOP_BOUND_SECONDS = 20


async def run_through_an_outage(
    kafka: KafkaCluster, config: KafkaConfig, journal: Journal, leave: Callable[[], None]
) -> History:
    """Consumes while the broker leaves, comes back and is given more; returns what ran until all was committed."""
    group, topic = config.consumer_group, kafka.new_topic(partitions=4)
    kafka.produce_numbered(topic, messages=4_000, keys=50)

    def leave_and_come_back() -> None:
        leave()
        assert kafka.node is not None
        kafka.node.start()
        kafka.produce_numbered(topic, messages=1_000, keys=50)

    async with PyrallelConsumer(
        config, journaling_worker(journal, work_ms=5), topic, execution_config=ExecutionConfig(max_in_flight=20)
    ):
        await until(lambda: journal.finished >= 1_000, "a part was worked on")
        await asyncio.to_thread(leave_and_come_back)
        log = await asyncio.to_thread(read_log, kafka, topic)
        await until_asked(lambda: journal.history().finished == set(log), "all messages were worked on")
        await until_asked(
            lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic), "the commits reach the end"
        )
    assert len(log) == 5_000
    return journal.history()


@each_group_protocol
async def test_a_broker_that_restarts_within_the_session_makes_nothing_run_twice(
    kafka: KafkaCluster, kafka_node: KafkaNode, settings: Settings, journal: Journal
) -> None:
    history = await run_through_an_outage(kafka, settings(kafka.new_group()), journal, kafka_node.stop)

    assert not history.run_twice, shown(history.run_twice)
    assert history.order_violations() == []


async def test_a_broker_that_was_killed_and_away_for_longer_than_the_session_loses_nothing(
    kafka: KafkaCluster, kafka_node: KafkaNode, settings: Settings, journal: Journal
) -> None:
    config = settings(kafka.new_group(), session_timeout_ms=1500)

    history = await run_through_an_outage(kafka, config, journal, kafka_node.kill)

    assert history.order_violations() == []


async def test_a_stop_ends_within_its_bounds_though_the_broker_is_frozen(
    kafka: KafkaCluster, kafka_node: KafkaNode, settings: Settings, journal: Journal
) -> None:
    topic, group = kafka.new_topic(partitions=2), kafka.new_group()
    kafka.produce_numbered(topic, messages=1_000, keys=50)
    is_frozen = asyncio.Event()

    async def worker(item: WorkItem) -> None:
        with journal.run(item):
            if journal.finished >= 500:
                await is_frozen.wait()

    consumer = PyrallelConsumer(settings(group), worker, topic)
    await consumer.start()
    await until(lambda: journal.finished >= 500, "half was worked on")
    kafka_node.freeze()
    is_frozen.set()
    await asyncio.wait_for(consumer.stop(), STOP_BOUND_SECONDS)
    kafka_node.thaw()
    await asyncio.to_thread(
        wait_until, lambda: all(thread.name != "pyrallel-poller" for thread in threading.enumerate()), "the thread ends"
    )

    async with PyrallelConsumer(settings(group), journaling_worker(journal), topic):
        await until_asked(
            lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic), "the commits reach the end"
        )
    history = journal.history()
    assert history.finished == set(read_log(kafka, topic))
    assert history.order_violations() == []


@each_group_protocol
async def test_a_broker_that_froze_for_a_while_makes_nothing_run_twice(
    kafka: KafkaCluster, kafka_node: KafkaNode, settings: Settings, journal: Journal
) -> None:
    topic, group = kafka.new_topic(partitions=2), kafka.new_group()
    kafka.produce_numbered(topic, messages=2_000, keys=50)
    execution = ExecutionConfig(max_in_flight=20)

    async with PyrallelConsumer(
        settings(group), journaling_worker(journal, work_ms=5), topic, execution_config=execution
    ) as consumer:
        await until(lambda: journal.finished >= 200, "a part was worked on")
        kafka_node.freeze()
        await until(
            lambda: consumer.get_runtime_snapshot().broker_silent_seconds > 2, "a commit waits for the frozen broker"
        )
        kafka_node.thaw()
        await until_asked(
            lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic), "the commits reach the end"
        )

    history = journal.history()
    assert history.finished == set(read_log(kafka, topic))
    assert not history.run_twice, shown(history.run_twice)
