"""Exactly once on a real Kafka: a reader of committed records finds each message's records once, in key order."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pyrallel_consumer import (
    BrokerError,
    ExecutionConfig,
    KafkaConfig,
    MetricsConfig,
    OutputConfig,
    PyrallelConsumer,
    Record,
    WorkItem,
)
from pyrallel_consumer.cli.check.output import transactions_checked
from pyrallel_consumer.cli.check.table import Verdict
from tests.chaos.kafka_faults import apart, unmarked_places
from tests.kafka.deadline import until_asked, wait_until
from tests.kafka.protocols import each_group_protocol
from tests.kafka.readiness import reasons
from tests.kafka.recording_process import RecordingProcess
from tests.kafka.told_records import read_written, record_of
from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import KafkaNode
from tests.letter_box import read_letters

Settings = Callable[..., KafkaConfig]
StartRecorder = Callable[..., RecordingProcess]

PARTITIONS = 4
MESSAGES = 4_000
KEYS = 50
ONCE = OutputConfig(delivery="exactly_once")
QUICK = {"commit_interval_ms": 100}
FROZEN_SECONDS = 5.0
"""Longer than the 3 s after which the coordinator aborts a recorder's transaction, shorter than its session."""


class Topics:
    """A source filled with numbered messages, a target, and the group that reads the one and writes the other."""

    def __init__(self, kafka: KafkaCluster, messages: int = MESSAGES, **target: Any) -> None:
        self.kafka = kafka
        self.source = kafka.new_topic(partitions=PARTITIONS)
        self.target = kafka.new_topic(partitions=3, **target)
        kafka.new_topic(partitions=1, name=f"{self.source}.dlq")
        self.group = kafka.new_group()
        self.messages = messages
        kafka.produce_numbered(self.source, messages, KEYS)

    @property
    def letters(self) -> list[tuple[int, int]]:
        """Partition and offset of each message that was dead-lettered."""
        found = read_letters(self.kafka.bootstrap_servers, f"{self.source}.dlq")
        return [(partition, offset) for _, partition, offset in (letter.source for letter in found)]

    def is_done(self) -> bool:
        return self.kafka.committed_offsets(self.group, self.source) == self.kafka.end_offsets(self.source)

    def written(self, broken: KafkaNode | None = None) -> dict[bytes | None, list[tuple[int, int]]]:
        """By key: partition and offset of the message of each record that a reader of committed records finds.

        ``broken`` is a broker that was away: what it committed by its own fault (KAFKA-20734) is left out.
        """
        records = read_written(self.kafka.bootstrap_servers, self.target)
        if broken is not None:
            unmarked = unmarked_places([broken.data], self.target, self.kafka.partitions(self.target))
            records, _ = apart(records, unmarked)
        found = defaultdict(list)
        for record in records:
            _, partition, offset = record.place
            found[record.key].append((partition, offset))
        return found

    def assert_written_once_in_order(
        self, *, but: tuple[tuple[int, int], ...] = (), broken: KafkaNode | None = None
    ) -> None:
        written = self.written(broken)
        counts = Counter(place for places in written.values() for place in places)
        assert [place for place, count in counts.items() if count > 1] == []
        ends = self.kafka.end_offsets(self.source)
        expected = {(partition, offset) for partition, end in ends.items() for offset in range(end)} - set(but)
        assert len(expected) == self.messages - len(but)
        assert set(counts) == expected
        for places in written.values():
            for partition in range(PARTITIONS):
                offsets = [offset for its, offset in places if its == partition]
                assert offsets == sorted(offsets)


