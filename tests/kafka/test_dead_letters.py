"""Dead letters on a real Kafka: whatever happens to topic, broker or consumer, each arrives at least once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from pyrallel_consumer import ExecutionConfig, KafkaConfig, MetricsConfig, PyrallelConsumer, WorkItem
from tests.kafka.consumer_process import ConsumerProcess
from tests.kafka.deadline import until, until_asked, wait_until
from tests.kafka.history import Place
from tests.kafka.journal import Journal, journaling_worker
from tests.kafka.readiness import reasons
from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import KafkaNode
from tests.letter_box import FoundLetter, read_letters

Settings = Callable[..., KafkaConfig]
StartMember = Callable[..., ConsumerProcess]

MESSAGES = 1_000
FAILS_EVERY = 10
DAY_MS = 86_400_000
ONCE = ExecutionConfig(max_retries=1)
# The client itself tries for 30 s before it reports: here an outage is to be noticed sooner.
IMPATIENT = {"message.timeout.ms": 1000, "reconnect.backoff.max.ms": 500}


def new_topic(kafka: KafkaCluster, dlq_config: dict[str, str] | None = None) -> str:
    topic = kafka.new_topic(partitions=2)
    kafka.new_topic(partitions=2, config=dlq_config, name=f"{topic}.dlq")
    return topic


def produced(kafka: KafkaCluster, topic: str) -> set[Place]:
    """Fills both partitions, each message of a key of its own; returns the places that will fail."""
    for partition in (0, 1):
        kafka.produce(topic, ((b"%d" % at, b"value") for at in range(MESSAGES // 2)), partition=partition)
    return {(topic, partition, at) for partition in (0, 1) for at in range(0, MESSAGES // 2, FAILS_EVERY)}


def letters_of(kafka: KafkaCluster, topic: str) -> list[FoundLetter]:
    return read_letters(kafka.bootstrap_servers, f"{topic}.dlq")


def sources(letters: list[FoundLetter]) -> set[Place]:
    return {letter.source for letter in letters}


def failing_worker(journal: Journal) -> Callable[..., Any]:
    return journaling_worker(journal, fails_every=FAILS_EVERY)


async def until_committed(kafka: KafkaCluster, group: str, topic: str) -> None:
    await until_asked(
        lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic), "the commits reach the end"
    )


async def test_letters_arrive_once_their_topic_is_there_again(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    topic, group = new_topic(kafka), kafka.new_group()
    first = produced(kafka, topic)
    config = settings(group, librdkafka=IMPATIENT)

    async with PyrallelConsumer(config, failing_worker(journal), topic, execution_config=ONCE) as consumer:
        await until_committed(kafka, group, topic)
        before = await asyncio.to_thread(letters_of, kafka, topic)
        await asyncio.to_thread(kafka.delete_topic, f"{topic}.dlq")
        again = await asyncio.to_thread(produced, kafka, topic)
        await until(lambda: consumer.get_runtime_snapshot().dead_letters.is_failing, "letters fail")
        await until(lambda: journal.finished == 2 * (MESSAGES - len(first)), "all others are worked on")
        assert consumer.get_runtime_snapshot().held == len(again)
        await asyncio.to_thread(kafka.new_topic, 1, name=f"{topic}.dlq")
        await until_committed(kafka, group, topic)

    assert sources(before) == first
    later = {(topic, partition, offset + MESSAGES // 2) for topic, partition, offset in again}
    assert sources(letters_of(kafka, topic)) == later


async def test_it_is_ready_again_when_the_partitions_whose_letters_were_refused_are_gone(
    kafka: KafkaCluster, settings: Settings
) -> None:
    healthy, failing = kafka.new_topic(), kafka.new_topic()
    kafka.produce(failing, [(b"key", b"value")])
    # A member of a classic group keeps the partitions of a deleted topic for minutes, as its client does.
    config = settings(
        kafka.new_group(),
        group_protocol="consumer",
        librdkafka=IMPATIENT,
        metrics=MetricsConfig(enabled=True, port=0),
    )

    async def worker(item: WorkItem) -> None:
        raise ValueError("invalid data")

    async with PyrallelConsumer(config, worker, [healthy, failing], execution_config=ONCE) as consumer:
        await until_asked(lambda: reasons(consumer) == ["dead_letters_refused"], "the letter is refused")
        assert consumer.get_metrics()["consumer_dlq_failing"] == 1
        await asyncio.to_thread(kafka.delete_topic, failing)
        await until_asked(lambda: reasons(consumer) == [], "it is ready with the topic that is left")
        assert consumer.get_metrics()["consumer_dlq_failing"] == 0
        assert {each.tp.topic for each in consumer.get_runtime_snapshot().partitions} == {healthy}


async def test_letters_arrive_once_the_broker_is_back(
    kafka: KafkaCluster, kafka_node: KafkaNode, settings: Settings, journal: Journal
) -> None:
    topic, group = new_topic(kafka), kafka.new_group()
    failing = produced(kafka, topic)
    is_away = asyncio.Event()
    worker = failing_worker(journal)

    async def held_up(item: Any) -> None:
        await is_away.wait()
        await worker(item)

    config = settings(group, librdkafka=IMPATIENT)
    async with PyrallelConsumer(config, held_up, topic, execution_config=ONCE) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().in_flight == MESSAGES, "all is read and running")
        await asyncio.to_thread(kafka_node.stop)
        is_away.set()
        await until(lambda: bool(consumer.get_runtime_snapshot().dead_letters.failures), "letters fail")
        assert journal.finished == MESSAGES - len(failing)
        await asyncio.to_thread(kafka_node.start)
        await until_committed(kafka, group, topic)

    assert sources(letters_of(kafka, topic)) == failing


def test_a_kill_between_acknowledgement_and_commit_costs_a_second_letter_and_never_one(
    kafka: KafkaCluster, start_member: StartMember
) -> None:
    topic, group = new_topic(kafka), kafka.new_group()
    failing = produced(kafka, topic)
    # A gap in time of half the session, two seconds at most, would have it commit at once: to confirm its membership.
    never_commits = {"parallel_consumer": {"commit_interval_ms": 600_000}, "session_timeout_ms": 4000}
    # The interval begins with the first tick, which commits all messages done by then: none in the first second.
    doomed = start_member(
        "doomed",
        topic,
        group,
        kafka=never_commits,
        execution={"max_retries": 1},
        fails_every=FAILS_EVERY,
        work_ms=1000,
    )
    wait_until(lambda: sources(letters_of(kafka, topic)) == failing, "all letters of the first are there")
    doomed.kill()
    assert set(kafka.committed_offsets(group, topic).values()) <= {0}

    heir = start_member("heir", topic, group, execution={"max_retries": 1}, fails_every=FAILS_EVERY)
    wait_until(lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic), "the commits reach the end")
    heir.stop()

    counted = Counter(letter.source for letter in letters_of(kafka, topic))
    assert set(counted) == failing
    assert set(counted.values()) == {2}


async def test_letters_of_old_messages_outlive_the_retention_that_deletes_a_record_as_old_as_they(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    topic, group = kafka.new_topic(config={"retention.ms": "-1"}), kafka.new_group()
    kafka.new_topic(name=f"{topic}.dlq")  # Kafka's own retention: 7 days
    control = kafka.new_topic()
    month_ago_ms = int(time.time() * 1000) - 30 * DAY_MS
    for name, count in ((topic, FAILS_EVERY + 1), (control, 1)):
        kafka.produce(name, ((b"%d" % at, b"value") for at in range(count)), timestamp=month_ago_ms)

    async with PyrallelConsumer(settings(group), failing_worker(journal), topic, execution_config=ONCE):
        await until_committed(kafka, group, topic)
    await until_asked(lambda: kafka.log_starts(control) == {0: 1}, "retention has deleted the record of the same age")

    letters = letters_of(kafka, topic)
    assert [letter.source[2] for letter in letters] == [0, FAILS_EVERY]
    assert {letter.ours["x-original-timestamp"] for letter in letters} == {str(month_ago_ms)}
    assert min(letter.timestamp for letter in letters) > month_ago_ms + 29 * DAY_MS


async def test_a_keyless_letter_holds_no_other_back_where_its_topic_is_compacted_and_arrives_itself(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    topic, group = new_topic(kafka, {"cleanup.policy": "compact"}), kafka.new_group()
    every = 4 * FAILS_EVERY
    kafka.produce(topic, ((b"%d" % at if at % every else None, b"%d" % at) for at in range(400)), partition=0)

    async with PyrallelConsumer(settings(group), failing_worker(journal), topic, execution_config=ONCE):
        await until_committed(kafka, group, topic)

    letters = {letter.source[2]: letter for letter in letters_of(kafka, topic)}
    assert sorted(letters) == list(range(0, 400, FAILS_EVERY))
    for offset, letter in letters.items():
        is_keyless = offset % every == 0
        assert letter.key == (f"{topic}-0-{offset}".encode() if is_keyless else b"%d" % offset)
        assert (letter.value, letter.ours.get("x-key-added")) == (b"%d" % offset, "key" if is_keyless else None)
        assert "x-payload-omitted" not in letter.ours


async def test_what_is_too_large_alone_carries_no_payload_and_what_was_so_in_a_batch_carries_all(
    kafka: KafkaCluster, settings: Settings, journal: Journal
) -> None:
    topic, group = new_topic(kafka, {"max.message.bytes": "2000"}), kafka.new_group()
    sizes = [5000 if at == 20 else 700 for at in range(41)]
    kafka.produce(topic, ((b"%d" % at, b"x" * size) for at, size in enumerate(sizes)), partition=0)

    async with PyrallelConsumer(settings(group), failing_worker(journal), topic, execution_config=ONCE):
        await until_committed(kafka, group, topic)

    letters = sorted(letters_of(kafka, topic), key=lambda letter: letter.source)
    assert [letter.source[2] for letter in letters] == [0, 10, 20, 30, 40]
    assert [len(letter.value or b"") for letter in letters] == [700, 700, 0, 700, 700]
    assert letters[2].key is None
    assert [letter.ours.get("x-payload-omitted") for letter in letters if letter.value is None] == [
        "message too large: 5002 bytes"
    ]
