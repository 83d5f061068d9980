"""The status page's figures of the broker, of batches, and of records and transactions, as plain JSON values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pyrallel_consumer.dto import BatchFigures, Durations, RuntimeSnapshot
from pyrallel_consumer.record import Delivery, OutputFigures

_NO_COMMITS: Final = Durations()


def broker(picture: RuntimeSnapshot, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Whether a broker answers, and the errors and commits so far; ``metrics`` is the result of ``get_metrics()``.

    ``commit_mean_ms`` is None before the first commit, and where metrics are incomplete.
    """
    commits: Durations = metrics.get("consumer_commit_latency_seconds") or _NO_COMMITS
    count = sum(commits.counts)
    return {
        "is_connected": picture.is_broker_connected,
        "silent_seconds": round(picture.broker_silent_seconds, 1),
        "group_protocol": str(picture.settings.get("group_protocol", "")),
        "is_rebalancing": picture.is_rebalancing,
        "rebalances": picture.rebalances,
        "commits": picture.commits,
        "commit_mean_ms": round(1000 * commits.total_seconds / count, 1) if count else None,
        "commit_failures": picture.commit_failures,
        "errors": dict(metrics.get("client_errors", {})),
    }


def batches(figures: BatchFigures | None) -> dict[str, Any] | None:
    """None where workers take one message at a time."""
    if figures is None:
        return None
    count = figures.batches
    return {
        "batches": count,
        "mean_size": round(figures.mean_size, 1),
        "size_limit": figures.size_limit,
        "mean_wait_ms": round(1000 * figures.waits.total_seconds / count, 1) if count else None,
        "searches": figures.searches,
        "search_calls": figures.search_calls,
    }


def records(output: OutputFigures | None) -> dict[str, Any] | None:
    """None where workers return no records."""
    if output is None:
        return None
    return {
        "delivery": output.delivery.value,
        "written": output.written,
        "waiting": output.waiting,
        "refused": output.refused,
    }


def transactions(output: OutputFigures | None) -> dict[str, Any] | None:
    """None unless records are written exactly once. ``open_seconds`` is 0.0 while no transaction is open."""
    if output is None or output.delivery is not Delivery.EXACTLY_ONCE:
        return None
    return {
        "committed": output.transactions,
        "aborted": output.aborts,
        "rewritten": output.rewritten,
        "open_seconds": round(output.open_seconds, 2),
    }
