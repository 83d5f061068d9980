"""Batches on a real Kafka: poison messages, members that join and leave meanwhile, and an orderly stop."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable

from pyrallel_consumer import ExecutionConfig, KafkaConfig, PyrallelConsumer, WorkItem
from tests.kafka.deadline import until, until_asked
from tests.kafka.protocols import each_group_protocol
from tests.kafka_cluster import KafkaCluster
from tests.letter_box import read_letters

Settings = Callable[..., KafkaConfig]

PARTITIONS = 6
MESSAGES = 12_000
KEYS = 300
POISON_EVERY = 1500


class Inserts:
    """A minimal database: a call inserts all of its messages, or raises and inserts none."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int]] = []
        self.by_key: dict[bytes | None, list[bytes]] = defaultdict(list)
        self.attempts: Counter[tuple[int, int]] = Counter()
        self.largest = 0

    async def __call__(self, items: list[WorkItem]) -> None:
        self.largest = max(self.largest, len(items))
        await asyncio.sleep(0.02)
        for item in items:
            self.attempts[item.partition, item.offset] = max(item.attempt, self.attempts[item.partition, item.offset])
        if any(item.payload == b"poison" for item in items):
            raise ValueError("one of the rows is not valid")
        for item in items:
            self.rows.append((item.partition, item.offset))
            self.by_key[item.key].append(item.payload or b"")


def records() -> list[tuple[bytes, bytes]]:
    """Messages numbered by key; some are poison, each under a key of its own."""
    return [
        (b"poison-%d" % n, b"poison") if n % POISON_EVERY == 700 else (b"key-%d" % (n % KEYS), b"%08d" % n)
        for n in range(MESSAGES)
    ]


async def test_batches_with_poison_survive_joins_leaves_and_stops_in_order_and_charge_nobody_else(
    kafka: KafkaCluster, settings: Settings
) -> None:
    topic, group = kafka.new_topic(partitions=PARTITIONS), kafka.new_group()
    kafka.new_topic(partitions=PARTITIONS, name=f"{topic}.dlq")
    kafka.produce(topic, records())
    execution = ExecutionConfig(
        batch_size=100, max_in_flight=200, max_attempts=2, retry_backoff_ms=20, max_revoke_grace_ms=10_000
    )
    inserts = Inserts()

    def member() -> PyrallelConsumer:
        return PyrallelConsumer(settings(group), inserts, topic, execution_config=execution)

    first, second = member(), member()
    await first.start()
    await until(lambda: len(inserts.rows) > MESSAGES // 6, "a sixth is inserted")
    await second.start()
    await until(lambda: bool(second.get_runtime_snapshot().partitions), "the second member has partitions")
    await until(lambda: len(inserts.rows) > MESSAGES // 3, "a third is inserted")
    await first.stop()
    poison = sum(value == b"poison" for _, value in records())
    await until(lambda: len(inserts.rows) >= MESSAGES - poison, "all but the poison is inserted")
    await until_asked(lambda: kafka.committed_offsets(group, topic) == kafka.end_offsets(topic), "all is committed")
    await second.stop()
    assert inserts.largest == 100
    assert len(inserts.rows) == len(set(inserts.rows)) == MESSAGES - poison
    assert all(values == sorted(values) for values in inserts.by_key.values())
    letters = read_letters(kafka.bootstrap_servers, f"{topic}.dlq")
    assert len(letters) == poison
    assert all(letter.value == b"poison" and letter.ours["x-retry-attempt"] == "2" for letter in letters)
    assert sorted(inserts.attempts.values()) == [1] * (MESSAGES - poison) + [2] * poison


@each_group_protocol
async def test_a_half_filled_batch_is_given_back_untried_at_a_revoke_and_at_a_stop(
    kafka: KafkaCluster, settings: Settings
) -> None:
    topic, group, messages = kafka.new_topic(partitions=PARTITIONS), kafka.new_group(), 120
    patient = ExecutionConfig(batch_size=500, batch_linger_ms=60_000)
    first_inserts, second_inserts = Inserts(), Inserts()
    first = PyrallelConsumer(settings(group), first_inserts, topic, execution_config=patient)
    second = PyrallelConsumer(settings(group), second_inserts, topic, execution_config=ExecutionConfig(batch_size=10))

    await first.start()
    await until(lambda: len(first.get_runtime_snapshot().partitions) == PARTITIONS, "the first has all partitions")
    await asyncio.to_thread(kafka.produce_numbered, topic, messages=messages, keys=40)
    ends = await asyncio.to_thread(kafka.end_offsets, topic)

    def waiting() -> int:
        snapshot = first.get_runtime_snapshot()
        return snapshot.load_messages - snapshot.queued

    await until(lambda: waiting() == messages, "all messages wait for company")
    await second.start()
    await until(lambda: len(second.get_runtime_snapshot().partitions) == PARTITIONS // 2, "the second has its part")
    moved = {each.tp.partition for each in second.get_runtime_snapshot().partitions}
    await until(
        lambda: len(second_inserts.rows) == sum(ends[partition] for partition in moved), "the second does its part"
    )
    await first.stop()
    await until(lambda: len(second_inserts.rows) == messages, "the second does the rest, too")
    await until_asked(lambda: kafka.committed_offsets(group, topic) == ends, "all is committed")
    await second.stop()

    assert first_inserts.rows == []
    assert sorted(second_inserts.rows) == [
        (partition, at) for partition in sorted(ends) for at in range(ends[partition])
    ]
    assert set(second_inserts.attempts.values()) == {1}
    assert all(values == sorted(values, key=int) for values in second_inserts.by_key.values())
