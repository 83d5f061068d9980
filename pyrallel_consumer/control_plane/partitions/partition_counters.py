"""The counters of a partition since the consumer started, over all of its assignments; kept while it is away. Pure.

So the counters that operators see never go back while the consumer lives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.partitions.latency import Latencies
    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
    from pyrallel_consumer.control_plane.partitions.slowness import Slowness


class PartitionCounters(NamedTuple):
    """Finished messages, how many of them had failed permanently (``settled``), failures, skips, seconds by cause.

    ``returned_only`` counts returns of workers that finished nothing.
    """

    finished: int = 0
    failed: int = 0
    skipped: int = 0
    settled: int = 0
    slowness: Slowness | None = None
    latency: Latencies | None = None
    returned_only: int = 0

    @classmethod
    def of(cls, work: PartitionWork) -> PartitionCounters:
        """The counters of ``work``, for the next assignment of its partition."""
        return cls(
            work.finished, work.failed, work.skipped, work.settled, work.slowness, work.latency, work.returned_only
        )

    def continue_in(self, work: PartitionWork) -> None:
        """Let ``work``, which is new, go on counting from here."""
        work.finished, work.failed, work.skipped, work.settled = self.finished, self.failed, self.skipped, self.settled
        work.slowness = self.slowness or work.slowness
        work.latency = self.latency
        work.returned_only = self.returned_only
