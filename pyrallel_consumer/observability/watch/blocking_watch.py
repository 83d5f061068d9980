"""Logs offsets that block a partition's commit for long: once each, with the reason.

An offset that only waits for a slot is not to blame, and its worker has not begun: these share one line for all
partitions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from pyrallel_consumer.dto import BlockedBy, PartitionSnapshot, TopicPartition
from pyrallel_consumer.log import Log

logger = Log("pyrallel_consumer.observability")


MOST_NAMED: Final = 10
NAMED_WITHIN_SECONDS: Final = 10.0
"""The time in which only a limited number of offsets is named: when a database is down, every partition has one."""


WHY: Final = {
    BlockedBy.RUNNING: "its worker runs: is it slow or stuck?",
    BlockedBy.RETRY: "its worker failed, and it waits for its next attempt",
    BlockedBy.HELD: "its last attempt failed: it waits for its dead letter, or for resume_partition()",
    BlockedBy.UNWRITTEN: "its worker returned: it waits until the broker has the records that the worker returned",
    BlockedBy.EARLIER_ASSIGNMENT: "an attempt of its key that began before the last rebalance still runs",
}


class BlockingWatch:
    """Warns of a blocking offset that has blocked for ``warn_seconds``; remembers the last one of each partition."""

    def __init__(self, warn_seconds: float) -> None:
        self._warn_seconds = warn_seconds
        self._warned: dict[TopicPartition, int] = {}
        self._named_at: deque[float] = deque(maxlen=MOST_NAMED)
        self._unnamed = 0
        self._slots_are_told = False

    def look(self, partitions: Iterable[PartitionSnapshot], now: float, *, are_slots_awaited: bool = True) -> None:
        """Look at the partitions that are assigned now.

        ``are_slots_awaited`` is false while the consumer itself delays starts: no message waits for a slot then.
        """
        blocked = {}
        waiting: list[PartitionSnapshot] = []
        for partition in partitions:
            offset = partition.blocking_offset
            if offset is None or partition.blocking_seconds < self._warn_seconds:
                continue
            if partition.blocked_by is BlockedBy.SLOT:
                if are_slots_awaited:
                    waiting.append(partition)
                continue
            blocked[partition.tp] = offset
            if self._warned.get(partition.tp) != offset:
                self._warn_unless_often(partition, offset, now)
        self._warned = blocked
        if waiting and not self._slots_are_told:
            self._warn_of_slots(waiting)
        self._slots_are_told = bool(waiting)

    def _warn_of_slots(self, waiting: list[PartitionSnapshot]) -> None:
        longest = max(waiting, key=lambda each: each.blocking_seconds)
        logger.warning(
            "the next offsets of %d partitions have waited for a slot for %.1f s or more, that of %s for %.1f s: what "
            "runs takes long, or max_in_flight is small. This line is not repeated until the wait has ended",
            *(len(waiting), self._warn_seconds, longest.tp, longest.blocking_seconds),
        )

    def _warn_unless_often(self, partition: PartitionSnapshot, offset: int, now: float) -> None:
        if len(self._named_at) == MOST_NAMED and now - self._named_at[0] < NAMED_WITHIN_SECONDS:
            self._unnamed += 1
            return
        self._named_at.append(now)
        unnamed, self._unnamed = self._unnamed, 0
        logger.warning(
            "offset %d of %s has kept the commit back for %.1f s: %s (in the partition: %d in flight, %d queued, %d "
            "held after their last attempt, %d gaps above)%s",
            offset,
            partition.tp,
            partition.blocking_seconds,
            WHY[partition.blocked_by or BlockedBy.RUNNING],
            partition.in_flight,
            partition.queued,
            partition.held,
            partition.gap_count,
            f" (and {unnamed} more offsets since this was last told)" if unnamed else "",
            extra={
                "topic": partition.tp.topic,
                "partition": partition.tp.partition,
                "offset": offset,
                "epoch": partition.epoch,
            },
        )
