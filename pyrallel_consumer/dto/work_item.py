"""A message on its way: the item of work, the place that it came from, and its form between processes.

A ``WorkItem`` is the worker's argument, and also the slim object that the control plane and the engines pass around:
four words, with the message's fields read only on demand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol

from pyrallel_consumer.message import SentMessage, UnreadableHeaders, V_co, header_bytes, headers_of

if TYPE_CHECKING:
    from pyrallel_consumer.message import Headers, Message, Row

SPAN_CARRIER: Final = "__pyrallel_span__"
"""The name in an exception's ``__dict__`` under which the span of a traced attempt leaves a worker process."""


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


class Origin(Protocol):
    """Where an item came from: something that knows the assignment's epoch (a virtual partition does).

    ``is_ordered``: items that share it are kept in order. Such an origin has a method ``seal()`` as well, which engines
    of batches call: no more of its items are sent until all items in flight have ended.
    """

    @property
    def epoch(self) -> int: ...
    @property
    def is_ordered(self) -> bool: ...


class PartitionHome(Protocol):
    """An assigned partition, as its items know it."""

    @property
    def tp(self) -> TopicPartition: ...
    def is_current(self, item: WorkItem, /) -> bool:
        """Whether its assignment goes on, and ``item`` is not done."""


class PartitionOrigin(Origin, Protocol):
    """Where an item of an assigned partition came from: the way from the item to its partition."""

    @property
    def work(self) -> PartitionHome: ...


class WorkItem(Generic[V_co]):
    """One message on its way to one attempt of the worker; immutable, compared by identity.

    ``payload`` is the message's value as bytes, and ``value`` the result of the consumer's deserializer, or ``payload``
    itself without one; ``decoded_key`` and ``key`` likewise. ``headers`` is a list. It is empty if the message has
    none, or if ``has_unreadable_headers`` is true. ``timestamp`` is Kafka's, in milliseconds since 1970 UTC, or None if
    the broker gave none; ``attempt`` counts from 1. A copy, pickled or not, holds plain values only.
    """

    __slots__ = ("__weakref__", "_attempt", "_message", "_offset", "_origin", "_submitted")
    _origin: Any
    _submitted: float | None
    """When it was submitted, if metrics are on and its origin does not hold that time. Else unset, at no cost."""

    def __init__(self, message: Message, offset: int, origin: Origin, attempt: int = 1) -> None:
        self._message = message
        self._offset = offset
        self._origin = origin
        self._attempt = attempt

    @property
    def topic(self) -> str:
        return self._message.topic()

    @property
    def partition(self) -> int:
        return self._message.partition()

    @property
    def offset(self) -> int:
        return self._offset

    @property
    def epoch(self) -> int:
        """Number of the assignment that read this message; grows with every assignment of the consumer."""
        return self._origin.epoch  # type: ignore[no-any-return]  # Origin has it

    @property
    def key(self) -> bytes | None:
        return self._message.key()

    @property
    def payload(self) -> bytes | None:
        return self._message.value()

    if TYPE_CHECKING:

        @property
        def value(self) -> V_co: ...
        @property
        def decoded_key(self) -> Any: ...

    else:
        value = payload
        decoded_key = key

    @property
    def headers(self) -> Headers:
        return list(headers_of(self._message) or ())

    @property
    def has_unreadable_headers(self) -> bool:
        """Whether the message has headers that no Python client can read, because a name is not UTF-8."""
        return type(headers_of(self._message)) is UnreadableHeaders

    @property
    def timestamp(self) -> int | None:
        kind, milliseconds = self._message.timestamp()
        return milliseconds if kind else None

    @property
    def attempt(self) -> int:
        return self._attempt

    @property
    def tp(self) -> TopicPartition:
        return TopicPartition(self._message.topic(), self._message.partition())

    @property
    def id(self) -> str:
        """``topic-partition-offset``: names the message, the same in every attempt and epoch."""
        return f"{self._message.topic()}-{self._message.partition()}-{self._offset}"

    @property
    def size_bytes(self) -> int:
        """Bytes of key, value and headers."""
        message = self._message
        return len(message) + len(message.key() or b"") + header_bytes(message)

    @property
    def message(self) -> Message:
        """The client's message as it was read. Headers that cannot be read are an empty list in it."""
        headers_of(self._message)
        return self._message

    @property
    def origin(self) -> PartitionOrigin:
        """The virtual partition that holds the item; for the library's own parts."""
        return self._origin  # type: ignore[no-any-return]  # virtual partitions are

    def next_attempt(self) -> WorkItem:
        """The item of the next attempt; this one stays as it is."""
        return WorkItem(self._message, self._offset, self._origin, self._attempt + 1)

    def same_attempt(self) -> WorkItem:
        """A new item for the same attempt, which is made again; this one stays as it is."""
        return WorkItem(self._message, self._offset, self._origin, self._attempt)

    def __reduce__(self) -> tuple[Any, ...]:
        return unpacked_item, (packed_item(self),)

    def __repr__(self) -> str:
        return f"<WorkItem {self.id} epoch={self.epoch} attempt={self._attempt}>"


def value_bytes(item: WorkItem[Any]) -> int:
    """Bytes of the value: a fifth of what ``size_bytes`` costs, for a bound that need not be exact."""
    return len(item._message)


def packed_item(item: WorkItem[Any], carrier: dict[str, str] | None = None) -> Row:
    """All of ``item`` as plain values, with the span of its earlier attempt, and without its partition."""
    message = item._message
    return (
        message.topic(),
        message.partition(),
        item._offset,
        message.key(),
        message.value(),
        headers_of(message),
        message.timestamp(),
        message.leader_epoch(),
        item._origin.epoch,
        item._attempt,
        carrier,
    )


def unpacked_item(row: Row) -> WorkItem:
    """The item of these values, as the worker gets it."""
    message = SentMessage(row)
    return WorkItem(message, row[2], message, row[9])


def place_of(item: WorkItem) -> dict[str, object]:
    """The message's topic, partition, offset and epoch, as the fields of a log record."""
    return {"topic": item.topic, "partition": item.partition, "offset": item.offset, "epoch": item.epoch}
