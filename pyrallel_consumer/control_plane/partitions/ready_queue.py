"""The items of one partition that may start now, handed out lowest offset first when slots are short.

While all ready items could start at once, nothing is sorted: items are handed out as they came. Delivered items are in
ascending order already. So only items that become ready later are ever sorted, and the cost does not grow with the
delivered items that wait.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrallel_consumer.dto import WorkItem


class ReadyQueue:
    """Ready items. Callers append to both lists directly, because this is every message's path.

    ``delivered`` takes items that are ready when they are delivered, so ascending by offset. ``arrived`` takes items
    that became ready later, in any order.
    """

    __slots__ = ("_heap", "_pushed", "arrived", "delivered")

    def __init__(self) -> None:
        self.delivered: deque[WorkItem] = deque()
        self.arrived: list[WorkItem] = []
        self._heap: list[tuple[int, int, WorkItem]] = []
        self._pushed = count()  # Tickets of a key that was given back may stand here twice, with one offset.

    def __len__(self) -> int:
        return len(self.delivered) + len(self.arrived) + len(self._heap)

    def __contains__(self, item: object) -> bool:
        """Whether ``item``, the lowest unfinished item, is ready: it is first in the queue, or became ready late."""
        delivered, heap = self.delivered, self._heap
        is_first = bool(delivered and delivered[0] is item) or bool(heap and heap[0][2] is item)
        return is_first or any(each is item for each in self.arrived)

    def take(self, most: int, slots: int) -> list[WorkItem]:
        """Remove and return up to ``most`` items; if more are ready than ``slots``, the lowest offsets."""
        delivered, arrived, heap = self.delivered, self.arrived, self._heap
        if heap or len(delivered) + len(arrived) > slots:
            return self._take_lowest(most)
        taken = [delivered.popleft() for _ in range(min(most, len(delivered)))]
        more = most - len(taken)
        taken += arrived[:more]
        del arrived[:more]
        return taken

    def take_after(self, offset: int) -> WorkItem:
        """Remove and return the item with the lowest offset above ``offset``, else with the lowest of all."""
        items = self.items()
        beyond = [item for item in items if item.offset > offset]
        found = min(beyond or items, key=lambda item: item.offset)
        self.discard(lambda item: item is found)
        return found

    def discard(self, which: Callable[[WorkItem], bool]) -> int:
        """Remove the items that match; returns how many."""
        before = self.items()
        kept = [item for item in before if not which(item)]
        self.delivered.clear()
        self._heap.clear()
        self.arrived[:] = kept
        return len(before) - len(kept)

    def items(self) -> list[WorkItem]:
        return [*self.delivered, *self.arrived, *(item for _, _, item in self._heap)]

    def _take_lowest(self, most: int) -> list[WorkItem]:
        delivered, arrived, heap = self.delivered, self.arrived, self._heap
        if len(arrived) > len(heap):
            heap.extend((item.offset, next(self._pushed), item) for item in arrived)
            heapify(heap)
        else:
            for item in arrived:
                heappush(heap, (item.offset, next(self._pushed), item))
        arrived.clear()
        taken: list[WorkItem] = []
        while len(taken) < most:
            if heap and not (delivered and delivered[0].offset < heap[0][0]):
                taken.append(heappop(heap)[2])
            elif delivered:
                taken.append(delivered.popleft())
            else:
                break
        return taken
