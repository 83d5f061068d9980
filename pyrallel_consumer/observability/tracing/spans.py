"""One OpenTelemetry span per attempt, or per call with a batch; only this module and ``subject`` import OpenTelemetry.

The worker is wrapped once, when the consumer is built, so untraced consumers pay nothing per message. A span is current
while the worker runs. The context is detached only after a success: a failed attempt has a context of its own.

In process mode the span is made in the worker process, so that the worker's own spans are its children. For that the
SDK must be set up there (``ExecutionConfig.initializer``). A process that is killed or dies reports nothing: then the
span of the attempt is made here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import Token
from importlib.metadata import version
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from pyrallel_consumer.dto import SPAN_CARRIER, ExecutionMode, Headers, WorkItem
from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.errors import ProcessDiedError, TaskTimeoutError
from pyrallel_consumer.foreign_errors import attempted, set_attribute, type_name
from pyrallel_consumer.log import Log
from pyrallel_consumer.observability.tracing.subject import Carrier, subject_of, subject_of_batch

ItemsOf = Callable[[WorkItem], Sequence[WorkItem]]
"""Gives the messages of a batch; travels to worker processes."""
MOST_REMEMBERED: Final = 10_000
"""How many failed attempts' spans are remembered for links and dead letters; the oldest ones are forgotten."""


Place = tuple[str, int, int]
"""Topic, partition and offset of a message."""

logger = Log("pyrallel_consumer.observability")
_USERS_NAMES: Final = {
    "pyrallel_consumer.execution_plane.worker.named_failures.NamedFailures": "pyrallel_consumer.errors.BatchFailed"
}
"""Errors of ours that users know by another name."""
_TOLD: Final[set[type]] = set()


class Spans:
    """Spans of the attempts of one consumer, with a memory of failed ones. For any thread.

    ``items_of``: the worker takes batches. An item here is then a batch, and one span covers its call.
    """

    def __init__(self, group: str, errors: ErrorText | None = None, items_of: ItemsOf | None = None) -> None:
        self._maker = SpanMaker(group, errors or ErrorText(), items_of)
        self._items_of = items_of
        self._lock = threading.Lock()
        self._failed: dict[Place, Carrier] = {}

    def wrapped(
        self, worker: Callable[[WorkItem], Any], mode: ExecutionMode, *, is_async: bool
    ) -> Callable[[WorkItem], Any]:
        """The worker that engines must run instead of ``worker``; ``is_async``: its result is awaited."""
        if mode.is_elsewhere:
            return AsyncRemoteCall(worker, self._maker) if is_async else RemoteCall(worker, self._maker)
        return self._async_call(worker) if mode is ExecutionMode.ASYNC else self._call(worker)

    def letter_headers(self, item: WorkItem) -> Headers:
        """The context of the last attempt, for its dead letter; empty if it was not traced."""
        with self._lock:
            carrier = self._failed.pop(_place(item), None) or {}
        return [(name, str(value).encode(errors="replace")) for name, value in carrier.items()]

    # For the process engine

    def earlier(self, item: WorkItem) -> Carrier | None:
        """The context of the attempt before, which travels with a retry into its process."""
        with self._lock:
            return next((self._failed[place] for place in self._earlier_places(item) if place in self._failed), None)

    def failed(self, item: WorkItem, carrier: Carrier | None) -> None:
        """An attempt failed, and this was its span's context."""
        if carrier is None:
            return
        with self._lock:
            for place in self._places(item):
                self._failed.pop(place, None)
                self._failed[place] = carrier
            while len(self._failed) > MOST_REMEMBERED:
                del self._failed[next(iter(self._failed))]

    def died(self, item: WorkItem, seconds: float, how: str, *, is_timed_out: bool) -> None:
        """The process of this attempt, which began ``seconds`` ago, is gone, and the span with it."""
        began_at = time.time_ns() - int(seconds * 1e9)
        span, parent = self._maker.begin(item, self.earlier(item), began_at)
        error = TaskTimeoutError if is_timed_out else ProcessDiedError
        self.failed(item, self._maker.end_failed(span, parent, error(f"the worker process died ({how})")))

    # In this process

    def _async_call(self, worker: Callable[[WorkItem], Awaitable[object]]) -> Callable[[WorkItem], Awaitable[object]]:
        async def traced(item: WorkItem) -> object:
            span, parent, token = self._begin(item)
            try:
                result = await worker(item)
            except BaseException as error:
                self.failed(item, self._maker.end_failed(span, parent, error))
                raise
            end(span)
            otel_context.detach(token)  # A task goes on with other messages only where its context is as it was.
            return result

        return traced

    def _call(self, worker: Callable[[WorkItem], object]) -> Callable[[WorkItem], object]:
        def traced(item: WorkItem) -> object:
            span, parent, _ = self._begin(item)
            try:
                result = worker(item)
            except BaseException as error:
                self.failed(item, self._maker.end_failed(span, parent, error))
                raise
            end(span)
            return result

        return traced

    def _begin(self, item: WorkItem) -> tuple[Span, Context, Token[Context]]:
        span, parent = self._maker.begin(item, self._take_earlier(item))
        return span, parent, otel_context.attach(trace.set_span_in_context(span, parent))

    def _take_earlier(self, item: WorkItem) -> Carrier | None:
        places = self._earlier_places(item)
        if not places:
            return None
        with self._lock:
            carriers = [carrier for place in places if (carrier := self._failed.pop(place, None)) is not None]
        return carriers[0] if carriers else None

    def _earlier_places(self, item: WorkItem) -> list[Place]:
        """The messages that may have failed before. In a batch they may have without a counted attempt."""
        return self._places(item) if item.attempt > 1 or (self._items_of is not None and self._failed) else []

    def _places(self, item: WorkItem) -> list[Place]:
        return [_place(item)] if self._items_of is None else [_place(each) for each in self._items_of(item)]


