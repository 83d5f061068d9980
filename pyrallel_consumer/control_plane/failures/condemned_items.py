"""Items of poisoned keys: they are held instead of started, and dead-lettered untried. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.failures.poison_keys import PoisonKeys
    from pyrallel_consumer.control_plane.flow.blocked_messages import BlockedMessages
    from pyrallel_consumer.control_plane.flow.loads import Loads
    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
    from pyrallel_consumer.dto import WorkItem


class CondemnedItems:
    """The condemned items that were found since the last ``take``."""

    def __init__(self, poison_keys: PoisonKeys, loads: Loads, blocked: BlockedMessages) -> None:
        self._poison_keys = poison_keys
        self._loads = loads
        self._blocked = blocked
        self._items: list[WorkItem] = []

    def take(self) -> list[WorkItem]:
        """The condemned items, each once."""
        items, self._items = self._items, []
        return items

    def without(self, items: list[WorkItem]) -> list[WorkItem]:
        """The items of keys that are not poisoned. Items behind a poisoned item in its order are put back."""
        sound: list[WorkItem] = []
        stopped: set[object] = set()
        for item in items:
            queue = item._origin
            if queue not in stopped and not self._poison_keys.is_poisoned(item):
                sound.append(item)
                continue
            work: PartitionWork = queue.work
            self._loads.touch(work)
            if queue in stopped:
                work.put_back(item)
                continue
            if queue.is_ordered:
                stopped.add(queue)
            if work.condemn(item):
                self._blocked.add(work)
                self._items.append(item)
        return sound
