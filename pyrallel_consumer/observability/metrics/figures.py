"""The numbers of the snapshot and the poll thread under their Prometheus names (``families``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyrallel_consumer.dto import BatchFigures, CompletionStatus, PartitionSnapshot, RuntimeSnapshot
from pyrallel_consumer.record import OutputFigures

Place = tuple[str, int]


def figures(snapshot: RuntimeSnapshot, poller: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers by metric. A metric with labels is a mapping from the labels' values, in the order of their names.

    So ``figures(...)["consumer_parallel_lag"]["orders", 3]`` is the lag of partition 3 of ``orders``. Histograms are
    ``Durations`` or ``Sizes``; histograms of batches and records are missing where workers have none. While no broker
    answers ``consumer_broker_lag`` is empty, because it is unknown. ``poller`` is what ``BrokerPoller.get_metrics()``
    returns.
    """
    partitions = {(each.tp.topic, each.tp.partition): each for each in snapshot.partitions}
    lags = _broker_lags(partitions, poller) if snapshot.is_broker_connected else {}
    numbers = _of_partitions(partitions) | _of_consumer(snapshot) | _of_broker(poller) | {"consumer_broker_lag": lags}
    if snapshot.batches is not None:
        numbers |= _of_batches(snapshot.batches)
    return numbers if snapshot.output is None else numbers | _of_output(snapshot.output)


def _broker_lags(partitions: Mapping[Place, PartitionSnapshot], poller: Mapping[str, Any]) -> dict[Place, int]:
    log_ends: Mapping[Place, int] = poller.get("log_end_offsets", {})
    return {
        place: max(0, log_ends[place] - each.committed_offset)
        for place, each in partitions.items()
        if place in log_ends
    }


def _of_partitions(partitions: Mapping[Place, PartitionSnapshot]) -> dict[str, Any]:
    processed: dict[tuple[str, int, str], int] = {}
    metadata: dict[str, int] = {}
    for place, each in partitions.items():
        processed[*place, CompletionStatus.SUCCESS.value] = each.finished - each.settled
        processed[*place, CompletionStatus.FAILURE.value] = each.failed
        metadata[place[0]] = max(metadata.get(place[0], 0), each.metadata_bytes)
    timed = {place: each.latency for place, each in partitions.items() if each.latency is not None}
    return {
        "consumer_processed_total": processed,
        "consumer_processing_latency_seconds": timed,
        "consumer_parallel_lag": {
            place: each.fetched_offset - each.committed_offset for place, each in partitions.items()
        },
        "consumer_gap_count": {place: each.gap_count for place, each in partitions.items()},
        "consumer_internal_queue_depth": {place: each.queued for place, each in partitions.items()},
        "consumer_oldest_task_duration_seconds": {place: each.blocking_seconds for place, each in partitions.items()},
        "consumer_metadata_size_bytes": metadata,
        "consumer_skipped_total": {place: each.skipped for place, each in partitions.items()},
        "consumer_starved_seconds_total": {place: each.starved_seconds for place, each in partitions.items()},
        "consumer_paused_seconds_total": {place: each.paused_seconds for place, each in partitions.items()},
        "consumer_blocked_seconds_total": {place: each.blocked_seconds for place, each in partitions.items()},
        "consumer_held_count": {place: each.held for place, each in partitions.items()},
    }


def _of_consumer(snapshot: RuntimeSnapshot) -> dict[str, Any]:
    letters = snapshot.dead_letters
    return {
        "consumer_in_flight_count": snapshot.in_flight,
        "consumer_backpressure_active": int(snapshot.is_paused),
        "consumer_rate_limited_seconds_total": snapshot.rate_limited_seconds,
        "consumer_retries_total": snapshot.retries,
        "consumer_timeouts_total": snapshot.retry.timeouts,
        "consumer_fenced_completions_total": snapshot.fenced_completions,
        "consumer_rebalances_total": snapshot.rebalances,
        "consumer_assigned_partitions": len(snapshot.partitions),
        "consumer_stuck_count": snapshot.stuck,
        "consumer_dlq_records_total": letters.sent,
        "consumer_dlq_failures_total": dict(letters.failures),
        "consumer_dlq_waiting": letters.waiting,
        "consumer_dlq_failing": int(letters.is_failing),
        "consumer_circuit_open": int(snapshot.is_circuit_open),
        "consumer_loop_blocked_total": snapshot.blocked_loops,
        "consumer_picture_failures_total": snapshot.picture_failures,
        "consumer_broker_connected": int(snapshot.is_broker_connected),
    }


def _of_batches(batches: BatchFigures) -> dict[str, Any]:
    return {
        "consumer_batch_size": batches.sizes,
        "consumer_batch_wait_seconds": batches.waits,
        "consumer_batch_fill_ratio": batches.fill,
        "consumer_batch_searches_total": batches.searches,
        "consumer_batch_search_calls_total": batches.search_calls,
    }


def _of_output(output: OutputFigures) -> dict[str, Any]:
    return {
        "consumer_output_records_total": output.written,
        "consumer_output_waiting": output.waiting,
        "consumer_output_refused_total": output.refused,
        "consumer_transactions_total": output.transactions,
        "consumer_transaction_aborts_total": output.aborts,
        "consumer_output_rewritten_total": output.rewritten,
        "consumer_transaction_open_seconds": output.open_seconds,
    }


def _of_broker(poller: Mapping[str, Any]) -> dict[str, Any]:
    broker = {
        "consumer_commits_total": poller["commits_sent"],
        "consumer_commit_failures_total": dict(poller["commit_failures"]),
    }
    if "commit_durations" in poller:
        broker["consumer_commit_latency_seconds"] = poller["commit_durations"]
    return broker
