"""Commit metadata as a group may hold it: another program's, damaged, too new, copied, or as much as fits."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer import ExecutionConfig, KafkaConfig, ParallelConsumerConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.control_plane.offsets.commit_encoder import METADATA_LIMIT_BYTES, encode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from tests.kafka.committed import committed_maps, committed_places
from tests.kafka.deadline import until, until_asked
from tests.kafka.history import shown
from tests.kafka.journal import Journal, journaling_worker
from tests.kafka.protocols import each_group_protocol
from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import KafkaNode

Settings = Callable[..., KafkaConfig]

MESSAGES = 100
COMMITTED = 10
DONE_TO = 50
UNFINISHED = (10, 20, 30)


def map_of(topic: str, partition: int = 0, base: int = COMMITTED, top: int = DONE_TO) -> str:
    return encode(OffsetMap(base, top, UNFINISHED), TopicPartition(topic, partition))


def damaged(metadata: str) -> str:
    middle = len(metadata) // 2
    return metadata[:middle] + ("A" if metadata[middle] != "A" else "B") + metadata[middle + 1 :]


BAD_METADATA: dict[str, Callable[[str], str]] = {
    "another program's": lambda _topic: '{"owner": "another program", "host": "böse"}',
    "corrupt": lambda topic: damaged(map_of(topic)),
    "cut short": lambda topic: map_of(topic)[:-4],
    "of a newer version": lambda topic: map_of(topic).replace("/1/", "/3/"),
    "of another partition": lambda topic: map_of(topic, partition=1),
    "of another topic": lambda topic: map_of(f"not-{topic}"),
    "past the end of the log": lambda topic: map_of(topic, top=MESSAGES + 1),
    "as long as the broker takes": lambda _topic: "m" * 4_095,
}


async def run_to_the_end(kafka: KafkaCluster, config: KafkaConfig, journal: Journal, topic: str) -> set[int]:
    """Consumes until the last message is done and stops; returns the offsets that ran, once each."""
    async with PyrallelConsumer(config, journaling_worker(journal), topic):
        await until(lambda: (topic, 0, MESSAGES - 1) in journal.history().finished, "the last message was worked on")
    assert kafka.committed_offsets(config.consumer_group, topic) == {0: MESSAGES}
    history = journal.history()
    assert not history.run_twice, shown(history.run_twice)
    return {offset for _, _, offset in history.finished}


def warnings_about_offsets(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The poll thread's warnings, without those about missing dead-letter topics."""
    return [record.getMessage() for record in caplog.records if record.name == "pyrallel_consumer.ingress"]


@pytest.mark.parametrize("bad", BAD_METADATA.values(), ids=BAD_METADATA.keys())
async def test_metadata_that_is_no_map_for_this_place_is_ignored_with_one_warning_and_nothing_is_lost(
    kafka: KafkaCluster,
    settings: Settings,
    journal: Journal,
    caplog: pytest.LogCaptureFixture,
    bad: Callable[[str], str],
) -> None:
    topic, group = kafka.new_topic(), kafka.new_group()
    kafka.produce_numbered(topic, messages=MESSAGES, keys=5)
    kafka.commit(group, [ClientPartition(topic, 0, COMMITTED, bad(topic))])

    with caplog.at_level(logging.WARNING, logger="pyrallel_consumer"):
        ran = await run_to_the_end(kafka, settings(group), journal, topic)

    assert ran == set(range(COMMITTED, MESSAGES))
    warnings = warnings_about_offsets(caplog)
    assert len(warnings) == 1
    assert f"commit metadata of {TopicPartition(topic, 0)} is ignored" in warnings[0]


