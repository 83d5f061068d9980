"""A worker with a span of its own, and an SDK that writes spans: the tests of tracing run them in threads and
processes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from pyrallel_consumer import BatchFailed, WorkItem


class FileExporter(SpanExporter):
    """A line of JSON for each span."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._path.open("a") as file:
            file.writelines(f"{span.to_json(indent=None)}\n" for span in spans)
        return SpanExportResult.SUCCESS


def set_up_sdk(path: Path) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(FileExporter(path)))
    trace.set_tracer_provider(provider)


def work(item: WorkItem) -> None:
    """Fails as the payload says; a span of the worker's own is around it."""
    with trace.get_tracer("the worker's").start_as_current_span("inside", attributes={"offset": item.offset}):
        if item.payload == b"dies once" and item.attempt == 1:
            os._exit(9)
        if item.payload == b"fails always" or (item.payload == b"fails once" and item.attempt == 1):
            raise ValueError("invalid data")


async def work_async(item: WorkItem) -> None:
    work(item)


def work_on_batch(items: list[WorkItem]) -> None:
    """Names the messages that fail always; a message that fails together with others lets the whole batch fail."""
    with trace.get_tracer("the worker's").start_as_current_span("inside", attributes={"messages": len(items)}):
        if len(items) > 1 and any(item.payload == b"fails in company" for item in items):
            raise RuntimeError("not together")
        errors = {item: ValueError("invalid data") for item in items if item.payload == b"fails always"}
        if errors:
            raise BatchFailed(errors)


async def work_on_batch_async(items: list[WorkItem]) -> None:
    work_on_batch(items)
