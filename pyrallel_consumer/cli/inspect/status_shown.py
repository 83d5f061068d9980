"""The status page's data beside the snapshot, as lines and a table for the terminal. Pure.

Each function takes one consumer's part of ``/status.json``. Of keys only fingerprints are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

RATE_SECONDS: Final = 10.0
MOST_KEYS: Final = 10
KEYS_HEAD: Final = ("key", "partition", "offset", "state", "attempt", "runs for", "read ago", "behind it")
_AT, _FINISHED, _FAILED, _LAG, _BACKLOG = range(5)


def verdict_lines(status: Mapping[str, Any]) -> list[str]:
    """Whether the consumer keeps up, why not, and how fast it is."""
    verdict = status["verdict"]
    return [verdict["headline"], *(f"- {reason['text']}" for reason in verdict["reasons"]), *_speed(status)]


def _speed(status: Mapping[str, Any]) -> list[str]:
    moments = status["moments"]
    if not moments:
        return []
    last = moments[-1]
    recent = [each for each in moments if each[_AT] >= last[_AT] - RATE_SECONDS]
    finished, failed = (sum(each[at] for each in recent) / len(recent) for at in (_FINISHED, _FAILED))
    lag = "unknown" if last[_LAG] is None else f"{last[_LAG]:,.0f}"
    return [f"rate     {finished:,.1f}/s finished, {failed:,.1f}/s failed; lag {lag}, {last[_BACKLOG]:,.0f} to do"]


def lag_of(status: Mapping[str, Any], topic: str, partition: int) -> str:
    """The partition's lag; a dash where it is unknown."""
    found = _partition(status, topic, partition)
    return "-" if found is None or found["lag"] is None else f"{found['lag']:,}"


def slow_of(status: Mapping[str, Any], topic: str, partition: int) -> str:
    """Seconds since the consumer began in which the partition was starved, paused and blocked."""
    found = _partition(status, topic, partition)
    if found is None:
        return "-"
    return "/".join(f"{found['slow_seconds'][cause]:.0f}" for cause in ("starved", "paused", "blocked"))


def _partition(status: Mapping[str, Any], topic: str, partition: int) -> Mapping[str, Any] | None:
    found: Sequence[Mapping[str, Any]] = status["partitions"]
    return next((each for each in found if (each["topic"], each["partition"]) == (topic, partition)), None)


def key_rows(status: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The slowest keys, the slowest first; empty if none is under way or no close-up was made."""
    keys = status["keys"] or []
    return [KEYS_HEAD, *map(_key_row, keys[:MOST_KEYS])] if keys else []


def _key_row(key: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        key["fingerprint"] or "-",
        f"{key['topic']}[{key['partition']}]",
        str(key["offset"]),
        key["state"],
        "-" if key["attempt"] is None else str(key["attempt"]),
        _seconds(key["running_seconds"]),
        _seconds(key["read_seconds"]),
        f"{key['behind']:,}",
    )


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"
