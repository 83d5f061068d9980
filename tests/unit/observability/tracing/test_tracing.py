"""Tracing that is off, missing, or not recorded: it costs nothing, or says what to do."""

from __future__ import annotations

import asyncio
import contextvars
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanContext, TraceFlags, get_current_span

from pyrallel_consumer import (
    ConfigurationError,
    ExecutionConfig,
    ExecutionMode,
    KafkaConfig,
    PyrallelConsumer,
    WorkItem,
)
from pyrallel_consumer.control_plane.failures.letter import Letter, LetterForm, record_of
from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.observability.tracing import spans
from pyrallel_consumer.observability.tracing.spans import RemoteCall, Spans
from pyrallel_consumer.testing import work_item
from tests.third_party_engine import ThirdPartyEngine

PARENT = SpanContext(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, is_remote=True, trace_flags=TraceFlags(1))
HEADERS = [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]


async def worker(item: WorkItem) -> None:
    raise AssertionError("no worker runs while a consumer is built")


@pytest.fixture(autouse=True)
def nobody_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh state, whatever other tests of this process have set up."""
    monkeypatch.setattr(trace, "get_tracer", lambda *_: trace.NoOpTracer())


def run_attempt(worker: Callable[[WorkItem], Any], item: WorkItem) -> Any:
    """Call the worker in a context of its own, as engines do."""
    return contextvars.copy_context().run(worker, item)


def note_parent(item: WorkItem) -> SpanContext:
    return get_current_span().get_span_context()


def fail(item: WorkItem) -> None:
    raise ValueError("invalid data")


def test_what_is_off_is_not_even_imported() -> None:
    code = (
        "import json, sys\n"
        "from pyrallel_consumer import KafkaConfig, PyrallelConsumer\n"
        "async def worker(item): ...\n"
        "PyrallelConsumer(KafkaConfig(), worker, 'orders')\n"
        "print(json.dumps([name for name in sys.modules if 'opentelemetry' in name]))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == []


def test_without_the_extra_a_sentence_says_how_to_get_it_and_how_to_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, spans.__name__)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)  # how Python says that it is not there

    with pytest.raises(ConfigurationError, match=r"pyrallel-consumer\[otel\].*EXECUTION_TRACING=false"):
        PyrallelConsumer(KafkaConfig(), worker, "orders", execution_config=ExecutionConfig(tracing=True))


def test_an_engine_of_the_users_own_cannot_be_traced_and_that_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"tracing cannot wrap.*EXECUTION_TRACING=false"):
        PyrallelConsumer(
            KafkaConfig(),
            None,
            "orders",
            execution_config=ExecutionConfig(tracing=True),
            engine=ThirdPartyEngine(),
        )


def test_the_environment_turns_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECUTION_TRACING", "true")

    assert ExecutionConfig().tracing is True


def test_where_nobody_records_the_producers_context_is_active_and_nothing_is_remembered_as_an_attempt() -> None:
    item = work_item(headers=HEADERS)

    assert run_attempt(Spans("group").wrapped(note_parent, ExecutionMode.THREAD, is_async=False), item) == PARENT
    tracing = Spans("group")
    with pytest.raises(ValueError, match="invalid data"):
        run_attempt(tracing.wrapped(fail, ExecutionMode.THREAD, is_async=False), item)
    assert tracing.letter_headers(item) == []


def test_a_traced_worker_travels_to_a_process_with_its_worker() -> None:
    wrapped = Spans("group").wrapped(note_parent, ExecutionMode.PROCESS, is_async=False)

    restored = pickle.loads(pickle.dumps(wrapped))  # noqa: S301 -- our own

    assert isinstance(restored, RemoteCall)
    assert run_attempt(restored, work_item(headers=HEADERS)) == PARENT


@pytest.mark.parametrize("value", [b"", b"nonsense", b"\xff\xfe", None, b"00-0-0-01"])
def test_headers_that_hold_no_context_are_no_parent(value: bytes | None) -> None:
    item = work_item(headers=[("traceparent", value), ("traceparent-like", b"x")])

    found = run_attempt(Spans("group").wrapped(note_parent, ExecutionMode.THREAD, is_async=False), item)

    assert not found.is_valid


def test_what_is_remembered_of_failed_attempts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "MOST_REMEMBERED", 3)
    tracing = Spans("group")
    for offset in range(5):
        tracing.failed(work_item(offset=offset), {"traceparent": str(offset)})

    remembered = [tracing.letter_headers(work_item(offset=offset)) for offset in range(5)]

    assert remembered == [[], [], *([("traceparent", str(offset).encode())] for offset in (2, 3, 4))]


@pytest.mark.parametrize("form", LetterForm)
def test_a_letters_trace_takes_the_place_of_the_messages_own(form: LetterForm) -> None:
    item = work_item(headers=[*HEADERS, ("mine", b"1")])
    letter = Letter(item, "orders.dlq", "ValueError", 3, form, trace=[("traceparent", b"the last attempt's")])

    headers = record_of(letter).headers

    assert [value for name, value in headers if name == "traceparent"] == [b"the last attempt's"]
    assert (("mine", b"1") in headers) is form.has_headers


class BrokenTracer(trace.NoOpTracer):
    """A user's tracing that raises when a span begins."""

    def start_span(self, *_: Any, **__: Any) -> Any:
        raise ValueError("the sampler cannot decide")


