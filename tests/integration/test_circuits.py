"""The circuit for outages and the circuit per key, end to end: what goes to the dead letters, and what does not."""

from __future__ import annotations

import asyncio
import logging

import pytest

from pyrallel_consumer import EmbeddedBroker, OnExhausted, PyrallelConsumer, WorkItem
from tests.integration.conftest import NewTopic, Produce
from tests.integration.consuming import committed, execution, kafka, new_group, until
from tests.letter_box import read_letters

WINDOW = 20


def told(caplog: pytest.LogCaptureFixture, start: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith(start)]


@pytest.mark.parametrize("on_exhausted", [OnExhausted.DLQ, OnExhausted.SKIP])
async def test_an_outage_stops_the_consumer_instead_of_letting_the_topic_go_and_its_end_is_noticed(
    embedded_broker: EmbeddedBroker,
    new_topic: NewTopic,
    produce: Produce,
    caplog: pytest.LogCaptureFixture,
    on_exhausted: OnExhausted,
) -> None:
    caplog.set_level(logging.WARNING)
    topic, group = new_topic(2), new_group()
    produce(topic, 2000, key_of=lambda i: b"key-%d" % i)
    is_mended = asyncio.Event()
    done: set[tuple[int, int]] = set()

    async def worker(item: WorkItem) -> None:
        if not is_mended.is_set():
            raise ConnectionError("the database is down")
        done.add((item.partition, item.offset))

    settings = execution(
        max_retries=1,
        max_in_flight=50,
        on_exhausted=on_exhausted,
        circuit_failure_share=0.5,
        circuit_window=WINDOW,
        circuit_probe_ms=50,
    )
    async with PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group), worker, topic, execution_config=settings
    ) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().is_circuit_open)
        snapshot = consumer.get_runtime_snapshot()
        assert snapshot.is_paused
        assert all("circuit" in each.paused_for for each in snapshot.partitions)
        assert snapshot.failed == WINDOW - 1
        is_mended.set()
        await until(lambda: sum(committed(embedded_broker.bootstrap_servers, group, topic, 2)) == 2000)

    snapshot = consumer.get_runtime_snapshot()
    assert (snapshot.is_circuit_open, snapshot.circuit_opened) == (False, 1)
    assert len(done) == 2000 - (WINDOW - 1)
    letters = read_letters(embedded_broker.bootstrap_servers, f"{topic}.dlq")
    assert len(letters) == (WINDOW - 1 if on_exhausted is OnExhausted.DLQ else 0)
    [opened] = told(caplog, "the circuit is open")
    assert "ConnectionError: the database is down" in opened
    assert len(told(caplog, "the circuit is closed")) == 1


async def test_where_nothing_is_left_that_could_be_a_probe_one_message_is_read(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group = new_topic(1), new_group()
    is_mended = asyncio.Event()

    async def worker(item: WorkItem) -> None:
        if not is_mended.is_set():
            raise ConnectionError("the database is down")

    settings = execution(max_retries=1, circuit_failure_share=0.5, circuit_window=2, circuit_probe_ms=50)
    async with PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group), worker, topic, execution_config=settings
    ) as consumer:
        produce(topic, 2)
        await until(lambda: consumer.get_runtime_snapshot().is_circuit_open)
        is_mended.set()
        await until(lambda: not consumer.get_runtime_snapshot().is_circuit_open)
        is_mended.clear()
        produce(topic, 100)
        await until(lambda: consumer.get_runtime_snapshot().circuit_opened == 2)
        is_mended.set()
        await until(lambda: committed(embedded_broker.bootstrap_servers, group, topic) == [102])


async def test_after_so_many_failures_of_a_key_its_messages_are_dead_lettered_untried_and_the_others_go_on(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce
) -> None:
    topic, group = new_topic(1), new_group()
    produce(topic, 100, key_of=lambda i: b"poison" if i % 2 else b"key-%d" % (i % 10))
    tried: list[bytes | None] = []

    async def worker(item: WorkItem) -> None:
        tried.append(item.key)
        if item.key == b"poison":
            raise ValueError("invalid data")

    settings = execution(max_retries=2, poison_key_failures=3)
    async with PyrallelConsumer(
        kafka(embedded_broker.bootstrap_servers, group), worker, topic, execution_config=settings
    ) as consumer:
        await until(lambda: committed(embedded_broker.bootstrap_servers, group, topic) == [100])
        assert consumer.get_runtime_snapshot().poisoned_keys == 1

    assert tried.count(b"poison") == 3 * 2
    assert len(tried) == 50 + 3 * 2
    letters = read_letters(embedded_broker.bootstrap_servers, f"{topic}.dlq")
    letters.sort(key=lambda letter: letter.source)
    assert [letter.source[2] for letter in letters] == list(range(1, 100, 2))
    assert [letter.ours["x-retry-attempt"] for letter in letters] == ["2"] * 3 + ["0"] * 47
    assert {letter.ours["x-error-reason"].split(":")[0] for letter in letters[3:]} == {"PoisonKeyError"}
    assert {letter.value for letter in letters} == {b"value-%d" % i for i in range(1, 100, 2)}
