"""The items of one partition that may start now, handed out lowest offset first when slots are short.

While everything that is ready could start at once, nothing is sorted: items go out as they came.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.dto import WorkItem


class ReadyQueue:
    """Ready items. Those that became ready are appended to ``arrived`` directly: it is on the way of every message."""

    __slots__ = ("_heap", "arrived")

    def __init__(self) -> None:
        self.arrived: list[WorkItem] = []
        self._heap: list[tuple[int, WorkItem]] = []

    def __len__(self) -> int:
        return len(self.arrived) + len(self._heap)

    def take(self, most: int, slots: int) -> list[WorkItem]:
        """Remove and return up to ``most`` items; where not all could start in ``slots``, the lowest offsets."""
        arrived, heap = self.arrived, self._heap
        if not heap and len(arrived) <= slots:
            taken = arrived[:most]
            del arrived[:most]
            return taken
        if heap:
            for item in arrived:
                heappush(heap, (item.offset, item))
        else:
            heap.extend((item.offset, item) for item in arrived)
            heapify(heap)
        arrived.clear()
        return [heappop(heap)[1] for _ in range(min(most, len(heap)))]

    def take_after(self, offset: int) -> WorkItem:
        """Remove and return the lowest offset beyond ``offset``, or the lowest of all; there must be one."""
        items = [*self.arrived, *(item for _, item in self._heap)]
        beyond = [item for item in items if item.offset > offset]
        found = min(beyond or items, key=lambda item: item.offset)
        self.discard(lambda item: item is found)
        return found

    def discard(self, which: Callable[[WorkItem], bool]) -> int:
        """Remove the items that match; returns how many."""
        before = [*self.arrived, *(item for _, item in self._heap)]
        self._heap.clear()
        self.arrived[:] = [item for item in before if not which(item)]
        return len(before) - len(self.arrived)
