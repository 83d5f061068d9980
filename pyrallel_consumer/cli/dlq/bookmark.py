"""Which letters of one partition have been replayed: the committed offset, and the map that travels with it. Pure.

The same form as in a consumer's commits: the lowest letter that was not replayed, and the replayed ones above it. So
a replay of some of the letters forgets neither the sent letters nor those left for later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Final

from pyrallel_consumer.control_plane.offsets.commit_encoder import METADATA_LIMIT_BYTES, MetadataRefused, decode, encode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition

ROOM_BYTES: Final = METADATA_LIMIT_BYTES - 500
"""The part of the metadata that a plan may fill; the rest is for letters that fail and so cut the map into pieces."""


class Bookmark:
    """Begins with the last commit; letters are ``read`` in ascending order and ``replayed`` in any."""

    def __init__(self, tp: TopicPartition, restored: OffsetMap) -> None:
        self.tp = tp
        self._waiting = dict.fromkeys(restored.unfinished)  # ascending: only what lies above everything is added
        self._top = restored.top
        self._expected = deque(restored.unfinished)

    @property
    def waiting(self) -> int:
        """How many known letters are not replayed."""
        return len(self._waiting)

    def read(self, offset: int) -> bool:
        """A letter was read; returns whether it must be replayed. Expected letters before it are gone."""
        while self._expected and self._expected[0] <= offset:
            expected = self._expected.popleft()
            if expected != offset:
                self._waiting.pop(expected, None)
        if offset >= self._top:
            self._waiting[offset] = None
            self._top = offset + 1
        return offset in self._waiting

    def replayed(self, offset: int) -> None:
        """The broker has acknowledged it in its source topic."""
        self._waiting.pop(offset, None)

    def read_to_end(self, end_offset: int) -> bool:
        """There are no more letters before ``end_offset``; returns whether that changes the commit."""
        before = self.commit()[0]
        while self._expected and self._expected[0] < end_offset:
            self._waiting.pop(self._expected.popleft(), None)
        self._top = max(self._top, end_offset)
        return self.commit()[0] != before

    def finished(self) -> OffsetMap:
        """The replayed letters, as a map that begins at the offset to commit."""
        return self._map(())

    def commit(self) -> tuple[int, str]:
        """The offset to commit and its metadata."""
        offset_map = self._map(())
        return offset_map.base, encode(offset_map, self.tp)

    def has_room_for(self, offsets: Collection[int]) -> bool:
        """Whether the commit has room for these letters too, when they are replayed."""
        offset_map = self._map(offsets)
        if offset_map.is_empty:
            return True
        highest = offset_map.top - 1
        for offset in reversed(offset_map.unfinished):
            if offset != highest:
                break
            highest -= 1
        told = decode(encode(offset_map, self.tp, ROOM_BYTES), self.tp, offset_map.base)
        return told.top > highest

    def _map(self, replayed: Collection[int]) -> OffsetMap:
        gone = frozenset(replayed)
        waiting = tuple(offset for offset in self._waiting if offset not in gone)
        return OffsetMap(waiting[0] if waiting else self._top, self._top, waiting)


def bookmark_of(
    tp: TopicPartition, committed_offset: int | None, metadata: str | None, low: int, high: int
) -> Bookmark:
    """The commit, as far as it fits the log, which reaches from ``low`` to ``high``.

    Raises ValueError for a commit that no replay made: it does not say which letters were replayed.
    """
    if committed_offset is None:
        return Bookmark(tp, OffsetMap(low, low))
    if committed_offset > high:
        raise ValueError(
            f"the group's offset {committed_offset} in {tp} lies beyond the end {high}: the topic was created again"
        )
    try:
        restored = decode(metadata, tp, committed_offset)
    except MetadataRefused as error:
        raise ValueError(f"the group's commit in {tp} cannot be read: {error}") from error
    if restored.top > high:
        raise ValueError(f"the group's commit in {tp} names letters beyond the end {high}: the topic was created again")
    base = max(low, committed_offset)
    if base == committed_offset:
        return Bookmark(tp, restored)
    rest = tuple(offset for offset in restored.unfinished if offset >= base)
    return Bookmark(tp, OffsetMap(base, max(base, restored.top), rest))