@each_group_protocol
async def test_a_map_that_fits_is_believed(
    kafka: KafkaCluster, settings: Settings, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    topic, group = kafka.new_topic(), kafka.new_group()
    kafka.produce_numbered(topic, messages=MESSAGES, keys=5)
    kafka.commit(group, [ClientPartition(topic, 0, COMMITTED, map_of(topic))])

    with caplog.at_level(logging.WARNING, logger="pyrallel_consumer"):
        ran = await run_to_the_end(kafka, settings(group), journal, topic)

    assert ran == {*UNFINISHED, *range(DONE_TO, MESSAGES)}
    assert warnings_about_offsets(caplog) == []


@each_group_protocol
async def test_what_lies_above_the_messages_read_so_far_stays_in_the_map(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    topic, group = kafka.new_topic(), kafka.new_group()
    kafka.produce_numbered(topic, messages=MESSAGES, keys=5)
    kafka.commit(group, [ClientPartition(topic, 0, COMMITTED, map_of(topic))])
    finishes_the_first = journaling_worker(journal, never_finish=[(0, offset) for offset in UNFINISHED[1:]])
    reads_no_further_than_it_must = settings(group, parallel_consumer=ParallelConsumerConfig(queue_max_messages=1))
    impatient = ExecutionConfig(shutdown_drain_timeout_ms=0)

    async with PyrallelConsumer(reads_no_further_than_it_must, finishes_the_first, topic, execution_config=impatient):
        await until(lambda: journal.started == 2, "the second message was started")

    assert journal.finished == 1
    assert committed_maps(kafka, group, topic) == {0: OffsetMap(UNFINISHED[1], DONE_TO, UNFINISHED[1:])}


@each_group_protocol
async def test_thousands_of_gaps_fill_the_metadata_and_commits_go_on(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    messages = 40_000
    topic, group = kafka.new_topic(), kafka.new_group()
    kafka.produce_numbered(topic, messages=messages, keys=messages)
    held_back = {offset for offset in range(messages) if random.Random(offset).random() < 0.25}
    released = asyncio.Event()

    async def worker(item: WorkItem) -> None:
        with journal.run(item):
            if item.offset in held_back and not released.is_set():
                await released.wait()

    config = settings(
        group, parallel_consumer=ParallelConsumerConfig(queue_max_messages=2 * messages, commit_interval_ms=200)
    )
    execution = ExecutionConfig(max_in_flight=messages, task_timeout_ms=0)
    lowest = min(held_back)

    def is_full() -> bool:
        answer = kafka.committed(group, topic).get(0)
        return answer is not None and len(answer.metadata or "") > METADATA_LIMIT_BYTES * 0.9

    async with PyrallelConsumer(config, worker, topic, execution_config=execution) as consumer:
        await until(lambda: journal.finished == messages - len(held_back), "all that is not held back was worked on")
        await until_asked(is_full, "the metadata is as full as it may be")
        done = await asyncio.to_thread(committed_places, kafka, group, topic)
        assert not done & {(topic, 0, offset) for offset in held_back}
        assert kafka.committed_offsets(group, topic) == {0: lowest}
        released.set()
        await until_asked(
            lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic), "the commits reach the end"
        )
        assert consumer.get_runtime_snapshot().commit_failures == 0

    history = journal.history()
    assert len(history.finished) == messages
    assert not history.run_twice


async def test_a_broker_that_takes_less_metadata_gets_less_and_commits_go_on(tmp_path: Path) -> None:
    with KafkaNode({"offset.metadata.max.bytes": "100"}) as node:
        kafka = KafkaCluster(node.bootstrap_servers, node)
        topic, group = kafka.new_topic(partitions=2), kafka.new_group()
        for partition in (0, 1):
            kafka.produce_numbered(topic, messages=1_000, keys=1_000, partition=partition)
        released = asyncio.Event()
        journal = Journal(tmp_path, "here")

        async def worker(item: WorkItem) -> None:
            with journal.run(item):
                if item.partition == 0 and item.offset > 0 and random.Random(item.offset).random() < 0.5:
                    await released.wait()

        config = KafkaConfig(
            bootstrap_servers=kafka.bootstrap_servers,
            consumer_group=group,
            parallel_consumer=ParallelConsumerConfig(commit_interval_ms=100),
        )
        async with PyrallelConsumer(config, worker, topic) as consumer:
            await until_asked(lambda: kafka.committed_offsets(group, topic).get(1) == 1_000, "the other is committed")
            await until_asked(lambda: kafka.committed_offsets(group, topic).get(0, 0) > 0, "the held one is committed")
            await until(lambda: consumer.get_runtime_snapshot().commit_failures > 0, "the refusal is in the picture")
            released.set()
            await until_asked(lambda: kafka.committed_offsets(group, topic) == {0: 1_000, 1: 1_000}, "all is committed")
        journal.close()


async def test_a_map_of_a_log_that_was_cut_and_has_grown_again_is_believed_below_the_cut_only(
    kafka: KafkaCluster, kafka_node: KafkaNode, settings: Settings, journal: Journal
) -> None:
    topic, group = kafka.new_topic(), kafka.new_group()
    for _ in range(6):
        kafka.produce_numbered(topic, messages=10, keys=5)
    await finish_all_but_the_first(kafka, settings, group, journal, topic)

    kafka_node.kill()
    kafka_node.cut_log(topic, 0, 40)
    kafka_node.start()
    assert kafka.end_offsets(topic) == {0: 40}
    kafka.produce_numbered(topic, messages=60, keys=5)
    ran = await run_to_the_end(kafka, settings(group), second(journal), topic)

    assert ran == {0, *range(40, MESSAGES)}


async def test_after_a_clean_change_of_the_leader_a_map_is_kept(
    kafka: KafkaCluster, kafka_node: KafkaNode, settings: Settings, journal: Journal
) -> None:
    topic, group = kafka.new_topic(), kafka.new_group()
    kafka.produce_numbered(topic, messages=60, keys=5)
    await finish_all_but_the_first(kafka, settings, group, journal, topic)

    kafka_node.restart()
    kafka.produce_numbered(topic, messages=40, keys=5)
    ran = await run_to_the_end(kafka, settings(group), second(journal), topic)

    assert ran == {0, *range(60, MESSAGES)}


async def finish_all_but_the_first(
    kafka: KafkaCluster, settings: Settings, group: str, journal: Journal, topic: str
) -> None:
    """Leaves a commit whose map holds 60 messages, of which the first one is unfinished."""
    impatient = ExecutionConfig(shutdown_drain_timeout_ms=0)
    worker = journaling_worker(journal, never_finish=[(0, 0)])
    unordered = ParallelConsumerConfig(ordering_mode="unordered")  # the first message holds back no other of its key
    config = settings(group, parallel_consumer=unordered)
    async with PyrallelConsumer(config, worker, topic, execution_config=impatient):
        await until(lambda: journal.finished == 59, "all others were worked on")
    [known] = committed_maps(kafka, group, topic).values()
    assert (known.base, known.top, known.unfinished) == (0, 60, (0,))
    assert known.leader_epoch is not None


def second(journal: Journal) -> Journal:
    return Journal(journal.folder, "second")
