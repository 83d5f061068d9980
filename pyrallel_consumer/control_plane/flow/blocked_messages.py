"""Messages that nothing but an attempt or a decision can move: failing and held ones, and those behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrallel_consumer.control_plane.flow.loads import Loads
    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
    from pyrallel_consumer.dto import WorkItem


class BlockedMessages:
    """Counts them, ``work.blocked``, for the partitions that had any at the last count or have got held ones since."""

    def __init__(self, loads: Loads) -> None:
        self._loads = loads
        self._works: dict[PartitionWork, None] = {}

    def add(self, work: PartitionWork) -> None:
        """``work`` has a held message."""
        self._works[work] = None

    def forget(self, work: PartitionWork) -> None:
        """The assignment of ``work`` ended."""
        self._works.pop(work, None)

    def note_failing(self, items: Iterable[WorkItem]) -> None:
        """Count again: these items wait for a retry."""
        works = self._works
        for work in works:
            work.failing.clear()
            work.blocked = sum(1 + len(item._origin.waiting or ()) for item in work.held.values())
            self._loads.touch(work)
        self._works = {work: None for work in works if work.held}
        for item in items:
            work = item._origin.work
            if work.is_current(item):
                work.blocked += 1 + len(item._origin.waiting or ())
                work.failing.add(item.offset)
                self._works[work] = None
                self._loads.touch(work)
