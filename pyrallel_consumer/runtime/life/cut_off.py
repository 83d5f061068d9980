"""Names, for the log, of running messages for which a stop or a revoke no longer waits."""

from __future__ import annotations

from collections.abc import Callable, Collection

from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.log import listed


class Noted:
    """A predicate that notes the items that match ``which``: engines show their items only by calling a predicate."""

    def __init__(self, which: Callable[[WorkItem], bool]) -> None:
        self.items: dict[WorkItem, None] = {}
        self._which = which

    def __call__(self, item: WorkItem) -> bool:
        holds = self._which(item)
        if holds:
            self.items[item] = None
        return holds


def names_of(items: Collection[WorkItem]) -> str:
    """Names like ``orders-0-17, orders-1-4``, in order; of many the first ones, and the number of the others."""
    return listed([item.id for item in sorted(items, key=lambda item: (*item.tp, item.offset))])
