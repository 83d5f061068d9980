"""Names offsets that keep a partition's commit back for long: once each, with what is known of why."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from pyrallel_consumer.dto import PartitionSnapshot, TopicPartition
from pyrallel_consumer.log import Log

logger = Log("pyrallel_consumer.observability")


MOST_NAMED: Final = 10
NAMED_WITHIN_SECONDS: Final = 10.0
"""So many offsets are named within so long: when a database is down, every partition has one."""


class BlockingWatch:
    """Warns of a blocking offset that has blocked for ``warn_seconds``; remembers the last one of each partition."""

    def __init__(self, warn_seconds: float) -> None:
        self._warn_seconds = warn_seconds
        self._warned: dict[TopicPartition, int] = {}
        self._named_at: deque[float] = deque(maxlen=MOST_NAMED)
        self._unnamed = 0

    def look(self, partitions: Iterable[PartitionSnapshot], now: float) -> None:
        """Look at the partitions that are assigned now."""
        blocked = {}
        for partition in partitions:
            offset = partition.blocking_offset
            if offset is None or partition.blocking_seconds < self._warn_seconds:
                continue
            blocked[partition.tp] = offset
            if self._warned.get(partition.tp) != offset:
                self._warn_unless_often(partition, offset, now)
        self._warned = blocked

    def _warn_unless_often(self, partition: PartitionSnapshot, offset: int, now: float) -> None:
        if len(self._named_at) == MOST_NAMED and now - self._named_at[0] < NAMED_WITHIN_SECONDS:
            self._unnamed += 1
            return
        self._named_at.append(now)
        unnamed, self._unnamed = self._unnamed, 0
        logger.warning(
            "offset %d of %s has kept the commit back for %.1f s (in the partition: %d running, %d queued, %d held "
            "after their last attempt, %d gaps above): is its worker slow, failing again and again, or stuck?%s",
            offset,
            partition.tp,
            partition.blocking_seconds,
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
