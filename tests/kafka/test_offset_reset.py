"""Groups without a committed offset: where they begin, and that their messages are not lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition as ClientPartition

from pyrallel_consumer import BrokerError, ExecutionConfig, KafkaConfig, PyrallelConsumer
from pyrallel_consumer.control_plane.offsets.commit_encoder import encode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from tests.kafka.consumer_process import ConsumerProcess
from tests.kafka.deadline import until, until_asked
from tests.kafka.journal import Journal, journaling_worker, read_journals
from tests.kafka.protocols import each_group_protocol
from tests.kafka_cluster import KafkaCluster

pytestmark = each_group_protocol

Settings = Callable[..., KafkaConfig]

OLD_MESSAGES = 100
NEW_MESSAGES = 50
EVERY_NEW_OFFSET = [(0, offset) for offset in range(OLD_MESSAGES, OLD_MESSAGES + NEW_MESSAGES)]


async def test_a_latest_group_that_hands_over_before_its_first_success_loses_nothing_since_its_first_assignment(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    topic, config = kafka.new_topic(), settings(kafka.new_group(), auto_offset_reset="latest")
    kafka.produce_numbered(topic, messages=OLD_MESSAGES, keys=5)
    stuck = journaling_worker(journal, never_finish=EVERY_NEW_OFFSET)
    impatient = ExecutionConfig(shutdown_drain_timeout_ms=0)

    async with PyrallelConsumer(config, stuck, topic, execution_config=impatient) as consumer:
        await until(lambda: len(consumer.get_runtime_snapshot().partitions) == 1, "the partition is assigned")
        kafka.produce_numbered(topic, messages=NEW_MESSAGES, keys=5)
        await until(lambda: journal.started > 0, "a message was started")
    async with PyrallelConsumer(config, journaling_worker(journal), topic):
        await until(lambda: journal.finished == NEW_MESSAGES, "the new messages were worked on")

    history = journal.history()
    assert history.finished == {(topic, partition, offset) for partition, offset in EVERY_NEW_OFFSET}
    assert history.order_violations() == []
    assert kafka.committed_offsets(config.consumer_group, topic) == {0: OLD_MESSAGES + NEW_MESSAGES}


def test_a_latest_group_whose_first_member_is_killed_at_once_loses_nothing_since_its_first_assignment(
    kafka: KafkaCluster, start_member: Callable[..., ConsumerProcess], tmp_path: Path
) -> None:
    topic, group = kafka.new_topic(), kafka.new_group()
    kafka.produce_numbered(topic, messages=OLD_MESSAGES, keys=5)
    latest = {"kafka": {"auto_offset_reset": "latest", "session_timeout_ms": 1000}}

    doomed = start_member("doomed", topic, group, **latest, never_finish=EVERY_NEW_OFFSET)
    doomed.wait_logged("assigned")
    doomed.kill()
    kafka.produce_numbered(topic, messages=NEW_MESSAGES, keys=5)
    heir = start_member("heir", topic, group, **latest)
    heir.wait_finished(NEW_MESSAGES)
    heir.stop()

    assert read_journals(tmp_path).finished == {(topic, partition, offset) for partition, offset in EVERY_NEW_OFFSET}
    assert kafka.committed_offsets(group, topic) == {0: OLD_MESSAGES + NEW_MESSAGES}


async def test_a_group_without_an_offset_and_without_a_reset_fails_with_a_sentence_that_says_what_to_do(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    topic = kafka.new_topic()
    kafka.produce_numbered(topic, messages=OLD_MESSAGES, keys=5)
    config = settings(kafka.new_group(), auto_offset_reset="none")
    consumer = PyrallelConsumer(config, journaling_worker(journal), topic)

    await consumer.start()

    sentence = f"no committed offset for {topic}.*commit an offset.*or set auto_offset_reset"
    with pytest.raises(BrokerError, match=sentence) as raised:
        await consumer.wait_closed()
    assert raised.value.code == "_AUTO_OFFSET_RESET"
    with pytest.raises(BrokerError, match=sentence):
        await consumer.stop()
    assert journal.started == 0
    assert kafka.committed_offsets(config.consumer_group, topic) == {}


async def test_a_log_that_lost_the_committed_offset_fails_a_consumer_without_a_reset(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    topic, config = kafka.new_topic(), settings(kafka.new_group(), auto_offset_reset="earliest")
    kafka.produce_numbered(topic, messages=OLD_MESSAGES, keys=5)
    async with PyrallelConsumer(config, journaling_worker(journal), topic):
        await until_asked(
            lambda: kafka.committed_offsets(config.consumer_group, topic) == {0: OLD_MESSAGES}, "the end is committed"
        )
    kafka.produce_numbered(topic, messages=OLD_MESSAGES, keys=5)
    kafka.delete_records(topic, {0: OLD_MESSAGES + 50})

    config.auto_offset_reset = "none"
    consumer = PyrallelConsumer(config, journaling_worker(journal), topic)
    await consumer.start()

    with pytest.raises(BrokerError):
        await consumer.wait_closed()
    assert journal.finished == OLD_MESSAGES
    assert kafka.committed_offsets(config.consumer_group, topic) == {0: OLD_MESSAGES}


@pytest.mark.parametrize(("reset", "low"), [("latest", 50), ("latest", OLD_MESSAGES), ("earliest", OLD_MESSAGES)])
async def test_a_quiet_group_whose_offset_retention_deleted_loses_nothing_that_is_produced_while_it_is_down(
    kafka: KafkaCluster, settings: Settings, journal: Journal, reset: str, low: int
) -> None:
    topic, config = kafka.new_topic(), settings(kafka.new_group(), auto_offset_reset=reset)
    kafka.produce_numbered(topic, messages=OLD_MESSAGES, keys=5)
    kafka.commit(config.consumer_group, [ClientPartition(topic, 0, 10)])
    kafka.delete_records(topic, {0: low})

    async with PyrallelConsumer(config, journaling_worker(journal), topic) as consumer:
        await until_asked(
            lambda: kafka.committed_offsets(config.consumer_group, topic) == {0: OLD_MESSAGES}, "the start is committed"
        )
        await until(lambda: _lags(consumer) == [0], "nothing is behind")
    kafka.produce_numbered(topic, messages=NEW_MESSAGES, keys=5)
    async with PyrallelConsumer(config, journaling_worker(journal), topic):
        await until(lambda: journal.finished == NEW_MESSAGES, "the new messages were worked on")

    assert journal.history().finished == {(topic, partition, offset) for partition, offset in EVERY_NEW_OFFSET}


@pytest.mark.parametrize(("reset", "expected"), [("latest", range(100, 150)), ("earliest", range(150))])
async def test_a_group_whose_offset_is_beyond_the_log_begins_at_the_end_that_it_names(
    kafka: KafkaCluster, settings: Settings, journal: Journal, reset: str, expected: range
) -> None:
    topic, config = kafka.new_topic(), settings(kafka.new_group(), auto_offset_reset=reset)
    kafka.produce_numbered(topic, messages=OLD_MESSAGES, keys=5)
    kafka.commit(config.consumer_group, [ClientPartition(topic, 0, 5_000)])

    async with PyrallelConsumer(config, journaling_worker(journal), topic) as consumer:
        await until(lambda: len(consumer.get_runtime_snapshot().partitions) == 1, "the partition is assigned")
        kafka.produce_numbered(topic, messages=NEW_MESSAGES, keys=5)
        await until(lambda: journal.finished == len(expected), "all of them were worked on")

    assert journal.history().finished == {(topic, 0, offset) for offset in expected}
    assert kafka.committed_offsets(config.consumer_group, topic) == {0: OLD_MESSAGES + NEW_MESSAGES}


async def test_what_retention_left_of_a_map_is_not_run_again(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    topic, config = kafka.new_topic(), settings(kafka.new_group(), auto_offset_reset="earliest")
    kafka.produce_numbered(topic, messages=OLD_MESSAGES, keys=5)
    known = encode(OffsetMap(10, 90, (10, 70)), TopicPartition(topic, 0))
    kafka.commit(config.consumer_group, [ClientPartition(topic, 0, 10, known)])
    kafka.delete_records(topic, {0: 60})

    async with PyrallelConsumer(config, journaling_worker(journal), topic):
        await until(lambda: journal.finished == 11, "what was left was worked on")

    assert {offset for _, _, offset in journal.history().finished} == {70, *range(90, OLD_MESSAGES)}


async def test_an_offset_beyond_an_open_transaction_is_no_offset_beyond_the_log(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    """Commits as a member that had read uncommitted records."""
    topic, config = kafka.new_topic(), settings(kafka.new_group(), auto_offset_reset="earliest")
    kafka.produce_numbered(topic, messages=OLD_MESSAGES, keys=5)
    with kafka.open_transaction(topic, messages=10):
        kafka.commit(config.consumer_group, [ClientPartition(topic, 0, OLD_MESSAGES + 5)])
        async with PyrallelConsumer(config, journaling_worker(journal), topic) as consumer:
            await until(lambda: len(consumer.get_runtime_snapshot().partitions) == 1, "the partition is assigned")
            [partition] = consumer.get_runtime_snapshot().partitions
            assert partition.committed_offset == OLD_MESSAGES + 5

    assert journal.started == 0


def _lags(consumer: PyrallelConsumer) -> list[int]:
    ends = consumer.get_metrics()["log_end_offsets"]
    return [ends.get(each.tp, -1) - each.committed_offset for each in consumer.get_runtime_snapshot().partitions]
