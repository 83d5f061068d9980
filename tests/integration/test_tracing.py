"""Attempts as OpenTelemetry spans, in every mode: their parents, their attributes, and where the trace continues."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pyrallel_consumer import EmbeddedBroker, ExecutionMode, PyrallelConsumer
from tests.integration.consuming import execution, kafka, new_group, until
from tests.integration.traced_worker import set_up_sdk, work, work_async, work_on_batch, work_on_batch_async
from tests.letter_box import read_letters

EXPORTER = InMemorySpanExporter()
TRACE = "0af7651916cd43dd8448eb211c80319c"
PRODUCER = "b7ad6b7169203331"
PAYLOADS = (b"fails once", b"fails always", b"works")

Span = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def sdk() -> None:
    """One provider for the whole process: OpenTelemetry keeps the first one."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
    trace.set_tracer_provider(provider)


@pytest.fixture(autouse=True)
def spans(tmp_path: Path) -> Iterator[Callable[[], list[Span]]]:
    """All spans that ended, of this process and of worker processes."""
    EXPORTER.clear()

    def all_spans() -> list[Span]:
        lines = [span.to_json(indent=None) for span in EXPORTER.get_finished_spans()]
        if (file := tmp_path / "spans").exists():
            lines += file.read_text().splitlines()
        return [json.loads(line) for line in lines]

    yield all_spans
    EXPORTER.clear()


def produce(broker: EmbeddedBroker, topic: str, payloads: tuple[bytes, ...], *, is_traced: bool = True) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    headers: list[tuple[str, Any]] = [("mine", b"1")]
    if is_traced:
        headers += [("traceparent", f"00-{TRACE}-{PRODUCER}-01".encode()), ("tracestate", b"vendor=1")]
    for number, payload in enumerate(payloads):
        producer.produce(topic, payload, b"key-%d" % number, 0, headers=headers)
    assert producer.flush(30) == 0


async def consume(
    broker: EmbeddedBroker, topic: str, mode: ExecutionMode, tmp_path: Path, done: int, *, is_async: bool = False
) -> str:
    """Consume ``done`` messages with at most two attempts each; returns the group."""
    group = new_group()
    worker = work_async if is_async or mode is ExecutionMode.ASYNC else work
    settings = execution(mode=mode, max_retries=2, tracing=True, worker_pool_size=1 if mode == "process" else 0)
    if mode is ExecutionMode.PROCESS:
        settings.initializer = partial(set_up_sdk, tmp_path / "spans")
    config = kafka(broker.bootstrap_servers, group)
    async with PyrallelConsumer(config, worker, topic, execution_config=settings) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed == done, consumer.get_runtime_snapshot)
    return group


def own(span: Span) -> str:
    return str(span["context"]["span_id"])


def attempts_at(found: list[Span], offset: int) -> list[Span]:
    of_message = [span for span in found if span["attributes"].get("messaging.kafka.offset") == offset]
    return sorted(of_message, key=lambda span: span["attributes"]["pyrallel_consumer.attempt"])


@pytest.mark.parametrize(
    ("mode", "is_async"),
    [
        (ExecutionMode.ASYNC, False),
        (ExecutionMode.THREAD, False),
        (ExecutionMode.PROCESS, False),
        (ExecutionMode.PROCESS, True),
    ],
)
async def test_each_attempt_is_a_span_and_the_dead_letter_carries_the_last_one_on(
    embedded_broker: EmbeddedBroker,
    new_topic: Callable[[int], str],
    tmp_path: Path,
    spans: Callable[[], list[Span]],
    mode: ExecutionMode,
    *,
    is_async: bool,
) -> None:
    topic = new_topic(1)
    embedded_broker.create_topic(f"{topic}.dlq", 1)
    produce(embedded_broker, topic, PAYLOADS)

    group = await consume(embedded_broker, topic, mode, tmp_path, len(PAYLOADS), is_async=is_async)

    found = spans()
    once, always, works = (attempts_at(found, offset) for offset in range(3))
    assert [len(once), len(always), len(works)] == [2, 2, 1]
    for span in (*once, *always, *works):
        assert (span["name"], span["kind"]) == (f"process {topic}", "SpanKind.CONSUMER")
        assert (span["context"]["trace_id"], span["parent_id"]) == (f"0x{TRACE}", f"0x{PRODUCER}")
        [inside] = [each for each in found if each["parent_id"] == own(span)]
        assert inside["attributes"]["offset"] == span["attributes"]["messaging.kafka.offset"]
    assert works[0]["attributes"] == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": "0",
        "messaging.consumer.group.name": group,
        "messaging.kafka.offset": 2,
        "messaging.message.body.size": len(b"works"),
        "pyrallel_consumer.attempt": 1,
        "pyrallel_consumer.epoch": works[0]["attributes"]["pyrallel_consumer.epoch"],
    }
    for failed in (once[0], *always):
        assert failed["status"] == {"status_code": "ERROR", "description": "ValueError: invalid data"}
        assert failed["attributes"]["error.type"] == "ValueError"
        [event] = failed["events"]
        assert (event["name"], event["attributes"]["exception.message"]) == ("exception", "invalid data")
    assert {span["status"]["status_code"] for span in (once[1], works[0])} == {"UNSET"}
    for first, second in (once, always):
        assert first["links"] == []
        assert [link["context"]["span_id"] for link in second["links"]] == [own(first)]
    [letter] = read_letters(embedded_broker.bootstrap_servers, f"{topic}.dlq")
    carried = [(name, value) for name, value in letter.headers if name in {"traceparent", "tracestate", "mine"}]
    last = own(always[1]).removeprefix("0x")
    assert carried == [
        ("mine", b"1"),
        ("traceparent", f"00-{TRACE}-{last}-01".encode()),
        ("tracestate", b"vendor=1"),
    ]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_process_that_dies_leaves_the_span_of_its_attempt_behind(
    embedded_broker: EmbeddedBroker,
    new_topic: Callable[[int], str],
    tmp_path: Path,
    spans: Callable[[], list[Span]],
    *,
    is_async: bool,
) -> None:
    topic = new_topic(1)
    produce(embedded_broker, topic, (b"dies once",))

    await consume(embedded_broker, topic, ExecutionMode.PROCESS, tmp_path, 1, is_async=is_async)

    died, worked = attempts_at(spans(), 0)
    assert died["status"]["status_code"] == "ERROR"
    assert "the worker process died" in died["status"]["description"]
    assert died["attributes"]["error.type"] == "pyrallel_consumer.errors.ProcessDiedError"
    assert died["parent_id"] == worked["parent_id"] == f"0x{PRODUCER}"
    assert [link["context"]["span_id"] for link in worked["links"]] == [own(died)]


