"""The messages between the engine and its worker processes: frames of a kind and a body, and how items travel.

Each frame is its length, its kind, its body. Engine to process: ``SETUP`` once, then ``ITEMS``. Process to engine:
``READY`` or ``REFUSED`` once. Then reports on items, in the order of their numbers: ``PROGRESS`` (all up to this number
returned, except those with an earlier report), ``FAILED``, ``SKIPPED`` (never began: recalled, or behind a failure in
their run), ``RETURNED`` (the worker's records, before the item ends). ``LOG`` comes at any time. The last frame is
``UNLEFT``, if leaving the lifespan failed.

A process with an event loop reports items by their slots, in the order of their ends: ``ENDED`` (these returned),
``FAILED``, ``RETURNED``, ``OVERDUE`` (these passed their timeout and were cancelled), ``SKIPPED`` (slot and number);
and the engine tells it to ``CANCEL`` these. Slots travel as an ``array`` of ``SLOT_TYPE``.
"""

from __future__ import annotations

import pickle
import struct
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrallel_consumer.message import Row

SETUP, ITEMS, CANCEL = 1, 2, 10
READY, REFUSED, PROGRESS, FAILED, SKIPPED, LOG, RETURNED, ENDED, OVERDUE = 3, 4, 5, 6, 7, 8, 9, 11, 12
UNLEFT = 20

SLOT_TYPE = "I"

READ_BYTES = 256 * 1024
PICKLE_PROTOCOL = 5

_HEAD = struct.Struct("=IB")
_PROGRESS = struct.Struct("=Qd")
_RANGE = struct.Struct("=QQ")
_SLOTS = struct.Struct("=QQI")


def frame(kind: int, body: bytes = b"") -> bytes:
    """One frame, ready to be sent. Bodies of 4 GiB and more do not fit: struct.error."""
    return _HEAD.pack(len(body), kind) + body


def progress(done: int, seconds_each: float) -> bytes:
    """The body of ``PROGRESS``: the highest number that ended, and the recent duration of one item."""
    return _PROGRESS.pack(done, seconds_each)


def parsed_progress(body: bytes) -> tuple[int, float]:
    """The values from which ``progress`` made the body."""
    done, seconds_each = _PROGRESS.unpack(body)
    return done, seconds_each


def skipped(first: int, last: int) -> bytes:
    """The body of ``SKIPPED``: these were given back before they began, both ends included."""
    return _RANGE.pack(first, last)


def parsed_skipped(body: bytes) -> tuple[int, int]:
    """The values from which ``skipped`` made the body."""
    first, last = _RANGE.unpack(body)
    return first, last


class FrameReader:
    """Splits the data of a socket into frames; an incomplete frame at the end is never returned."""

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


def packed_items(first: int, generation: int, failures_seen: int, runs: list[int], rows: list[Row]) -> bytes:
    """The body of ``ITEMS``: items with numbers from ``first`` on, all of one generation.

    ``runs`` has the number of each item's run, 0 for none. The engine has handled the first ``failures_seen`` failures
    that the process reported, so these are over for the process.
    """
    return pickle.dumps((first, generation, failures_seen, runs, rows), PICKLE_PROTOCOL)


def packed_slots(generation: int, first: int, slots: list[int], rows: bytes) -> bytes:
    """The body of ``ITEMS`` to a process with an event loop: the number of the first, a slot each, pickled rows."""
    return _SLOTS.pack(generation, first, len(slots)) + array(SLOT_TYPE, slots).tobytes() + rows


def parsed_slots(body: bytes) -> tuple[int, int, array[int], list[Row]]:
    """The values from which ``packed_slots`` made the body."""
    generation, first, count = _SLOTS.unpack_from(body)
    slots = array(SLOT_TYPE)
    end = _SLOTS.size + count * slots.itemsize
    view = memoryview(body)
    slots.frombytes(view[_SLOTS.size : end])
    return generation, first, slots, pickle.loads(view[end:])  # noqa: S301 -- from our own engine