@pytest.fixture
def start_recorder(kafka: KafkaCluster, group_protocol: str, tmp_path: Path) -> Iterator[StartRecorder]:
    """Starts a member that writes exactly once, in a process of its own."""
    with ExitStack() as processes:

        def start(name: str, topics: Topics, *, work_ms: int = 20, **values: Any) -> RecordingProcess:
            settings = {
                "bootstrap_servers": kafka.bootstrap_servers,
                "consumer_group": topics.group,
                "group_protocol": group_protocol,
                "session_timeout_ms": 6000,
                "parallel_consumer": QUICK,
            }
            output = {"delivery": "exactly_once", "transaction_timeout_ms": 3000} | values.pop("output", {})
            kafka_settings = settings | values
            return processes.enter_context(
                RecordingProcess(
                    tmp_path,
                    name,
                    (topics.source, topics.target),
                    kafka=kafka_settings,
                    output=output,
                    work_ms=work_ms,
                )
            )

        yield start


def consumer_of(settings: Settings, topics: Topics, worker: Callable[..., Any], **execution: Any) -> PyrallelConsumer:
    return PyrallelConsumer(
        settings(topics.group, parallel_consumer=QUICK, metrics=MetricsConfig(enabled=True, port=0)),
        worker,
        topics.source,
        execution_config=ExecutionConfig(retry_backoff_ms=10, retry_jitter_ms=0, **execution),
        output=ONCE,
    )


@each_group_protocol
async def test_what_finishes_out_of_order_is_written_once_in_the_order_of_keys(
    kafka: KafkaCluster, settings: Settings
) -> None:
    topics = Topics(kafka)

    async def worker(item: WorkItem) -> Record | None:
        await asyncio.sleep(random.random() * 0.01)
        return record_of(item, topics.target)

    async with consumer_of(settings, topics, worker):
        await until_asked(topics.is_done, "the commits reach the end")

    topics.assert_written_once_in_order()


async def test_messages_without_records_and_letters_go_through_transactions_too(
    kafka: KafkaCluster, settings: Settings
) -> None:
    topics = Topics(kafka, 400)

    async def worker(item: WorkItem) -> Record | None:
        if item.offset % 10 == 3:
            raise ValueError("invalid data")
        return record_of(item, topics.target) if item.offset % 2 else None

    async with consumer_of(settings, topics, worker, max_retries=2):
        await until_asked(topics.is_done, "the commits reach the end")

    letters = topics.letters
    assert len(letters) == len(set(letters))
    assert all(offset % 10 == 3 for _, offset in letters)
    counts = Counter(place for places in topics.written().values() for place in places)
    ends = kafka.end_offsets(topics.source)
    expected = {(p, o) for p, end in ends.items() for o in range(end) if o % 2 and o % 10 != 3}
    assert set(counts) == expected
    assert set(counts.values()) == {1}
    assert set(letters) == {(p, o) for p, end in ends.items() for o in range(end) if o % 10 == 3}


async def test_a_record_that_the_broker_refuses_fails_its_message_and_no_other(
    kafka: KafkaCluster, settings: Settings
) -> None:
    topics = Topics(kafka, 600, config={"max.message.bytes": "3000"})
    bad = (2, 17)
    attempts: Counter[tuple[int, int]] = Counter()

    async def worker(item: WorkItem) -> Record:
        attempts[item.partition, item.offset] += 1
        made = record_of(item, topics.target)
        return made._replace(value=random.randbytes(5000)) if (item.partition, item.offset) == bad else made

    async with consumer_of(settings, topics, worker, max_retries=2):
        await until_asked(topics.is_done, "the commits reach the end")

    assert topics.letters == [bad]
    assert set(attempts.values()) == {1}
    topics.assert_written_once_in_order(but=(bad,))


async def test_records_for_a_topic_that_is_not_there_fail_their_messages_and_no_others(
    kafka: KafkaCluster, settings: Settings
) -> None:
    topics = Topics(kafka, 300)
    bad = tuple((1, offset) for offset in range(10, 15))

    async def worker(item: WorkItem) -> Record:
        made = record_of(item, topics.target)
        return made._replace(topic="there-is-no-such-topic") if (item.partition, item.offset) in bad else made

    async with consumer_of(settings, topics, worker):
        await until_asked(topics.is_done, "the commits reach the end")

    assert sorted(topics.letters) == list(bad)
    topics.assert_written_once_in_order(but=bad)


