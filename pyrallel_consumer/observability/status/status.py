"""``/status.json``: the data of the status page, as plain JSON values. No payloads, and keys only as fingerprints."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pyrallel_consumer.dto import PartitionSnapshot, RuntimeSnapshot
from pyrallel_consumer.observability.http.watched import Watched
from pyrallel_consumer.observability.status.close_up import CloseUp, KeyCloseUp, PartitionCloseUp
from pyrallel_consumer.observability.status.failure_kinds import FailureKind
from pyrallel_consumer.observability.status.history import Moment
from pyrallel_consumer.observability.status.identity import Identity
from pyrallel_consumer.observability.status.traffic import batches, broker, records, transactions
from pyrallel_consumer.observability.status.verdict import verdict
from pyrallel_consumer.release import VERSION

SIGNIFICANT_DIGITS: Final = 4
MOST_FAILURES: Final = 10
"""How many types of errors are shown."""

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
        "identity": _identity(watched.identity, now),
        "failures": [_failure(each, now) for each in watched.failures.most_frequent(MOST_FAILURES)],
        "broker": broker(picture, metrics),
        "batches": batches(picture.batches),
        "records": records(picture.output),
        "transactions": transactions(picture.output),
        "settings": {name: str(value) for name, value in picture.settings.items()},
        "moments": [_moment(each) for each in moments if each.at > since],
        "partitions": _partitions(picture, metrics.get("consumer_broker_lag", {})),
        **_close_up(None if look is None else look.close_up),
    }


def _identity(identity: Identity, now: float) -> dict[str, Any]:
    return {
        "host": identity.host,
        "pid": identity.pid,
        "worker": identity.worker,
        "version": VERSION,
        "up_seconds": round(max(0.0, now - identity.started_at), 1),
    }


def _failure(kind: FailureKind, now: float) -> dict[str, Any]:
    """One type of error; the place is that of the latest message that failed with it."""
    return {
        "type": kind.name,
        "attempts": kind.attempts,
        "given_up": kind.given_up,
        "ago_seconds": _short(max(0.0, now - kind.at)),
        **kind.tp._asdict(),
        "offset": kind.offset,
    }


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
