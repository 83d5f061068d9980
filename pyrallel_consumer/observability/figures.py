"""The picture as plain numbers under the names that Prometheus will show."""

from __future__ import annotations

from typing import Any

from pyrallel_consumer.dto import CompletionStatus, OnExhausted, RuntimeSnapshot


def figures(snapshot: RuntimeSnapshot) -> dict[str, Any]:
    """Numbers by metric; those with labels are mappings from the labels' values, in the order of their names.

    So ``figures(...)["consumer_parallel_lag"]["orders", 3]`` is the lag of partition 3 of ``orders``.
    """
    partitions = {(each.tp.topic, each.tp.partition): each for each in snapshot.partitions}
    lets_go = snapshot.on_exhausted in {OnExhausted.SKIP, OnExhausted.DLQ}
    processed: dict[tuple[str, int, str], int] = {}
    for place, each in partitions.items():
        let_go = each.failed - each.held if lets_go else 0
        processed[*place, CompletionStatus.SUCCESS.value] = each.finished - let_go
        processed[*place, CompletionStatus.FAILURE.value] = each.failed
    return {
        "consumer_processed_total": processed,
        "consumer_in_flight_count": snapshot.in_flight,
        "consumer_parallel_lag": {
            place: each.fetched_offset - each.committed_offset for place, each in partitions.items()
        },
        "consumer_gap_count": {place: each.gap_count for place, each in partitions.items()},
        "consumer_internal_queue_depth": {place: each.queued for place, each in partitions.items()},
        "consumer_oldest_task_duration_seconds": {place: each.blocking_seconds for place, each in partitions.items()},
        "consumer_backpressure_active": int(snapshot.is_paused),
    }