async def test_records_of_batches_are_written_once_although_messages_of_a_batch_fail_or_its_call_does(
    kafka: KafkaCluster, settings: Settings
) -> None:
    topics = Topics(kafka)
    bad = (2, 17)

    async def worker(items: list[WorkItem]) -> list[Record | ValueError]:
        await asyncio.sleep(random.random() * 0.01)
        if any((item.partition, item.offset) == bad for item in items):
            raise ValueError("one of them is poison")
        return [
            ValueError("not yet") if item.offset % 9 == 0 and item.attempt == 1 else record_of(item, topics.target)
            for item in items
        ]

    async with consumer_of(settings, topics, worker, max_retries=2, batch_size=50):
        await until_asked(topics.is_done, "the commits reach the end")

    assert topics.letters == [bad]
    topics.assert_written_once_in_order(but=(bad,))


async def test_only_the_partition_whose_former_owner_left_a_transaction_open_waits_and_readyz_says_so(
    kafka: KafkaCluster, settings: Settings
) -> None:
    topics = Topics(kafka, 400)

    async def worker(item: WorkItem) -> Record:
        return record_of(item, topics.target)

    def done(consumer: PyrallelConsumer) -> set[int]:
        ends = kafka.end_offsets(topics.source)
        committed = {each.tp.partition: each.committed_offset for each in consumer.get_runtime_snapshot().partitions}
        return {partition for partition, offset in committed.items() if offset == ends[partition]}

    consumer = consumer_of(settings, topics, worker)
    with kafka.open_offsets(topics.group, topics.source, 2):
        await consumer.start()
        await until_asked(lambda: done(consumer) == {0, 1, 3}, "the others are done")
        await until_asked(lambda: "transaction_open" in reasons(consumer), "what waits is told")
        [(tp, seconds)] = consumer.get_runtime_snapshot().waiting_starts
        assert (tp.partition, seconds > 5) == (2, True)
    await until_asked(topics.is_done, "the commits reach the end")
    await until_asked(lambda: "transaction_open" not in reasons(consumer), "nothing waits any more")
    await consumer.stop()

    topics.assert_written_once_in_order()


def test_a_check_tells_whether_the_broker_takes_the_transactional_id(kafka: KafkaCluster, settings: Settings) -> None:
    config = settings(kafka.new_group())

    [finding] = transactions_checked(config, ONCE)
    assert (finding.verdict, config.consumer_group in finding.text) == (Verdict.OK, True)

    [finding] = transactions_checked(config, OutputConfig(delivery="exactly_once", transaction_timeout_ms=900_000))
    assert finding.verdict is Verdict.OK
    assert transactions_checked(config, OutputConfig()) == []
    config.bootstrap_servers = ["127.0.0.1:1"]
    [finding] = transactions_checked(config, ONCE)
    assert finding.verdict is Verdict.FAILED


@each_group_protocol
def test_members_that_are_killed_and_started_again_write_nothing_twice(
    kafka: KafkaCluster, start_recorder: StartRecorder
) -> None:
    topics = Topics(kafka)
    members = [start_recorder(f"first-{number}", topics) for number in range(2)]
    for generation in range(3):
        enough = generation * MESSAGES // 6
        wait_until(lambda enough=enough: _committed(topics) > enough, "some is committed")  # type: ignore[misc]
        members[generation % 2].kill()
        members[generation % 2] = start_recorder(f"again-{generation}", topics)
    wait_until(topics.is_done, "the commits reach the end")

    assert [member.stop() for member in members] == [0, 0]
    topics.assert_written_once_in_order()


