"""Records that workers return, at least once: an offset completes when the broker has all records of its message."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka.serialization import SerializationContext

from pyrallel_consumer import (
    ConfigurationError,
    Delivery,
    EmbeddedBroker,
    ExecutionMode,
    OutputConfig,
    PyrallelConsumer,
    Record,
    RecordError,
    WorkItem,
)
from tests.integration.conftest import producing_to
from tests.integration.consuming import PATIENCE_SECONDS, committed, execution, kafka, new_group, until
from tests.integration.record_workers import (
    OUT,
    answer_to,
    answers_in_order,
    plainly_answers_by_item,
    plainly_answers_where_it_can,
    plainly_returns_a_list,
    plainly_yields,
    returns_for_even_offsets,
    returns_one,
    yields_two,
    yields_with_items,
)
from tests.letter_box import FoundLetter, read_letters

MESSAGES = 300


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({"orders": 2, OUT: 3, "orders.dlq": 1}) as broker:
        yield broker


def fill(broker: EmbeddedBroker, messages: int = MESSAGES) -> None:
    producing_to(broker.bootstrap_servers)("orders", messages, key_of=lambda i: b"key-%d" % (i % 20), partitions=2)


def consumer_of(broker: EmbeddedBroker, worker: Callable[[WorkItem], Any], group: str, **more: Any) -> PyrallelConsumer:
    settings = execution(mode=more.pop("mode", ExecutionMode.ASYNC), max_retries=2, retry_backoff_ms=5, **more)
    return PyrallelConsumer(kafka(broker.bootstrap_servers, group), worker, "orders", execution_config=settings)


async def until_committed(consumer: PyrallelConsumer, messages: int = MESSAGES) -> None:
    def is_committed() -> bool:
        return sum(each.committed_offset for each in consumer.get_runtime_snapshot().partitions) == messages

    await until(is_committed, consumer.get_runtime_snapshot)


def written(broker: EmbeddedBroker) -> list[FoundLetter]:
    return read_letters(broker.bootstrap_servers, OUT)


def sources(records: list[FoundLetter]) -> dict[bytes | None, list[tuple[int, int]]]:
    """By key: partition and offset of the message of each record, in the order of the records."""
    found = defaultdict(list)
    for record in records:
        _, partition, offset = record.ours["source"].rsplit("-", 2)
        found[record.key].append((int(partition), int(offset)))
    return found


@pytest.mark.parametrize(
    ("worker", "mode", "each"),
    [
        (returns_one, ExecutionMode.ASYNC, 1),
        (yields_two, ExecutionMode.ASYNC, 2),
        (plainly_returns_a_list, ExecutionMode.THREAD, 1),
        (plainly_yields, ExecutionMode.THREAD, 1),
        (plainly_yields, ExecutionMode.PROCESS, 1),
        (returns_for_even_offsets, ExecutionMode.PROCESS, 0.5),
        (returns_one, ExecutionMode.PROCESS, 1),
        (yields_two, ExecutionMode.PROCESS, 2),
    ],
)
async def test_every_engine_writes_what_workers_return_in_the_order_of_their_keys(
    broker: EmbeddedBroker, worker: Callable[[WorkItem], Any], mode: ExecutionMode, each: float
) -> None:
    fill(broker)
    group = new_group()

    async with consumer_of(broker, worker, group, mode=mode) as consumer:
        await until_committed(consumer)

    records = written(broker)
    assert len(records) == MESSAGES * each
    for offsets in sources(records).values():
        for partition in (0, 1):
            of_partition = [offset for its, offset in offsets if its == partition]
            assert of_partition == sorted(of_partition)
    assert records[0].value is not None
    assert records[0].value.startswith(b"done value-")
    assert sum(committed(broker.bootstrap_servers, group, "orders", 2)) == MESSAGES


@pytest.mark.parametrize(
    ("worker", "mode", "each"),
    [
        (answers_in_order, ExecutionMode.ASYNC, 1),
        (yields_with_items, ExecutionMode.ASYNC, 2),
        (plainly_answers_by_item, ExecutionMode.THREAD, 0.5),
        (plainly_answers_where_it_can, ExecutionMode.PROCESS, 1),
        (answers_in_order, ExecutionMode.PROCESS, 1),
    ],
)
async def test_every_engine_writes_what_workers_of_batches_return_in_the_order_of_their_keys(
    broker: EmbeddedBroker, worker: Callable[..., Any], mode: ExecutionMode, each: float
) -> None:
    fill(broker)
    group = new_group()

    async with consumer_of(broker, worker, group, mode=mode, batch_size=30) as consumer:
        await until_committed(consumer)

    records = written(broker)
    assert len(records) == MESSAGES * each
    for offsets in sources(records).values():
        for partition in (0, 1):
            of_partition = [offset for its, offset in offsets if its == partition]
            assert of_partition == sorted(of_partition)


async def test_an_offset_is_not_committed_before_the_broker_has_its_record(broker: EmbeddedBroker) -> None:
    fill(broker, 10)
    group = new_group()
    ran = 0

    async def worker(item: WorkItem) -> Record:
        nonlocal ran
        ran += 1
        return answer_to(item)

    broker.fail_requests("produce", ["NOT_ENOUGH_REPLICAS"] * 40)
    async with consumer_of(broker, worker, group) as consumer:
        await until(lambda: ran == 10)
        snapshot = consumer.get_runtime_snapshot()
        assert sum(each.committed_offset for each in snapshot.partitions) == 0
        broker.clear_faults("produce")
        await until_committed(consumer, 10)

    assert ran == 10
    assert len(written(broker)) >= 10


async def test_a_record_that_is_refused_fails_its_message_and_no_other(broker: EmbeddedBroker) -> None:
    fill(broker, 40)
    attempts: defaultdict[str, int] = defaultdict(int)

    async def worker(item: WorkItem) -> Record:
        attempts[item.id] += 1
        if item.id == "orders-1-3":
            return answer_to(item)._replace(value=b"x" * 2_000_000)
        return answer_to(item)

    async with consumer_of(broker, worker, new_group()) as consumer:
        await until_committed(consumer, 40)
        assert consumer.get_runtime_snapshot().dead_letters.sent == 1

    assert attempts.pop("orders-1-3") == 2
    assert set(attempts.values()) == {1}
    [letter] = read_letters(broker.bootstrap_servers, "orders.dlq")
    assert letter.source == ("orders", 1, 3)
    assert "MSG_SIZE_TOO_LARGE" in letter.ours["x-error-reason"]
    assert letter.ours["x-retry-attempt"] == "2"
    assert len(written(broker)) == 39


async def test_nothing_starts_while_too_much_waits_for_the_broker(broker: EmbeddedBroker) -> None:
    fill(broker, 200)
    started = 0

    async def worker(item: WorkItem) -> Record:
        nonlocal started
        started += 1
        return answer_to(item)

    consumer = PyrallelConsumer(
        kafka(broker.bootstrap_servers, new_group()),
        worker,
        "orders",
        execution_config=execution(max_in_flight=5),
        output=OutputConfig(buffer_max_records=20),
    )
    broker.fail_requests("produce", ["NOT_ENOUGH_REPLICAS"] * 1000)
    async with consumer:
        await until(lambda: started >= 20)
        seen_at = time.monotonic()
        await until(lambda: time.monotonic() > seen_at + 0.3)
        assert started <= 25
        broker.clear_faults("produce")
        await until_committed(consumer, 200)


async def test_a_stop_waits_for_the_records(broker: EmbeddedBroker) -> None:
    fill(broker, 50)
    group = new_group()
    ran = 0

    async def worker(item: WorkItem) -> Record:
        nonlocal ran
        ran += 1
        return answer_to(item)

    broker.fail_requests("produce", ["NOT_ENOUGH_REPLICAS"] * 3)
    async with consumer_of(broker, worker, group):
        await until(lambda: ran == 50)

    assert sum(committed(broker.bootstrap_servers, group, "orders", 2)) == 50
    assert len({record.ours["source"] for record in written(broker)}) == 50


async def test_values_are_serialized_where_the_worker_runs(broker: EmbeddedBroker) -> None:
    fill(broker, 4)
    topics = []

    def as_text(value: object, context: SerializationContext) -> bytes:
        topics.append(context.topic)
        return repr(value).encode()

    async def worker(item: WorkItem) -> Record:
        return Record(OUT, {"offset": item.offset}, item.key)

    consumer = PyrallelConsumer(
        kafka(broker.bootstrap_servers, new_group()), worker, "orders", output=OutputConfig(value_serializer=as_text)
    )
    async with consumer:
        await until_committed(consumer, 4)

    assert {record.value for record in written(broker)} == {b"{'offset': 0}", b"{'offset': 1}"}
    assert topics == [OUT] * 4


async def test_what_is_no_record_is_a_failed_attempt_that_says_so(broker: EmbeddedBroker) -> None:
    fill(broker, 1)

    async def worker(item: WorkItem) -> Any:
        return {"topic": OUT}

    consumer = PyrallelConsumer(
        kafka(broker.bootstrap_servers, new_group()),
        worker,
        "orders",
        execution_config=execution(max_retries=1),
        output=OutputConfig(),
    )
    async with consumer:
        await until_committed(consumer, 1)

    [letter] = read_letters(broker.bootstrap_servers, "orders.dlq")
    assert "the worker returned dict" in letter.ours["x-error-reason"]


async def test_exactly_once_is_refused_where_transactions_are_wrong(broker: EmbeddedBroker) -> None:
    consumer = PyrallelConsumer(
        kafka(broker.bootstrap_servers, new_group()),
        returns_one,
        "orders",
        output=OutputConfig(delivery=Delivery.EXACTLY_ONCE),
    )
    with pytest.raises(ConfigurationError, match="embedded broker, whose transactions are wrong"):
        await consumer.start()


async def test_exactly_once_is_refused_for_readers_of_what_is_not_committed(broker: EmbeddedBroker) -> None:
    config = kafka(broker.bootstrap_servers, new_group(), librdkafka={"isolation.level": "read_uncommitted"})
    with pytest.raises(ConfigurationError, match=r"isolation\.level=read_uncommitted"):
        PyrallelConsumer(config, returns_one, "orders", output=OutputConfig(delivery=Delivery.EXACTLY_ONCE))


@pytest.mark.parametrize("mode", [ExecutionMode.ASYNC, ExecutionMode.THREAD])
async def test_a_record_that_nobody_would_write_ends_the_consumer(
    broker: EmbeddedBroker, mode: ExecutionMode, caplog: pytest.LogCaptureFixture
) -> None:
    fill(broker, 5)
    caplog.set_level(logging.CRITICAL)

    async def unannotated(item: Any):  # type: ignore[no-untyped-def]  # noqa: ANN202
        return answer_to(item)

    def plainly_unannotated(item: Any):  # type: ignore[no-untyped-def]  # noqa: ANN202
        return answer_to(item)

    group = new_group()
    worker = unannotated if mode is ExecutionMode.ASYNC else plainly_unannotated
    consumer = consumer_of(broker, worker, group, mode=mode)
    await consumer.start()
    with pytest.raises(RecordError, match="output=OutputConfig"):
        await asyncio.wait_for(consumer.wait_closed(), PATIENCE_SECONDS)

    assert sum(committed(broker.bootstrap_servers, group, "orders", 2)) == 0