class RemoteCall:
    """The traced worker as it is sent to worker processes."""

    def __init__(self, worker: Callable[[WorkItem], object], maker: SpanMaker) -> None:
        self._worker = worker
        self._maker = maker

    def __call__(self, item: WorkItem) -> object:
        span, parent = self._maker.begin(item, getattr(item.message, "carrier", None))
        otel_context.attach(trace.set_span_in_context(span, parent))
        try:
            result = self._worker(item)
        except BaseException as error:
            set_attribute(error, SPAN_CARRIER, self._maker.end_failed(span, parent, error))
            raise
        end(span)
        return result


class AsyncRemoteCall:
    """The same for a worker that is ``async def``."""

    def __init__(self, worker: Callable[[WorkItem], Awaitable[object]], maker: SpanMaker) -> None:
        self._worker = worker
        self._maker = maker

    async def __call__(self, item: WorkItem) -> object:
        span, parent = self._maker.begin(item, getattr(item.message, "carrier", None))
        token = otel_context.attach(trace.set_span_in_context(span, parent))
        try:
            result = await self._worker(item)
        except BaseException as error:
            set_attribute(error, SPAN_CARRIER, self._maker.end_failed(span, parent, error))
            raise
        end(span)
        otel_context.detach(token)
        return result


class SpanMaker:
    """Makes spans; can be pickled. Each process gets its tracer once, even if its SDK is set up later."""

    def __init__(self, group: str, errors: ErrorText, items_of: ItemsOf | None = None) -> None:
        self._group = group
        self._errors = errors
        self._items_of = items_of
        self._tracer = _tracer()

    def __reduce__(self) -> tuple[type[SpanMaker], tuple[str, ErrorText, ItemsOf | None]]:
        return SpanMaker, (self._group, self._errors, self._items_of)

    def begin(self, item: WorkItem, earlier: Carrier | None, began_at_ns: int | None = None) -> tuple[Span, Context]:
        """The span of an attempt, and its parent's context; ``earlier`` is the attempt to link to.

        If the user's tracing raises, the span records nothing, and the message is processed all the same.
        """
        try:
            return self._begun(item, earlier, began_at_ns)
        except Exception as error:  # noqa: BLE001 -- exporters, samplers and propagators are the user's code
            tell_once(error)
            return trace.INVALID_SPAN, Context()

    def _begun(self, item: WorkItem, earlier: Carrier | None, began_at_ns: int | None) -> tuple[Span, Context]:
        if self._items_of is None:
            subject = subject_of(item, self._group, earlier)
        else:
            subject = subject_of_batch(self._items_of(item), self._group, earlier)
        span = self._tracer.start_span(
            subject.name,
            subject.parent,
            SpanKind.CONSUMER,
            attributes=subject.attributes,
            links=subject.links,
            start_time=began_at_ns,
            record_exception=False,
            set_status_on_exception=False,
        )
        return span, subject.parent

    def end_failed(self, span: Span, parent: Context, error: BaseException) -> Carrier | None:
        """End the span with its error; returns its context, None if there is no span because nothing traces."""
        try:
            return self._ended_failed(span, parent, error)
        except Exception as tracing_error:  # noqa: BLE001 -- see ``begin``
            tell_once(tracing_error)
            return None

    def _ended_failed(self, span: Span, parent: Context, error: BaseException) -> Carrier | None:
        if self._errors.is_shown:
            attempted(lambda: span.record_exception(error), None)
        span.set_attribute("error.type", _type_name(error))
        span.set_status(Status(StatusCode.ERROR, self._errors.reason(error)))
        span.end()
        own = span.get_span_context()
        if not own.is_valid or own.span_id == trace.get_current_span(parent).get_span_context().span_id:
            return None
        carrier: Carrier = {}
        propagate.inject(carrier, trace.set_span_in_context(span, parent))
        return carrier or None


def end(span: Span) -> None:
    """End the span of a success. The success stays one, even if the user's tracing raises."""
    try:
        span.end()
    except Exception as error:  # noqa: BLE001 -- see ``SpanMaker.begin``
        tell_once(error)


def tell_once(error: Exception) -> None:
    """The user's tracing raised: each kind of error is logged once per process."""
    if type(error) in _TOLD:
        return
    _TOLD.add(type(error))
    with suppress(Exception):  # The user's logging setup may fail.
        logger.error(
            "tracing failed with %s: spans are missing, and consuming goes on; this is told once",
            type(error).__name__,
            exc_info=error,
        )


def _tracer() -> trace.Tracer:
    return trace.get_tracer("pyrallel_consumer", version("pyrallel-consumer"))


def _place(item: WorkItem) -> Place:
    return item.topic, item.partition, item.offset


def _type_name(error: BaseException) -> str:
    module = attempted(lambda: f"{type(error).__module__}", "")
    name = attempted(lambda: f"{type(error).__qualname__}", type_name(error))
    full_name = name if module in {"", "builtins"} else f"{module}.{name}"
    return _USERS_NAMES.get(full_name, full_name)
