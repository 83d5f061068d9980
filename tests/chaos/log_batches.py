"""The batches of a partition's log, from the bytes of its segments: what no client shows, such as producers' epochs."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
"""First offset, size of what follows, leader epoch, magic, checksum, attributes, distance of the last offset, two
times, producer id and epoch, first sequence number, number of records."""
_SIZE_BYTES: Final = 12
"""The first offset and the size itself."""


class Batch(NamedTuple):
    """Records of one producer with these offsets; ``is_marker``: it ends that producer's transaction."""

    offsets: range
    producer_id: int
    epoch: int
    is_transactional: bool
    is_marker: bool


def batches(segment: bytes) -> Iterator[Batch]:
    """The whole batches of one segment, in their order."""
    at = 0
    while at + _HEADER.size <= len(segment):
        first, size, *_, attributes, last, _, _, producer_id, epoch, _, _ = _HEADER.unpack_from(segment, at)
        at += _SIZE_BYTES + size
        if not size or at > len(segment):
            return  # Written at this moment.
        is_marker = bool(attributes & _CONTROL)
        yield Batch(range(first, first + last + 1), producer_id, epoch, bool(attributes & _TRANSACTIONAL), is_marker)


def read_batches(folder: Path) -> Iterator[Batch]:
    """The batches of the partition whose segments lie in ``folder``; none if there is no such folder."""
    for segment in sorted(folder.glob("*.log")):
        yield from batches(segment.read_bytes())
