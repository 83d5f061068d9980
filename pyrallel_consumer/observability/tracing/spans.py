"""One OpenTelemetry span per attempt, by the conventions for messaging; the only module that imports OpenTelemetry.

The worker is wrapped once, when the consumer is built, so untraced consumers pay nothing per message. A span is the
child of the producer's span, whose context the global propagator finds in the message's headers. It is current while
the worker runs. The context is detached only after a success: a failed attempt has a context of its own.

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
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from pyrallel_consumer.dto import SPAN_CARRIER, ExecutionMode, Headers, WorkItem
from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.errors import ProcessDiedError, TaskTimeoutError
from pyrallel_consumer.foreign_errors import attempted, set_attribute, type_name
from pyrallel_consumer.log import Log

Carrier = dict[str, str]
"""A span's context as the propagator writes it: header to value."""

MOST_REMEMBERED: Final = 10_000
"""How many failed attempts' spans are remembered for links and dead letters; the oldest ones are forgotten."""


logger = Log("pyrallel_consumer.observability")
_TOLD: Final[set[type]] = set()


class Spans:
    """Spans of the attempts of one consumer, with a memory of failed ones. For any thread."""

    def __init__(self, group: str, errors: ErrorText | None = None) -> None:
        self._maker = SpanMaker(group, errors or ErrorText())
        self._lock = threading.Lock()
        self._failed: dict[tuple[str, int, int], Carrier] = {}

    def wrapped(
        self, worker: Callable[[WorkItem], Any], mode: ExecutionMode, *, is_async: bool
    ) -> Callable[[WorkItem], Any]:
        """The worker that engines must run instead of ``worker``; ``is_async``: its result is awaited."""
        if mode.is_elsewhere:
            return AsyncRemoteCall(worker, self._maker) if is_async else RemoteCall(worker, self._maker)
        return self._async_call(worker) if mode is ExecutionMode.ASYNC else self._call(worker)

    def letter_headers(self, item: WorkItem) -> Headers:
        """The context of the last attempt, for its dead letter; empty if it was not traced."""
        carrier = self._take(item) or {}
        return [(name, str(value).encode(errors="replace")) for name, value in carrier.items()]

    # For the process engine

    def earlier(self, item: WorkItem) -> Carrier | None:
        """The context of the attempt before, which travels with a retry into its process."""
        with self._lock:
            return self._failed.get(_place(item)) if item.attempt > 1 else None

    def failed(self, item: WorkItem, carrier: Carrier | None) -> None:
        """An attempt failed, and this was its span's context."""
        if carrier is None:
            return
        with self._lock:
            self._failed.pop(_place(item), None)
            self._failed[_place(item)] = carrier
            if len(self._failed) > MOST_REMEMBERED:
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
        span, parent = self._maker.begin(item, self._take(item) if item.attempt > 1 else None)
        return span, parent, otel_context.attach(trace.set_span_in_context(span, parent))

    def _take(self, item: WorkItem) -> Carrier | None:
        with self._lock:
            return self._failed.pop(_place(item), None)


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

    def __init__(self, group: str, errors: ErrorText) -> None:
        self._group = group
        self._errors = errors
        self._tracer = _tracer()

    def __reduce__(self) -> tuple[type[SpanMaker], tuple[str, ErrorText]]:
        return SpanMaker, (self._group, self._errors)

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
        without_span = trace.set_span_in_context(trace.INVALID_SPAN)  # One that start() was called in is no parent.
        parent = propagate.extract(item.headers, without_span, _HEADERS)
        links = () if earlier is None else _links_to(earlier)
        span = self._tracer.start_span(
            f"process {item.topic}",
            parent,
            SpanKind.CONSUMER,
            attributes=self._attributes(item),
            links=links,
            start_time=began_at_ns,
            record_exception=False,
            set_status_on_exception=False,
        )
        return span, parent

    def _attributes(self, item: WorkItem) -> dict[str, AttributeValue]:
        payload = item.payload
        attributes: dict[str, AttributeValue] = {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": item.topic,
            "messaging.destination.partition.id": str(item.partition),
            "messaging.consumer.group.name": self._group,
            "messaging.kafka.offset": item.offset,
            "pyrallel_consumer.attempt": item.attempt,
            "pyrallel_consumer.epoch": item.epoch,
        }
        if payload is None:
            attributes["messaging.kafka.message.tombstone"] = True
        else:
            attributes["messaging.message.body.size"] = len(payload)
        return attributes

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


class _HeadersGetter(Getter[Sequence[tuple[str, bytes | None]]]):
    def get(self, carrier: Sequence[tuple[str, bytes | None]], key: str) -> list[str] | None:
        wanted = key.lower()
        found = [value.decode(errors="replace") for name, value in carrier if value and name.lower() == wanted]
        return found or None

    def keys(self, carrier: Sequence[tuple[str, bytes | None]]) -> list[str]:
        return [name for name, _ in carrier]


_HEADERS: Final = _HeadersGetter()


def _tracer() -> trace.Tracer:
    return trace.get_tracer("pyrallel_consumer", version("pyrallel-consumer"))


def _links_to(carrier: Carrier) -> Sequence[Link]:
    earlier = trace.get_current_span(propagate.extract(carrier, context=Context())).get_span_context()
    return [Link(earlier)] if earlier.is_valid else []


def _place(item: WorkItem) -> tuple[str, int, int]:
    return item.topic, item.partition, item.offset


def _type_name(error: BaseException) -> str:
    module = attempted(lambda: f"{type(error).__module__}", "")
    name = attempted(lambda: f"{type(error).__qualname__}", type_name(error))
    return name if module in {"", "builtins"} else f"{module}.{name}"