@each_group_protocol
def test_partitions_that_go_while_workers_are_busy_are_written_once(
    kafka: KafkaCluster, start_recorder: StartRecorder
) -> None:
    topics = Topics(kafka)
    first = start_recorder("first", topics, work_ms=60)
    wait_until(lambda: _committed(topics) > 100, "some is committed")
    second = start_recorder("second", topics, work_ms=60)
    wait_until(lambda: "assigned" in second.log, "the second has partitions")
    assert first.stop() == 0
    third = start_recorder("third", topics, work_ms=60)
    wait_until(lambda: "consuming" in third.log, "the third has joined")
    wait_until(topics.is_done, "the commits reach the end")

    assert [second.stop(), third.stop()] == [0, 0]
    topics.assert_written_once_in_order()


def test_a_static_member_fences_its_predecessor_at_once(kafka: KafkaCluster, start_recorder: StartRecorder) -> None:
    topics = Topics(kafka)
    static = {"librdkafka": {"group.instance.id": "the-one"}}
    member = start_recorder("killed", topics, **static)
    wait_until(lambda: _committed(topics) > 100, "some is committed")
    member.kill()
    member = start_recorder("restarted", topics, **static)
    wait_until(topics.is_done, "the commits reach the end")

    assert member.stop() == 0
    topics.assert_written_once_in_order()


def test_a_broker_that_stands_still_for_longer_than_a_transaction_lasts_has_nothing_written_twice(
    kafka: KafkaCluster, kafka_node: KafkaNode, start_recorder: StartRecorder
) -> None:
    """When it goes on it aborts the open transaction, and the producer then believes that it was fenced."""
    topics = Topics(kafka)
    member = start_recorder("member", topics, work_ms=40)
    wait_until(lambda: _committed(topics) > 100, "some is committed")
    kafka_node.freeze()
    thaw_at = time.monotonic() + FROZEN_SECONDS
    wait_until(lambda: time.monotonic() > thaw_at, "the transaction has timed out")
    kafka_node.thaw()
    wait_until(topics.is_done, "the commits reach the end")

    assert member.stop() == 0
    topics.assert_written_once_in_order(broken=kafka_node)


async def test_two_consumers_with_one_transactional_id_end_by_its_name(kafka: KafkaCluster, settings: Settings) -> None:
    every = [Topics(kafka, 400), Topics(kafka, 400)]
    output = OutputConfig(delivery="exactly_once", transactional_id_prefix=kafka.new_group())

    def consumer(topics: Topics) -> PyrallelConsumer:
        async def worker(item: WorkItem) -> Record:
            await asyncio.sleep(0.05)
            return record_of(item, topics.target)

        config = settings(
            topics.group,
            parallel_consumer=QUICK,
            librdkafka={"group.instance.id": "the-one"},
        )
        execution = ExecutionConfig(max_in_flight=2)
        return PyrallelConsumer(config, worker, topics.source, execution_config=execution, output=output)

    first, second = map(consumer, every)
    await first.start()
    await second.start()
    ended, _ = await asyncio.wait(
        [asyncio.create_task(each.wait_closed()) for each in (first, second)],
        return_when=asyncio.FIRST_COMPLETED,
        timeout=60,
    )
    error = next(iter(ended)).exception()
    await asyncio.gather(first.abort(), second.abort(), return_exceptions=True)

    assert isinstance(error, BrokerError)
    assert f"{output.transactional_id_prefix}-the-one" in str(error)
    for topics in every:
        counts = Counter(place for places in topics.written().values() for place in places)
        assert set(counts.values()) <= {1}


def test_a_broker_that_is_killed_has_nothing_written_twice(
    kafka: KafkaCluster, kafka_node: KafkaNode, start_recorder: StartRecorder
) -> None:
    topics = Topics(kafka)
    member = start_recorder("member", topics)
    wait_until(lambda: _committed(topics) > 200, "some is committed")
    kafka_node.kill()
    kafka_node.start()
    kafka_node.wait_ready()
    wait_until(topics.is_done, "the commits reach the end")

    assert member.stop() == 0
    topics.assert_written_once_in_order(broken=kafka_node)


def _committed(topics: Topics) -> int:
    return sum(max(0, offset) for offset in topics.kafka.committed_offsets(topics.group, topics.source).values())
