"""The places of messages in a batch, found from the items that a worker names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrallel_consumer.dto import WorkItem


class Places:
    """Finds items among ``items`` by identity, else by ``id`` and ``epoch``: copies match too."""

    def __init__(self, items: Sequence[WorkItem]) -> None:
        self._items = items
        self._by_identity = {id(item): place for place, item in enumerate(items)}
        self._by_name: dict[tuple[str, int], int] | None = None

    def of(self, item: Any) -> int | None:
        """The place of ``item``; None if it is not in the batch. AttributeError if it is no item at all."""
        place = self._by_identity.get(id(item))
        if place is not None:
            return place
        if self._by_name is None:
            self._by_name = {(each.id, each.epoch): nth for nth, each in enumerate(self._items)}
        return self._by_name.get((item.id, item.epoch))