class BrokenSpan(trace.NonRecordingSpan):
    """A user's tracing that raises when a span ends."""

    def end(self, *_: Any) -> None:
        raise ValueError("the exporter is gone")


class TracerOfBrokenSpans(trace.NoOpTracer):
    def start_span(self, *_: Any, **__: Any) -> Any:
        return BrokenSpan(PARENT)


@pytest.mark.parametrize("tracer", [BrokenTracer, TracerOfBrokenSpans])
def test_tracing_that_raises_is_told_once_and_changes_no_outcome(
    tracer: type[trace.Tracer], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trace, "get_tracer", lambda *_: tracer())
    monkeypatch.setattr(spans, "_TOLD", set())
    traced = Spans("group")
    item = work_item(b"", headers=HEADERS)

    def succeed(_: WorkItem) -> str:
        return "done"

    async def succeed_soon(_: WorkItem) -> None: ...

    assert run_attempt(traced.wrapped(succeed, ExecutionMode.THREAD, is_async=False), item) == "done"
    assert run_attempt(traced.wrapped(succeed, ExecutionMode.PROCESS, is_async=False), item) == "done"
    asyncio.run(traced.wrapped(succeed_soon, ExecutionMode.ASYNC, is_async=True)(item))
    for mode in (ExecutionMode.THREAD, ExecutionMode.PROCESS):
        with pytest.raises(ValueError, match="invalid data"):
            run_attempt(traced.wrapped(fail, mode, is_async=False), item)
    traced.died(item, 1.0, "killed", is_timed_out=False)
    assert traced.letter_headers(item) == []
    [record] = caplog.records
    assert "tracing failed with ValueError" in record.getMessage()


class NotingSpan(trace.NonRecordingSpan):
    """A tracer that notes all its calls."""

    told: ClassVar[list[str]] = []

    def set_attribute(self, *given: Any) -> None:
        self.told.append(repr(given))

    def set_status(self, status: Any, description: str | None = None) -> None:
        self.told.append(repr((status.description, description)))

    def record_exception(self, exception: BaseException, *_: Any) -> None:
        self.told.append(repr(exception))


class NotingTracer(trace.NoOpTracer):
    def start_span(self, *given: Any, **more: Any) -> Any:
        NotingSpan.told.append(repr((given, more)))
        return NotingSpan(PARENT)


@pytest.mark.parametrize("mode", [ExecutionMode.THREAD, ExecutionMode.PROCESS])
@pytest.mark.parametrize("is_shown", [False, True])
def test_spans_have_no_key_and_the_text_of_an_error_only_where_it_is_shown(
    mode: ExecutionMode, is_shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "get_tracer", lambda *_: NotingTracer())
    monkeypatch.setattr(NotingSpan, "told", [])
    traced = Spans("group", ErrorText(is_shown)).wrapped(fail, mode, is_async=False)
    if mode is ExecutionMode.PROCESS:
        traced = pickle.loads(pickle.dumps(traced))  # noqa: S301 -- our own

    with pytest.raises(ValueError, match="invalid data"):
        run_attempt(traced, work_item(b"", key=b"customer-4711"))

    told = "".join(NotingSpan.told)
    assert "customer-4711" not in told
    assert ("invalid data" in told) is is_shown
    assert "ValueError" in told
