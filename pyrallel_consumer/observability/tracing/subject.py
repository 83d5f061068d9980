"""The attributes of a span for one message or a batch, by OpenTelemetry's conventions for messaging.

The span of one message is the child of its producer's span, which the global propagator finds in the message's headers.
The span of a batch has many producers: it is the child of none, and has a link to each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Link
from opentelemetry.util.types import AttributeValue

from pyrallel_consumer.dto import WorkItem

Carrier = dict[str, str]
"""A span's context as the propagator writes it: header to value."""


class Subject(NamedTuple):
    """``parent`` holds the producer's span or none, never the span that ``start()`` was called in."""

    name: str
    parent: Context
    links: Sequence[Link]
    attributes: dict[str, AttributeValue]


def subject_of(item: WorkItem, group: str, earlier: Carrier | None) -> Subject:
    """An attempt of one message; ``earlier`` is the context of the attempt before."""
    payload = item.payload
    attributes = _common(group) | {
        "messaging.destination.name": item.topic,
        "messaging.destination.partition.id": str(item.partition),
        "messaging.kafka.offset": item.offset,
        "pyrallel_consumer.attempt": item.attempt,
        "pyrallel_consumer.epoch": item.epoch,
    }
    if payload is None:
        attributes["messaging.kafka.message.tombstone"] = True
    else:
        attributes["messaging.message.body.size"] = len(payload)
    links = () if earlier is None else _links_to([_of_carrier(earlier)])
    return Subject(f"process {item.topic}", _context_of(item), links, attributes)


def subject_of_batch(items: Sequence[WorkItem], group: str, earlier: Carrier | None) -> Subject:
    """One call with these messages; ``earlier`` is the context of an earlier call in which they failed."""
    if len(items) == 1:
        subject = subject_of(items[0], group, earlier)
        subject.attributes["messaging.batch.message_count"] = 1
        return subject
    attributes = _common(group) | {"messaging.batch.message_count": len(items)}
    topics = {item.topic for item in items}
    name = "process"
    if len(topics) == 1:
        topic = items[0].topic
        name = f"process {topic}"
        attributes["messaging.destination.name"] = topic
        if len({item.partition for item in items}) == 1:
            attributes["messaging.destination.partition.id"] = str(items[0].partition)
    producers = [trace.get_current_span(_context_of(item)).get_span_context() for item in items]
    before = [] if earlier is None else [_of_carrier(earlier)]
    return Subject(name, _without_span(), _links_to([*before, *producers]), attributes)


def _common(group: str) -> dict[str, AttributeValue]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.consumer.group.name": group,
    }


def _without_span() -> Context:
    return trace.set_span_in_context(trace.INVALID_SPAN)


def _context_of(item: WorkItem) -> Context:
    return propagate.extract(item.headers, _without_span(), _HEADERS)


def _of_carrier(carrier: Carrier) -> trace.SpanContext:
    return trace.get_current_span(propagate.extract(carrier, context=Context())).get_span_context()


def _links_to(contexts: Sequence[trace.SpanContext]) -> Sequence[Link]:
    """One link for each valid context, however many messages share it."""
    distinct = {(context.trace_id, context.span_id): context for context in contexts if context.is_valid}
    return [Link(context) for context in distinct.values()]


class _HeadersGetter(Getter[Sequence[tuple[str, bytes | None]]]):
    def get(self, carrier: Sequence[tuple[str, bytes | None]], key: str) -> list[str] | None:
        wanted = key.lower()
        found = [value.decode(errors="replace") for name, value in carrier if value and name.lower() == wanted]
        return found or None

    def keys(self, carrier: Sequence[tuple[str, bytes | None]]) -> list[str]:
        return [name for name, _ in carrier]


_HEADERS: Final = _HeadersGetter()
