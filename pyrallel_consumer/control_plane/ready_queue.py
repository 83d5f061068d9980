"""The items of one partition that may start now, handed out lowest offset first.

While everything that is ready can start at once, nothing is sorted; a heap is built only when slots run short.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.dto import WorkItem


class ReadyQueue:
    """Ready items; ``push`` is cheap, ``take`` sorts only what it must."""

    __slots__ = ("_heap", "_items")

    def __init__(self) -> None:
        self._items: list[WorkItem] = []
        self._heap: list[tuple[int, WorkItem]] = []

    def __len__(self) -> int:
        return len(self._items) + len(self._heap)

    def push(self, item: WorkItem) -> None:
        """Add an item that may start."""
        self._items.append(item)

    def take(self, most: int) -> list[WorkItem]:
        """Remove and return up to ``most`` items, the lowest offsets first unless all are taken."""
        items, heap = self._items, self._heap
        if not heap and len(items) <= most:
            self._items = []
            return items
        if not heap:
            heap.extend((item.offset, item) for item in items)
            heapify(heap)
        else:
            for item in items:
                heappush(heap, (item.offset, item))
        items.clear()
        return [heappop(heap)[1] for _ in range(min(most, len(heap)))]

    def discard(self, which: Callable[[WorkItem], bool]) -> int:
        """Remove the items that match; returns how many."""
        before = [*self._items, *(item for _, item in self._heap)]
        self._heap.clear()
        self._items = [item for item in before if not which(item)]
        return len(before) - len(self._items)
