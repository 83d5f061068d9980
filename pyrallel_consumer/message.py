"""The one adapter around the client's message: its headers are read here and nowhere else.

A header's name is bytes on the wire, and clients of other languages may write bytes that are not UTF-8. The first
``headers()`` of that message raises SystemError. The second returns a list with a NULL in it, and touching the NULL
ends the process. So ``headers_of`` calls it once, and stores a failure in the message: every later caller, including
the user, gets an empty list.

The interpreter notices the failure only where it checks the result of a C function. After a few runs a plain
``message.headers()`` is compiled to a call without that check: then the list comes back, and the next call raises the
error. ``methodcaller`` makes a call that is always checked.
"""

from __future__ import annotations

from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

Headers = list[tuple[str, bytes | None]]
Row = tuple[Any, ...]
"""A message and the fields that a ``WorkItem`` adds, as plain values."""

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    V_co = TypeVarWithDefault("V_co", covariant=True, default=bytes | None)
else:
    V_co = TypeVar("V_co", covariant=True)  # Defaults are Python 3.13's, and every type checker's.
"""The type of a ``WorkItem``'s value: raw bytes unless the consumer decodes it."""

HEADER_OVERHEAD_BYTES: Final = 128
"""The cost of a header beside its name and value: a pair, a text and a bytes object."""


_headers = methodcaller("headers")


class Message(Protocol):
    """The methods of ``confluent_kafka.Message`` that the library uses."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def headers(self) -> Headers | None: ...
    def set_headers(self, headers: Headers, /) -> None: ...
    def timestamp(self) -> tuple[int, int]: ...
    def leader_epoch(self) -> int | None: ...
    def __len__(self) -> int: ...


class UnreadableHeaders(Headers):
    """Replaces headers that the client cannot read; always empty. It marks its message, even in another process."""


def headers_of(message: Message) -> Headers | None:
    """The message's headers, not to be changed; None if there are none, ``UnreadableHeaders`` if they are unreadable.

    Reading them costs about 0.4 µs per header the first time, so the library does not read the headers of every
    message.
    """
    try:
        headers: Headers | None = _headers(message)
    except (SystemError, UnicodeDecodeError):
        headers = UnreadableHeaders()
        message.set_headers(headers)
    return headers


def header_bytes(message: Message) -> int:
    """Bytes that the message's headers take in memory; 0 if there are none, or none that can be read."""
    headers = headers_of(message)
    if not headers:
        return 0
    return sum([HEADER_OVERHEAD_BYTES + len(name) + len(value or b"") for name, value in headers])


class SentMessage:
    """A message of plain values in another process; implements ``Message``, and is its item's origin."""

    __slots__ = ("_headers", "_row")
    is_ordered = False  # Messages were put in order before they came here.

    def __init__(self, row: Row) -> None:
        self._row = row
        self._headers: Headers | None = row[5]

    @property
    def row(self) -> Row:
        """The values from which it was made."""
        return self._row

    def topic(self) -> str:
        topic: str = self._row[0]
        return topic

    def partition(self) -> int:
        partition: int = self._row[1]
        return partition

    def offset(self) -> int:
        offset: int = self._row[2]
        return offset

    def key(self) -> bytes | None:
        key: bytes | None = self._row[3]
        return key

    def value(self) -> bytes | None:
        value: bytes | None = self._row[4]
        return value

    def headers(self) -> Headers | None:
        """None if there are none, as the client does."""
        return self._headers

    def set_headers(self, headers: Headers) -> None:
        self._headers = headers

    def timestamp(self) -> tuple[int, int]:
        """Kind and milliseconds."""
        timestamp: tuple[int, int] = self._row[6]
        return timestamp

    def leader_epoch(self) -> int | None:
        leader_epoch: int | None = self._row[7]
        return leader_epoch

    @property
    def epoch(self) -> int:
        epoch: int = self._row[8]
        return epoch

    @property
    def carrier(self) -> dict[str, str] | None:
        """The span of the attempt before, if attempts are traced."""
        carrier: dict[str, str] | None = self._row[10]
        return carrier

    def __len__(self) -> int:
        """Bytes of the value, like the client's messages."""
        return len(self._row[4] or b"")
