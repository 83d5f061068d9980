"""One assigned partition as an operator sees it, frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.partitions.blocking_offset import cause_of_blocking
from pyrallel_consumer.control_plane.partitions.slowness import Cause
from pyrallel_consumer.dto import PartitionSnapshot

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork


def partition_picture(work: PartitionWork, now: float, paused_for: tuple[str, ...]) -> PartitionSnapshot:
    """The picture of ``work`` at ``now``; ``paused_for`` are its reasons to pause."""
    tracker, slowness = work.tracker, work.slowness
    return PartitionSnapshot(
        tp=work.tp,
        epoch=work.epoch,
        committed_offset=work.commits.committed_offset,
        committable_offset=tracker.committable_offset,
        fetched_offset=tracker.next_offset,
        gap_count=tracker.gap_count(),
        blocking_offset=tracker.blocking_offset,
        blocking_seconds=work.blocking.seconds(tracker.blocking_offset, now),
        queued=work.queued,
        in_flight=work.in_flight,
        held=len(work.held),
        load_bytes=work.load.size_bytes,
        paused_for=paused_for,
        finished=work.finished,
        failed=work.failed,
        skipped=work.skipped,
        settled=work.settled,
        stalled_seconds=slowness.stalled_seconds(now),
        starved_seconds=slowness.seconds[Cause.STARVED],
        paused_seconds=slowness.seconds[Cause.PAUSED],
        blocked_seconds=slowness.seconds[Cause.BLOCKED],
        metadata_bytes=work.commits.metadata_bytes,
        latency=None if work.latency is None else work.latency.taken_of(work.returns),
        blocked_by=cause_of_blocking(work),
    )
