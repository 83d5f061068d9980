"""One batch: engines run it as one call, like a single item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyrallel_consumer.dto import WorkItem, packed_item, unpacked_item
from pyrallel_consumer.message import SentMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrallel_consumer.execution_plane.batches.search import Search
    from pyrallel_consumer.message import Row

_ROWS, _ORDERS = 11, 12
"""The positions, in the row of a batch, of its items' rows and their orders: behind the values of its first item."""


class _InNoOrder:
    """The origin of all batches: they have no order, because it is kept before they come to an engine."""

    epoch = 0
    is_ordered = False


_NO_ORDER = _InNoOrder()


class Batch(WorkItem):
    """Looks like its first item, except for name and size. It has at least one item.

    ``items`` are the worker's argument, ``roots`` the very objects that were submitted, in the same order. ``ordered``
    has the origins whose items are kept in order. ``search`` is the search that it is a part of. ``postponed`` is how
    often its messages were put off together. ``leaving`` are the roots that are not to be tried again here.
    """

    __slots__ = ("items", "leaving", "ordered", "postponed", "roots", "search")

    def __init__(
        self,
        roots: Sequence[WorkItem],
        items: Sequence[WorkItem],
        ordered: Sequence[Any],
        search: Search[WorkItem] | None = None,
        postponed: int = 0,
    ) -> None:
        first = items[0]
        super().__init__(first._message, first._offset, _NO_ORDER, first._attempt if len(items) == 1 else 1)
        self.roots = roots
        self.items = items
        self.ordered = ordered
        self.search = search
        self.postponed = postponed
        self.leaving: set[WorkItem] = set()

    def __len__(self) -> int:
        return len(self.roots)

    def __bool__(self) -> bool:
        return True

    def next_attempt(self) -> Batch:
        """As ``same_attempt``: when an engine repeats a call by itself, no message loses an attempt."""
        return self.same_attempt()

    def same_attempt(self) -> Batch:
        return Batch(self.roots, self.items, self.ordered, self.search, self.postponed)

    @property
    def epoch(self) -> int:
        return self.items[0].epoch

    @property
    def id(self) -> str:
        first = self.items[0].id
        return first if len(self.items) == 1 else f"{first} and {len(self.items) - 1} more"

    @property
    def size_bytes(self) -> int:
        return sum([item.size_bytes for item in self.items])


def packed_batch(batch: WorkItem, carrier: dict[str, str] | None = None) -> Row:
    """Like ``packed_item``: the values of the first item, and behind them the rows of all items."""
    assert isinstance(batch, Batch)
    rows = [packed_item(item) for item in batch.items]
    return (*rows[0][:9], batch.attempt, carrier, rows, orders_of(batch))


def items_of(batch: WorkItem) -> Sequence[WorkItem]:
    """The items of a batch, even if it came to this process as a row."""
    if isinstance(batch, Batch):
        return batch.items
    message = batch.message
    assert isinstance(message, SentMessage)
    return [unpacked_item(row) for row in message.row[_ROWS]]


def orders_of(batch: WorkItem) -> list[int]:
    """For each place a number: items that must keep an order share it; -1 for items without order."""
    if isinstance(batch, Batch):
        numbers: dict[Any, int] = {}
        return [
            numbers.setdefault(root._origin, len(numbers)) if root._origin.is_ordered else -1 for root in batch.roots
        ]
    message = batch.message
    assert isinstance(message, SentMessage)
    orders: list[int] = message.row[_ORDERS]
    return orders
