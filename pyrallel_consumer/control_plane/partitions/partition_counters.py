"""The counters of a partition since the consumer started, over all of its assignments; kept while it is away. Pure.

So the counters that operators see never go back while the consumer lives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyrallel_consumer.control_plane.partitions.slowness import Slowness

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.partitions.latency import Latencies


class PartitionCounters(NamedTuple):
    """Finished messages, those of them that had failed permanently (``settled``), failures, skips, seconds by cause.

    ``returned_only`` counts returns of workers that finished nothing.
    """

    finished: int = 0
    failed: int = 0
    skipped: int = 0
    settled: int = 0
    slowness: Slowness | None = None
    latency: Latencies | None = None
    returned_only: int = 0
