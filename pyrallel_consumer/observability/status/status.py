"""``/status.json``: the data of the status page, as plain JSON values. No payloads, and keys only as fingerprints."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pyrallel_consumer.dto import BatchFigures, PartitionSnapshot, RuntimeSnapshot
from pyrallel_consumer.observability.http.watched import Watched
from pyrallel_consumer.observability.status.close_up import CloseUp, KeyCloseUp, PartitionCloseUp
from pyrallel_consumer.observability.status.history import Moment
from pyrallel_consumer.observability.status.verdict import verdict
from pyrallel_consumer.record import Delivery, OutputFigures

SIGNIFICANT_DIGITS: Final = 4

_OF_ALL: Final = (
    "state",
    "in_flight",
    "max_in_flight",
    "queued",
    "waiting_retries",
    "held",
    "stuck",
    "load_messages",
    "load_bytes",
    "queue_max_messages",
    "queue_max_bytes",
    "is_paused",
    "is_circuit_open",
    "is_rebalancing",
    "max_per_second",
    "is_rate_limited",
    "processed",
    "failed",
    "retries",
    "commits",
    "commit_failures",
    "rebalances",
    "fenced_completions",
    "blocked_loops",
    "poisoned_keys",
    "is_broker_connected",
    "broker_silent_seconds",
)
_OF_PARTITION: Final = (
    "epoch",
    "committed_offset",
    "fetched_offset",
    "gap_count",
    "blocking_offset",
    "blocking_seconds",
    "queued",
    "in_flight",
    "held",
    "finished",
    "failed",
    "skipped",
    "paused_for",
)


def names(watched: Sequence[Watched]) -> dict[str, Watched]:
    """Each consumer under its group's name, with a number if several have the same group."""
    named: dict[str, Watched] = {}
    for each in watched:
        name, number = each.group, 1
        while name in named:
            number += 1
            name = f"{each.group} ({number})"
        named[name] = each
    return named


def status_document(watched: Sequence[Watched], wanted: str, since: float) -> dict[str, Any]:
    """One consumer, the ``wanted`` one if it exists, and the names of all; curves from the time ``since`` on."""
    named = names(watched)
    document: dict[str, Any] = {"now": time.monotonic(), "consumers": list(named)}
    chosen = wanted if wanted in named else next(iter(named), None)
    if chosen is not None:
        document |= {"consumer": chosen, **_consumer(named[chosen], since, document["now"])}
    return document


def _consumer(watched: Watched, since: float, now: float) -> dict[str, Any]:
    look, metrics, moments = watched.look(), watched.metrics(), watched.moments()
    picture = watched.picture() if look is None else look.snapshot
    found = verdict(picture, watched.signs_of_life(), watched.limits, moments, now)
    letters = picture.dead_letters
    return {
        "age_seconds": _short(max(0.0, now - picture.taken_at)),
        "verdict": {
            "level": found.level.value,
            "headline": found.headline,
            "reasons": [{"level": level.value, "text": text} for level, text in found.reasons],
        },
        "totals": {name: getattr(picture, name) for name in _OF_ALL}
        | {
            "timeouts": picture.retry.timeouts,
            "letters_sent": letters.sent,
            "letters_waiting": letters.waiting,
            "on_exhausted": picture.on_exhausted.value,
        },
        "settings": {name: str(value) for name, value in picture.settings.items()}
        | _batches(picture.batches)
        | _output(picture.output),
        "moments": [_moment(each) for each in moments if each.at > since],
        "partitions": _partitions(picture, metrics.get("consumer_broker_lag", {})),
        **_close_up(None if look is None else look.close_up),
    }


def _output(output: OutputFigures | None) -> dict[str, str]:
    """The rows about records that workers return."""
    if output is None:
        return {}
    told = f"{output.written:,} written, {output.waiting:,} waiting, {output.refused:,} messages refused"
    if output.delivery is not Delivery.EXACTLY_ONCE:
        return {"records": told}
    ended = f"{output.transactions:,} committed, {output.aborts:,} aborted"
    return {"records": told, "transactions": f"{ended}, {output.rewritten:,} records written again"}


def _batches(batches: BatchFigures | None) -> dict[str, str]:
    """How they turn out, beside the settings that they follow from."""
    if batches is None or not batches.batches:
        return {}
    waited_ms = 1000 * batches.waits.total_seconds / batches.batches
    told = f"{batches.mean_size:,.1f} of {batches.size_limit:,} messages on average, after {waited_ms:,.1f} ms"
    searched = f"; {batches.searches:,} searched in {batches.search_calls:,} calls" if batches.searches else ""
    return {"batches": told + searched}


def _partitions(picture: RuntimeSnapshot, broker_lag: Mapping[tuple[str, int], int]) -> list[dict[str, Any]]:
    is_known = picture.is_broker_connected
    return [
        _partition(each, _lag(each, broker_lag.get(each.tp)) if is_known else None)
        for each in sorted(picture.partitions, key=lambda p: p.tp)
    ]


def _lag(each: PartitionSnapshot, broker_lag: int | None) -> int:
    read = each.fetched_offset - each.committed_offset
    return read if broker_lag is None else max(read, broker_lag)


def _partition(each: PartitionSnapshot, lag: int | None) -> dict[str, Any]:
    shown = {name: getattr(each, name) for name in _OF_PARTITION}
    shown["blocking_seconds"] = _short(each.blocking_seconds)
    shown["slow_seconds"] = {
        "starved": round(each.starved_seconds, 2),
        "paused": round(each.paused_seconds, 2),
        "blocked": round(each.blocked_seconds, 2),
    }
    return {**each.tp._asdict(), **shown, "lag": lag}


def _close_up(close_up: CloseUp | None) -> dict[str, Any]:
    if close_up is None:
        return {"windows": None, "keys": None, "left_out": 0}
    return {
        "windows": [_window(each) for each in close_up.partitions],
        "keys": [_key(each) for each in close_up.keys],
        "left_out": close_up.left_out,
    }


def _window(each: PartitionCloseUp) -> dict[str, Any]:
    window = each.window
    return {
        **each.tp._asdict(),
        "epoch": each.epoch,
        "base": window.base,
        "top": window.top,
        "width": window.width,
        "buckets": window.buckets,
        "counts": {state.value: counts for state, counts in window.counts.items()},
        "unseen": window.unseen,
        "head": _key(each.keys[0]) if each.keys else None,
    }


def _key(each: KeyCloseUp) -> dict[str, Any]:
    return {
        **each.tp._asdict(),
        "offset": each.offset,
        "state": each.state.value,
        "order": each.order.value,
        "fingerprint": each.fingerprint,
        "attempt": each.attempt,
        "running_seconds": _short(each.running_seconds),
        "read_seconds": _short(each.read_seconds),
        "behind": each.behind,
    }


def _moment(each: Moment) -> list[float | None]:
    """The drawn values, in the order of ``Moment``; the time is exact, the others are rounded for a curve."""
    return [each.at, *(_short(value) for value in each[1:-1])]


def _short(value: float | None) -> float | None:
    return value if value is None or isinstance(value, int) else float(f"{value:.{SIGNIFICANT_DIGITS}g}")