async def test_a_message_without_a_context_begins_a_trace_whatever_the_consumer_was_started_in(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], tmp_path: Path, spans: Callable[[], list[Span]]
) -> None:
    topic = new_topic(1)
    produce(embedded_broker, topic, (b"works", b"works"), is_traced=False)

    with trace.get_tracer("the program's").start_as_current_span("program"):
        await consume(embedded_broker, topic, ExecutionMode.ASYNC, tmp_path, 2)

    [first], [second] = (attempts_at(spans(), offset) for offset in range(2))
    assert (first["parent_id"], second["parent_id"]) == (None, None)
    assert first["context"]["trace_id"] != second["context"]["trace_id"]


@pytest.mark.parametrize(
    ("mode", "is_async"),
    [
        (ExecutionMode.ASYNC, True),
        (ExecutionMode.THREAD, False),
        (ExecutionMode.PROCESS, False),
        (ExecutionMode.PROCESS, True),
    ],
)
async def test_each_call_with_a_batch_is_a_span_with_a_link_to_each_producer(
    embedded_broker: EmbeddedBroker,
    new_topic: Callable[[int], str],
    tmp_path: Path,
    spans: Callable[[], list[Span]],
    mode: ExecutionMode,
    *,
    is_async: bool,
) -> None:
    topic = new_topic(1)
    embedded_broker.create_topic(f"{topic}.dlq", 1)
    payloads = (b"works", b"works", b"fails always")
    produce(embedded_broker, topic, payloads)
    settings = execution(
        mode=mode, max_attempts=1, tracing=True, worker_pool_size=1, batch_size=len(payloads), batch_linger_ms=5_000
    )
    if mode is ExecutionMode.PROCESS:
        settings.initializer = partial(set_up_sdk, tmp_path / "spans")
    worker = work_on_batch_async if is_async else work_on_batch
    config = kafka(embedded_broker.bootstrap_servers, new_group())
    async with PyrallelConsumer(config, worker, topic, execution_config=settings) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed == len(payloads), consumer.get_runtime_snapshot)

    found = spans()
    [batch] = [span for span in found if span["name"] == f"process {topic}"]
    assert batch["attributes"]["messaging.batch.message_count"] == len(payloads)
    assert batch["attributes"]["messaging.destination.name"] == topic
    assert "messaging.kafka.offset" not in batch["attributes"]
    assert batch["parent_id"] is None
    assert [link["context"]["span_id"] for link in batch["links"]] == [f"0x{PRODUCER}"]  # all have the same producer
    assert batch["attributes"]["error.type"] == "pyrallel_consumer.errors.BatchFailed"
    [inside] = [span for span in found if span["parent_id"] == own(batch)]
    assert inside["attributes"] == {"messages": len(payloads)}
    [letter] = read_letters(embedded_broker.bootstrap_servers, f"{topic}.dlq")
    [traceparent] = [value for name, value in letter.headers if name == "traceparent"]
    assert own(batch).removeprefix("0x") in str(traceparent)


async def test_the_calls_of_a_search_are_linked_to_the_ones_before_and_single_messages_to_their_producer(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], tmp_path: Path, spans: Callable[[], list[Span]]
) -> None:
    topic = new_topic(1)
    produce(embedded_broker, topic, (b"works", b"fails in company"))
    settings = execution(mode=ExecutionMode.ASYNC, tracing=True, batch_size=2, batch_linger_ms=5_000)
    config = kafka(embedded_broker.bootstrap_servers, new_group())
    async with PyrallelConsumer(config, work_on_batch_async, topic, execution_config=settings) as consumer:
        await until(lambda: consumer.get_runtime_snapshot().processed == 2, consumer.get_runtime_snapshot)

    together, *singles = [span for span in spans() if span["name"] == f"process {topic}"]
    assert together["attributes"]["messaging.batch.message_count"] == 2
    assert [span["attributes"]["messaging.batch.message_count"] for span in singles] == [1, 1]
    assert sorted(span["attributes"]["messaging.kafka.offset"] for span in singles) == [0, 1]
    for span in singles:
        assert (span["context"]["trace_id"], span["parent_id"]) == (f"0x{TRACE}", f"0x{PRODUCER}")
        assert [link["context"]["span_id"] for link in span["links"]] == [own(together)]
