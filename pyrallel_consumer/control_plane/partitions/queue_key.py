"""The key of the ordered queue that a message belongs to, by the ordering of its consumer. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pyrallel_consumer.dto import NullKeyOrdering, OrderingMode

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.policies import OrderingPolicy
    from pyrallel_consumer.dto import WorkItem

WHOLE_PARTITION: Final = object()
"""The key of the only queue of a partition that is ordered as a whole."""
NO_ORDER: Final = object()
"""In place of a key: the message waits for no other one."""


def queue_key(item: WorkItem, ordering: OrderingPolicy) -> object:
    """The message's own key, ``WHOLE_PARTITION`` or ``NO_ORDER``. ``PartitionWork.add`` has this inlined."""
    if ordering.mode is OrderingMode.UNORDERED:
        return NO_ORDER
    if ordering.mode is OrderingMode.PARTITION:
        return WHOLE_PARTITION
    key = item.key
    return NO_ORDER if key is None and ordering.null_keys is NullKeyOrdering.UNORDERED else key
