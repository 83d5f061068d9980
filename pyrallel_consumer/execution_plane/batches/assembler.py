"""Collects messages until there are enough for a batch, or the first of them has waited long enough. Pure.

Messages that may be in one batch (see ``BatchBy``) are collected together, in the order of their arrival. Messages of
one ordered origin are never collected in two places at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.control_plane.size_estimate import SizeEstimate, beside_value
from pyrallel_consumer.dto import BatchBy

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from pyrallel_consumer.control_plane.policies import BatchPolicy
    from pyrallel_consumer.dto import WorkItem


@dataclass(slots=True)
class Collected:
    """Messages collected for one batch, since ``opened_at``; ``total_bytes`` is approximate."""

    key: Hashable
    opened_at: float
    items: list[WorkItem] = field(default_factory=list)
    total_bytes: int = 0


class Assembler:
    """``full`` collections take no more messages: ``add`` stops at each, and the caller must take it out."""

    def __init__(self, policy: BatchPolicy) -> None:
        self._size = policy.size
        self._max_bytes = policy.max_bytes
        self._linger_seconds = policy.linger_seconds
        self._open: dict[Hashable, Collected] = {}
        self._key_of: Callable[[WorkItem], Hashable] | None = _KEYS[policy.by]
        self._is_by_key = policy.by is BatchBy.KEY
        self._place_of: dict[Any, Hashable] = {}
        """For ordered origins with messages of several keys: the key under which they are collected."""
        self._beside = SizeEstimate(beside_value)
        self.full: list[Collected] = []

    def __len__(self) -> int:
        return sum([len(collected.items) for collected in self._open.values()])

    def add(self, items: Sequence[WorkItem], at: int, now: float) -> int:
        """Collect ``items`` from place ``at`` on; returns the place of the first that is not collected.

        Stops where something is full, and before an item whose ordered origin is collected under another key: that is
        full then as well.
        """
        key_of, count = self._key_of, len(items)
        if key_of is None:
            return self._extend(None, items, at, count, now)
        while at < count and not self.full:
            item = items[at]
            key = key_of(item)
            if self._is_by_key and item._origin.is_ordered:
                place = self._place_of.setdefault(item._origin, key)
                if place != key:
                    self._shut(place)
                    break
            end = at + 1
            while end < count and key_of(items[end]) == key:
                end += 1
            at = self._extend(key, items, at, end, now)
        return at

    def next_due_at(self) -> float | None:
        """When the oldest collection has waited long enough; None if there is none."""
        for collected in self._open.values():
            return collected.opened_at + self._linger_seconds
        return None

    def take_full(self) -> list[Collected]:
        """All that are full."""
        found, self.full = self.full, []
        return found

    def take_due(self, now: float, *, is_enough: bool = False) -> Collected | None:
        """The oldest collection if it has waited long enough; with ``is_enough`` in any case."""
        oldest = next(iter(self._open.values()), None)
        if oldest is None or not (is_enough or oldest.opened_at + self._linger_seconds <= now):
            return None
        self._shut(oldest.key)
        return self.full.pop()

    def take_out(self, which: Callable[[WorkItem], bool]) -> list[WorkItem]:
        """Remove the matching items, and all behind each of its ordered origin; in the order of their arrival."""
        gone: list[WorkItem] = []
        for collected in list(self._open.values()):
            taken = with_followers(collected.items, which)
            if taken:
                left = set(taken)
                collected.items = [item for item in collected.items if item not in left]
                collected.total_bytes = sum([item.size_bytes for item in collected.items])
                gone += taken
                if not collected.items:
                    del self._open[collected.key]
        if self._place_of:
            kept = {item._origin for collected in self._open.values() for item in collected.items}
            self._place_of = {origin: key for origin, key in self._place_of.items() if origin in kept}
        return gone

    # Inside

    def _extend(self, key: Hashable, items: Sequence[WorkItem], at: int, end: int, now: float) -> int:
        """Add ``items[at:end]`` to the batch collected under ``key`` until it is full; returns the index reached."""
        collected = self._open.get(key)
        if collected is None:
            collected = self._open[key] = Collected(key, now)
        end = min(end, at + self._size - len(collected.items))
        piece = items if at == 0 and end == len(items) else items[at:end]
        messages = [item._message for item in piece]
        total_bytes = collected.total_bytes + sum(map(len, messages)) + self._beside.of_new(messages)
        if total_bytes > self._max_bytes:
            return at + self._extend_one_by_one(collected, piece)
        collected.items.extend(piece)
        collected.total_bytes = total_bytes
        if len(collected.items) >= self._size:
            self._shut(key)
        return end

    def _extend_one_by_one(self, collected: Collected, items: Sequence[WorkItem]) -> int:
        """Add until it is full; returns how many. A message above the size limit of a batch goes alone."""
        for count, item in enumerate(items):
            size_bytes = item.size_bytes
            if collected.items and collected.total_bytes + size_bytes > self._max_bytes:
                self._shut(collected.key)
                return count
            collected.items.append(item)
            collected.total_bytes += size_bytes
        if len(collected.items) >= self._size:
            self._shut(collected.key)
        return len(items)

    def _shut(self, key: Hashable) -> None:
        collected = self._open.pop(key)
        self.full.append(collected)
        for item in collected.items if self._place_of else ():
            self._place_of.pop(item._origin, None)


def with_followers(items: Sequence[WorkItem], which: Callable[[WorkItem], bool]) -> list[WorkItem]:
    """The matching ``items``, and all items behind one of them that share its ordered origin."""
    found: list[WorkItem] = []
    origins: set[Any] = set()
    for item in items:
        origin = item._origin
        if (origin.is_ordered and origin in origins) or which(item):
            found.append(item)
            origins.add(origin)
    return found


def _topic(item: WorkItem) -> Hashable:
    return item._message.topic()


def _partition(item: WorkItem) -> Hashable:
    message = item._message
    return message.topic(), message.partition()


def _key(item: WorkItem) -> Hashable:
    return item._origin, item._message.key()


_KEYS: dict[BatchBy, Callable[[WorkItem], Hashable] | None] = {
    BatchBy.ANY: None,
    BatchBy.TOPIC: _topic,
    BatchBy.PARTITION: _partition,
    BatchBy.KEY: _key,
}
