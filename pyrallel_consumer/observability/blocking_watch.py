"""Names offsets that keep a partition's commit back for long: once each, with what is known of why."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from pyrallel_consumer.dto import PartitionSnapshot, TopicPartition

logger = logging.getLogger("pyrallel_consumer.observability")


class BlockingWatch:
    """Warns of a blocking offset that has blocked for ``warn_seconds``; remembers the last one of each partition."""

    def __init__(self, warn_seconds: float) -> None:
        self._warn_seconds = warn_seconds
        self._warned: dict[TopicPartition, int] = {}

    def look(self, partitions: Iterable[PartitionSnapshot]) -> None:
        """Look at the partitions that are assigned now."""
        blocked = {}
        for partition in partitions:
            offset = partition.blocking_offset
            if offset is None or partition.blocking_seconds < self._warn_seconds:
                continue
            blocked[partition.tp] = offset
            if self._warned.get(partition.tp) != offset:
                self._warn(partition, offset)
        self._warned = blocked

    def _warn(self, partition: PartitionSnapshot, offset: int) -> None:
        logger.warning(
            "offset %d of %s has kept the commit back for %.1f s (in the partition: %d running, %d queued, %d held "
            "after their last attempt, %d gaps above): is its worker slow, failing again and again, or stuck?",
            offset,
            partition.tp,
            partition.blocking_seconds,
            partition.in_flight,
            partition.queued,
            partition.held,
            partition.gap_count,
            extra={"topic": partition.tp.topic, "partition": partition.tp.partition, "offset": offset},
        )
