"""Whole consumers whose workers take batches, in every mode."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from pyrallel_consumer import EmbeddedBroker, ExecutionMode, PyrallelConsumer
from tests.integration.batch_worker import AsyncBatchWorker, BatchWorker, Call, calls_of
from tests.integration.conftest import NewTopic, Produce
from tests.integration.consuming import MODES_OF_THIS_MACHINE, committed, execution, kafka, new_group, until
from tests.letter_box import read_letters

MESSAGES = 2000
POISON, NAMED = 777, 1234


def done_of(calls: list[Call]) -> list[tuple[int, int]]:
    """Partition and offset of each message that a call finished: not the named ones, nor those behind them."""
    done = []
    for call in calls:
        if call.outcome in {"failed", "died"}:
            continue
        named = {(offset, key) for _, offset, _, key in call.messages if str(offset) in call.outcome[1:-1].split(", ")}
        done += [
            (partition, offset)
            for partition, offset, _, key in call.messages
            if not any(key == its_key and offset >= its_offset for its_offset, its_key in named)
        ]
    return done


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        (ExecutionMode.ASYNC, AsyncBatchWorker),
        (ExecutionMode.THREAD, BatchWorker),
        (ExecutionMode.PROCESS, BatchWorker),
        (ExecutionMode.PROCESS, AsyncBatchWorker),
    ],
)
async def test_batches_run_in_order_a_poison_message_alone_is_charged_and_all_is_committed(
    embedded_broker: EmbeddedBroker,
    new_topic: NewTopic,
    produce: Produce,
    tmp_path: Path,
    *,
    mode: ExecutionMode,
    kind: type[BatchWorker],
) -> None:
    topic, group, log = new_topic(1), new_group(), tmp_path / "log"
    embedded_broker.create_topic(topic + ".dlq", 1)
    payloads: dict[int, bytes] = {POISON: b"poison", NAMED: b"named once"}
    produce(topic, MESSAGES, key_of=lambda i: f"key-{i % 100}".encode(), value_of=lambda i: payloads.get(i, b""))
    settings = execution(mode=mode, batch_size=500, max_attempts=3, worker_pool_size=2)
    config = kafka(embedded_broker.bootstrap_servers, group)
    async with PyrallelConsumer(config, kind(log), topic, execution_config=settings) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed >= MESSAGES, consumer.get_runtime_snapshot)
        snapshot = consumer.get_runtime_snapshot()
    calls = calls_of(log)
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [MESSAGES]
    done = done_of(calls)
    assert Counter(done) == Counter((0, offset) for offset in range(MESSAGES) if offset != POISON)
    by_key: dict[int, list[int]] = defaultdict(list)
    for _, offset in done:
        by_key[offset % 100].append(offset)
    assert all(offsets == sorted(offsets) for offsets in by_key.values())
    attempts = {(offset, attempt) for call in calls for _, offset, attempt, _ in call.messages}
    assert {(offset, attempt) for offset, attempt in attempts if attempt > 1} == {(POISON, 2), (POISON, 3), (NAMED, 2)}
    assert len([call for call in calls if call.outcome == "failed"]) <= 9 + 3
    [letter] = read_letters(embedded_broker.bootstrap_servers, topic + ".dlq")
    assert letter.source == (topic, 0, POISON)
    assert letter.ours["x-retry-attempt"] == "3"
    assert snapshot.failed == 1


def test_settings_of_batches_are_refused_by_name() -> None:
    for bad in ({"batch_size": 0}, {"batch_by": "colour"}, {"batch_linger_ms": -1}, {"batch_max_bytes": 0}):
        [name] = bad
        with pytest.raises(ValueError, match=name):
            execution(**bad)


@pytest.mark.parametrize("kind", [BatchWorker, AsyncBatchWorker])
async def test_a_message_that_kills_its_process_is_found_and_takes_no_other_with_it(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, tmp_path: Path, kind: type[BatchWorker]
) -> None:
    topic, group, log = new_topic(1), new_group(), tmp_path / "log"
    embedded_broker.create_topic(topic + ".dlq", 1)
    produce(topic, 100, key_of=lambda i: f"key-{i}".encode(), value_of=lambda i: b"die" if i == 42 else b"")
    settings = execution(mode=ExecutionMode.PROCESS, batch_size=20, max_attempts=2, worker_pool_size=2)
    config = kafka(embedded_broker.bootstrap_servers, group)
    async with PyrallelConsumer(config, kind(log), topic, execution_config=settings) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed >= 100, consumer.get_runtime_snapshot)
    assert {offset for _, offset in done_of(calls_of(log))} == set(range(100)) - {42}
    [letter] = read_letters(embedded_broker.bootstrap_servers, topic + ".dlq")
    assert letter.source == (topic, 0, 42)
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [100]


@pytest.mark.parametrize("kind", [BatchWorker, AsyncBatchWorker])
async def test_a_process_that_dies_in_a_batch_costs_the_message_at_fault_its_attempts_and_the_others_nothing(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, tmp_path: Path, kind: type[BatchWorker]
) -> None:
    topic, group, log = new_topic(1), new_group(), tmp_path / "log"
    embedded_broker.create_topic(topic + ".dlq", 1)
    produce(topic, 200, key_of=lambda i: str(i).encode(), value_of=lambda i: b"die" if i == 77 else b"")
    settings = execution(mode=ExecutionMode.PROCESS, batch_size=100, max_attempts=2, worker_pool_size=2)
    config = kafka(embedded_broker.bootstrap_servers, group)
    async with PyrallelConsumer(config, kind(log), topic, execution_config=settings) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed >= 200, consumer.get_runtime_snapshot)
    calls = calls_of(log)
    assert Counter(done_of(calls)) == Counter((0, offset) for offset in range(200) if offset != 77)
    assert {(offset, attempt) for call in calls for _, offset, attempt, _ in call.messages if attempt > 1} == {(77, 2)}
    at_most = 1 + 7 + 1  # An event loop runs several batches at once: to know which one it was, it runs that alone.
    assert len([call for call in calls if call.outcome == "died"]) <= (at_most if kind is BatchWorker else 2 * at_most)
    [letter] = read_letters(embedded_broker.bootstrap_servers, topic + ".dlq")
    assert letter.source == (topic, 0, 77)
    assert "ProcessDiedError" in letter.ours["x-error-reason"]


@pytest.mark.parametrize("mode", MODES_OF_THIS_MACHINE)
async def test_what_waits_for_company_at_the_stop_is_given_back_untried(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, tmp_path: Path, mode: ExecutionMode
) -> None:
    topic, group, log = new_topic(1), new_group(), tmp_path / "log"
    produce(topic, 30, key_of=lambda i: str(i).encode())
    settings = execution(mode=mode, batch_size=500, batch_linger_ms=60_000, worker_pool_size=1)
    config = kafka(embedded_broker.bootstrap_servers, group)
    worker = AsyncBatchWorker(log) if mode is ExecutionMode.ASYNC else BatchWorker(log)
    async with PyrallelConsumer(config, worker, topic, execution_config=settings) as consumer:

        def waiting() -> int:
            snapshot = consumer.get_runtime_snapshot()
            return snapshot.load_messages - snapshot.queued

        await until(lambda: waiting() == 30, consumer.get_runtime_snapshot)
        assert consumer.get_runtime_snapshot().in_flight == 0
    assert calls_of(log) == []
    assert committed(embedded_broker.bootstrap_servers, group, topic) == [0]


async def test_a_small_buffer_fills_no_batch_and_holds_up_nothing(
    embedded_broker: EmbeddedBroker, new_topic: NewTopic, produce: Produce, tmp_path: Path
) -> None:
    topic, group, log = new_topic(1), new_group(), tmp_path / "log"
    produce(topic, 300, key_of=lambda i: str(i).encode())
    settings = execution(batch_size=500, batch_linger_ms=60_000)
    config = kafka(embedded_broker.bootstrap_servers, group, parallel={"queue_max_messages": 100})
    async with PyrallelConsumer(config, AsyncBatchWorker(log), topic, execution_config=settings) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed >= 200, consumer.get_runtime_snapshot)
