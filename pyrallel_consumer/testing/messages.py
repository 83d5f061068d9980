"""Messages and items of work without a broker, to call a worker in a test as the consumer would.

Nothing here reads Kafka: a ``PlainMessage`` holds what it is given and answers the methods that the library asks of a
client's message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, TypedDict, TypeVar, Unpack, overload

from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.execution_plane.worker.decoding import DecodedItem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrallel_consumer.dto import Headers

V = TypeVar("V")

_NOT_AVAILABLE, _CREATE_TIME = 0, 1


class PlainMessage:
    """A message made of plain values; implements ``dto.Message``.

    ``timestamp`` is the time of creation in milliseconds since 1970 UTC, None for a message without one. Names of
    ``headers`` may be bytes, as on the wire. Where they are not UTF-8 the message behaves as the client's does: the
    first ``headers()`` raises SystemError, and the names in the list of the second one cannot be touched.
    """

    __slots__ = (
        "_headers",
        "_is_unreadable",
        "_key",
        "_leader_epoch",
        "_offset",
        "_partition",
        "_timestamp",
        "_topic",
        "_value",
    )

    def __init__(
        self,
        topic: str = "test",
        partition: int = 0,
        offset: int = 0,
        key: bytes | None = None,
        value: bytes | None = None,
        *,
        headers: Iterable[tuple[str | bytes, bytes | None]] | None = None,
        timestamp: int | None = None,
        leader_epoch: int | None = None,
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._offset = offset
        self._key = key
        self._value = value
        self._headers: Headers | None = None
        self._is_unreadable = False
        if headers is not None:
            given = [*headers]
            try:
                self._headers = [(_text(name), value) for name, value in given]
            except UnicodeDecodeError:
                self._headers = _WithoutName(given)
                self._is_unreadable = True
        self._timestamp = timestamp
        self._leader_epoch = leader_epoch

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> Headers | None:
        """The message's own list, None if there are none, as in the client; see ``WorkItem.headers``."""
        if self._is_unreadable:
            self._is_unreadable = False
            raise SystemError("<method 'headers'> returned a result with an exception set")
        return self._headers

    def set_headers(self, headers: Headers) -> None:
        """From now on ``headers()`` answers this list."""
        self._headers = headers
        self._is_unreadable = False

    def timestamp(self) -> tuple[int, int]:
        """Kind (0 = not available, 1 = time of creation) and milliseconds (-1 where not available)."""
        return (_NOT_AVAILABLE, -1) if self._timestamp is None else (_CREATE_TIME, self._timestamp)

    def leader_epoch(self) -> int | None:
        return self._leader_epoch

    def __len__(self) -> int:
        """Bytes of the value. As with the client's messages, one without a value is therefore false."""
        return 0 if self._value is None else len(self._value)

    def __repr__(self) -> str:
        return f"<PlainMessage {self._topic}-{self._partition}-{self._offset} key={self._key!r}>"


class _WithoutName(list[Any]):
    """Stands for a list of the client that contains NULL: it has a length, and its entries cannot be read."""

    def __iter__(self) -> NoReturn:
        raise AssertionError("with the client's own message this ends the process: a header's name is NULL")

    def __getitem__(self, _: object) -> NoReturn:
        iter(self)


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode()


class _PlainOrigin:
    """Stands for the assignment that a test's item came from."""

    __slots__ = ("epoch",)
    is_ordered = False

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch


class _Place(TypedDict, total=False):
    """Further arguments of an item."""

    key: bytes | None
    decoded_key: Any
    topic: str
    partition: int
    offset: int
    headers: Iterable[tuple[str | bytes, bytes | None]] | None
    timestamp: int | None
    epoch: int
    attempt: int


_NOT_DECODED: Final = object()


@overload
def work_item(value: bytes | None = None, **more: Unpack[_Place]) -> WorkItem: ...
@overload
def work_item(value: bytes | None = None, *, decoded: V, **more: Unpack[_Place]) -> WorkItem[V]: ...
def work_item(
    value: bytes | None = None,
    *,
    decoded: Any = _NOT_DECODED,
    key: bytes | None = None,
    decoded_key: Any = _NOT_DECODED,
    topic: str = "test",
    partition: int = 0,
    offset: int = 0,
    headers: Iterable[tuple[str | bytes, bytes | None]] | None = None,
    timestamp: int | None = None,
    epoch: int = 1,
    attempt: int = 1,
) -> WorkItem[Any]:
    """The item that a worker would get for this message.

    For example ``await worker(work_item(b'{"id": 7}', key=b"customer-1", attempt=2))``; for a worker of typed payloads
    ``await worker(work_item(decoded=Order(id=7)))``.
    """
    message = PlainMessage(topic, partition, offset, key, value, headers=headers, timestamp=timestamp)
    item: WorkItem[Any] = WorkItem(message, offset, _PlainOrigin(epoch), attempt)
    if decoded is _NOT_DECODED and decoded_key is _NOT_DECODED:
        return item
    decoded_value = value if decoded is _NOT_DECODED else decoded
    return DecodedItem(item, key if decoded_key is _NOT_DECODED else decoded_key, decoded_value)
