"""Logs with holes: compaction, transactions, and a beginning above zero. Commits go on, to the end of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from confluent_kafka import Producer

from pyrallel_consumer import KafkaConfig, PyrallelConsumer
from tests.kafka.deadline import until, until_asked, wait_until
from tests.kafka.history import shown
from tests.kafka.journal import Journal, journaling_worker
from tests.kafka.plain_log import read_log
from tests.kafka_cluster import TIMEOUT_SECONDS, KafkaCluster

Settings = Callable[..., KafkaConfig]


async def assert_all_that_is_left_runs_once_and_commits_reach_the_end(
    kafka: KafkaCluster, config: KafkaConfig, journal: Journal, topic: str
) -> None:
    """A log may shrink while it is consumed (the broker compacts when it likes).

    Records that were there before and still are afterwards must run. Records that were there only before may run.
    """
    group, before = config.consumer_group, await asyncio.to_thread(read_log, kafka, topic)
    async with PyrallelConsumer(config, journaling_worker(journal, work_ms=1), topic):
        await until_asked(
            lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic), "the commits reach the end"
        )
    after = await asyncio.to_thread(read_log, kafka, topic)
    history = journal.history()
    done = {run.place: (run.key, run.value) for run in history}
    assert after.items() <= done.items() <= before.items()
    assert not history.run_twice, shown(history.run_twice)
    assert history.order_violations() == []


async def test_a_compacted_topic_is_read_to_its_end_tombstones_included(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    compacting = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
    topic = kafka.new_topic(config=compacting)
    kafka.produce(topic, ((b"%d" % (number % 7), b"%d" % number) for number in range(500)))

    def is_compacted() -> bool:
        # The segment that is written to is never compacted: a new message lets the next one begin.
        kafka.produce(topic, [(b"tombstone", None)])
        return len(read_log(kafka, topic)) < 100

    await until_asked(is_compacted, "the broker has compacted the topic")

    await assert_all_that_is_left_runs_once_and_commits_reach_the_end(
        kafka, settings(kafka.new_group()), journal, topic
    )


async def test_aborted_transactions_and_trailing_markers_hold_no_commit_back(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    topic = kafka.new_topic(partitions=2)
    for number, commits in enumerate([True, False, True, False, False]):
        produce_transaction(kafka, topic, number, commits=commits)
    config = settings(kafka.new_group())

    assert kafka.end_offsets(topic) == {0: 105, 1: 105}
    await assert_all_that_is_left_runs_once_and_commits_reach_the_end(kafka, config, journal, topic)
    assert journal.finished == 80


async def test_markers_that_come_while_nothing_else_does_are_committed_too(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    topic, group = kafka.new_topic(partitions=2), kafka.new_group()
    produce_transaction(kafka, topic, 0, commits=True)

    async with PyrallelConsumer(settings(group), journaling_worker(journal), topic):
        await until(lambda: journal.finished == 40, "the first transaction was worked on")
        await asyncio.to_thread(produce_transaction, kafka, topic, 1, commits=False)
        await until_asked(
            lambda: kafka.committed_offsets(group, topic) == {0: 42, 1: 42}, "the commits pass the aborted transaction"
        )

    assert journal.finished == 40


async def test_a_commit_past_a_log_of_holes_alone_carries_its_leader_epoch(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    topic, group = kafka.new_topic(partitions=2), kafka.new_group()
    produce_transaction(kafka, topic, 0, commits=False)

    async with PyrallelConsumer(settings(group), journaling_worker(journal), topic):
        await until_asked(
            lambda: kafka.committed_offsets(group, topic) == {0: 21, 1: 21}, "the commits pass the aborted transaction"
        )

    assert {at: answer.leader_epoch for at, answer in kafka.committed(group, topic).items()} == {0: 0, 1: 0}


async def test_a_new_group_on_a_log_that_begins_above_zero_runs_what_is_left_and_commits(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    topic = kafka.new_topic(partitions=2)
    for partition in (0, 1):
        kafka.produce_numbered(topic, messages=100, keys=10, partition=partition)
    kafka.delete_records(topic, {0: 60, 1: 100})

    await assert_all_that_is_left_runs_once_and_commits_reach_the_end(
        kafka, settings(kafka.new_group()), journal, topic
    )
    assert journal.finished == 40


async def test_a_group_whose_offset_was_deleted_with_the_log_goes_on_where_the_log_begins(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    topic, group = kafka.new_topic(), kafka.new_group()
    kafka.produce_numbered(topic, messages=20, keys=5)
    async with PyrallelConsumer(settings(group), journaling_worker(journal), topic):
        await until(lambda: journal.finished == 20, "the first messages were worked on")
    kafka.produce_numbered(topic, messages=100, keys=5)
    kafka.delete_records(topic, {0: 70})
    wait_until(lambda: len(read_log(kafka, topic)) == 50, "the log begins at 70")

    async with PyrallelConsumer(settings(group), journaling_worker(journal), topic):
        await until(lambda: journal.finished == 70, "what is left was worked on")

    assert {offset for _, _, offset in journal.history().finished} == {*range(20), *range(70, 120)}
    assert kafka.committed_offsets(group, topic) == {0: 120}


def produce_transaction(kafka: KafkaCluster, topic: str, number: int, *, commits: bool) -> None:
    """20 messages to each of two partitions, in one transaction of its own, which ends with a marker in each."""
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": f"{topic}-{number}", "linger.ms": 5}
    )
    producer.init_transactions(TIMEOUT_SECONDS)
    producer.begin_transaction()
    for message in range(20):
        for partition in (0, 1):
            producer.produce(topic, b"%d-%d" % (number, message), b"key-%d" % (message % 3), partition)
    producer.flush(TIMEOUT_SECONDS)  # aborted or not, the messages are in the log
    if commits:
        producer.commit_transaction(TIMEOUT_SECONDS)
    else:
        producer.abort_transaction(TIMEOUT_SECONDS)
