"""Messages and items of work without a broker, to call a worker in a test as the consumer would.

Nothing here reads Kafka: a ``PlainMessage`` holds what it is given and answers the methods that the library asks of a
client's message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.dto import WorkItem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrallel_consumer.dto import Headers

_NOT_AVAILABLE, _CREATE_TIME = 0, 1


class PlainMessage:
    """A message made of plain values; implements ``dto.Message``.

    ``timestamp`` is the time of creation in milliseconds since 1970 UTC, None for a message without one.
    """

    __slots__ = ("_headers", "_key", "_leader_epoch", "_offset", "_partition", "_timestamp", "_topic", "_value")

    def __init__(
        self,
        topic: str = "test",
        partition: int = 0,
        offset: int = 0,
        key: bytes | None = None,
        value: bytes | None = None,
        *,
        headers: Iterable[tuple[str, bytes | None]] | None = None,
        timestamp: int | None = None,
        leader_epoch: int | None = None,
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._offset = offset
        self._key = key
        self._value = value
        self._headers: Headers | None = None if headers is None else list(headers)
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
        """None where there are none, as the client answers; ``WorkItem.headers`` makes an empty list of it."""
        return None if self._headers is None else list(self._headers)

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


class _PlainOrigin:
    """Stands for the assignment that a test's item came from."""

    __slots__ = ("epoch",)
    is_ordered = False

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch


def work_item(
    value: bytes | None = None,
    *,
    key: bytes | None = None,
    topic: str = "test",
    partition: int = 0,
    offset: int = 0,
    headers: Iterable[tuple[str, bytes | None]] | None = None,
    timestamp: int | None = None,
    epoch: int = 1,
    attempt: int = 1,
) -> WorkItem:
    """The item that a worker would get for such a message.

    For example ``await worker(work_item(b'{"id": 7}', key=b"customer-1", attempt=2))``.
    """
    message = PlainMessage(topic, partition, offset, key, value, headers=headers, timestamp=timestamp)
    return WorkItem(message, offset, _PlainOrigin(epoch), attempt)
