"""What the engine and its worker processes say to each other: frames of a kind and a body, and how items travel.

Each frame is its length, its kind, its body. Engine to process: ``SETUP`` once, then ``ITEMS``. Process to engine:
``READY`` or ``REFUSED`` once, then of items, in the order of their numbers: ``PROGRESS`` (all up to this one returned,
but for those that were told otherwise before), ``FAILED`` and ``SKIPPED`` (recalled, or behind a failure in their run,
before they began); and ``LOG`` at any time.
"""

from __future__ import annotations

import pickle
import struct
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.dto import WorkItem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrallel_consumer.dto import Headers

SETUP, ITEMS = 1, 2
READY, REFUSED, PROGRESS, FAILED, SKIPPED, LOG = 3, 4, 5, 6, 7, 8

READ_BYTES = 256 * 1024
PICKLE_PROTOCOL = 5

_HEAD = struct.Struct("=IB")
_PROGRESS = struct.Struct("=Qd")
_RANGE = struct.Struct("=QQ")

Row = tuple[Any, ...]


def frame(kind: int, body: bytes = b"") -> bytes:
    """One frame, ready to be sent. Bodies of 4 GiB and more do not fit: struct.error."""
    return _HEAD.pack(len(body), kind) + body


def progress(done: int, seconds_each: float) -> bytes:
    """The body of ``PROGRESS``: the highest number that ended, and how long one item took of late."""
    return _PROGRESS.pack(done, seconds_each)


def parsed_progress(body: bytes) -> tuple[int, float]:
    """What ``progress`` made the body from."""
    done, seconds_each = _PROGRESS.unpack(body)
    return done, seconds_each


def skipped(first: int, last: int) -> bytes:
    """The body of ``SKIPPED``: these were given back before they began, both ends included."""
    return _RANGE.pack(first, last)


def parsed_skipped(body: bytes) -> tuple[int, int]:
    """What ``skipped`` made the body from."""
    first, last = _RANGE.unpack(body)
    return first, last


class FrameReader:
    """Cuts what comes out of a socket into frames; what is cut short at the end is never told."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The frames that ``data`` completes, as (kind, body); must be read to the end."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _HEAD.size:
            length, kind = _HEAD.unpack_from(buffer, at)
            end = at + _HEAD.size + length
            if len(buffer) < end:
                break
            yield kind, bytes(memoryview(buffer)[at + _HEAD.size : end])
            at = end
        del buffer[:at]


class SentMessage:
    """A message as it arrived in a worker process; implements ``dto.Message``, and is its item's origin too."""

    __slots__ = ("_row",)
    is_ordered = False  # What is in order was put in order before it came here.

    def __init__(self, row: Row) -> None:
        self._row = row

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
        """None where there are none, as the client answers."""
        headers: Headers | None = self._row[5]
        return headers

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
        """The span of the attempt before, where attempts are traced."""
        carrier: dict[str, str] | None = self._row[10]
        return carrier

    def __len__(self) -> int:
        """Bytes of the value, as the client's messages say."""
        return len(self._row[4] or b"")


def packed_item(item: WorkItem, carrier: dict[str, str] | None = None) -> Row:
    """All of ``item`` as plain values, and of its earlier attempt's span."""
    message = item.message
    return (
        message.topic(),
        message.partition(),
        item.offset,
        message.key(),
        message.value(),
        message.headers(),
        message.timestamp(),
        message.leader_epoch(),
        item.origin.epoch,
        item.attempt,
        carrier,
    )


def unpacked_item(row: Row) -> WorkItem:
    """The item of these values, as the worker gets it."""
    message = SentMessage(row)
    return WorkItem(message, row[2], message, row[9])


def packed_items(first: int, generation: int, failures_seen: int, runs: list[int], rows: list[Row]) -> bytes:
    """The body of ``ITEMS``: items with numbers from ``first`` on, all of one generation.

    ``runs`` has the number of each one's run, 0 for none; what is sent follows the first ``failures_seen`` failures
    that the process told of, and those are over for it.
    """
    return pickle.dumps((first, generation, failures_seen, runs, rows), PICKLE_PROTOCOL)
