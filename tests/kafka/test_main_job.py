"""The main job on one consumer: every message once, in the order of its key, committed to the end of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import islice

from pyrallel_consumer import ExecutionConfig, KafkaConfig, PyrallelConsumer, WorkItem
from tests.kafka.deadline import until, until_asked
from tests.kafka.history import shown
from tests.kafka.journal import Journal, journaling_worker
from tests.kafka.plain_log import read_log
from tests.kafka_cluster import KafkaCluster, Record, numbered_records

MESSAGES = 200_000


def records(messages: int, keys: int) -> list[Record]:
    """Numbered messages of which every tenth has no key, and every 97th no value."""
    made = list(islice(numbered_records(messages, keys), messages))
    made[::10] = [(None, value) for _, value in made[::10]]
    made[::97] = [(key, None) for key, _ in made[::97]]
    return made


def worked_on(journal: Journal, messages: int) -> bool:
    return journal.finished >= messages


async def test_200_000_messages_run_once_in_the_order_of_their_key_and_are_committed_to_the_end(
    kafka: KafkaCluster, settings: Callable[..., KafkaConfig], journal: Journal
) -> None:
    topic, group = kafka.new_topic(partitions=8), kafka.new_group()
    kafka.produce(topic, records(MESSAGES, keys=999))

    async with PyrallelConsumer(settings(group), journaling_worker(journal), topic) as consumer:
        await until(lambda: journal.finished >= MESSAGES, "all messages were worked on")
        await until_asked(
            lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic), "the commits reach the end"
        )

    history = journal.history()
    assert {run.place: (run.key, run.value) for run in history} == read_log(kafka, topic)
    assert not history.run_twice, shown(history.run_twice)
    assert history.order_violations() == []
    assert consumer.get_runtime_snapshot().processed == MESSAGES


async def test_workers_of_one_partition_run_at_once_and_yet_in_the_order_of_their_key(
    kafka: KafkaCluster, settings: Callable[..., KafkaConfig], journal: Journal
) -> None:
    topic, group = kafka.new_topic(), kafka.new_group()
    kafka.produce_numbered(topic, messages=400, keys=100)
    all_keys_run = asyncio.Event()

    async def worker(item: WorkItem) -> None:
        with journal.run(item):
            if journal.started == 100:
                all_keys_run.set()
            await all_keys_run.wait()

    async with PyrallelConsumer(settings(group), worker, topic):
        await until(lambda: journal.finished == 400, "all messages were worked on")

    assert journal.history().order_violations() == []
    assert kafka.committed_offsets(group, topic) == {0: 400}


async def test_a_stop_in_the_midst_commits_what_is_done_and_a_successor_runs_the_rest_once(
    kafka: KafkaCluster, settings: Callable[..., KafkaConfig], journal: Journal
) -> None:
    topic, group = kafka.new_topic(partitions=4), kafka.new_group()
    kafka.produce_numbered(topic, messages=4_000, keys=200)
    worker = journaling_worker(journal, work_ms=5)
    execution = ExecutionConfig(max_in_flight=64)

    while journal.finished < 4_000:
        goal = min(journal.finished + 1_500, 4_000)
        async with PyrallelConsumer(settings(group), worker, topic, execution_config=execution):
            await until(partial(worked_on, journal, goal), f"{goal} messages were worked on")

    history = journal.history()
    assert history.finished == set(read_log(kafka, topic))
    assert not history.run_twice, shown(history.run_twice)
    assert history.order_violations() == []
    assert kafka.committed_offsets(group, topic) == kafka.end_offsets(topic)
