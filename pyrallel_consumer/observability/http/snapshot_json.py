"""Snapshots as plain JSON values, for ``/snapshot.json``, the status page and ``pyrallel-consumer inspect``.

Pure. It follows the dataclasses field by field, so that a new field of a snapshot is in the JSON too. Bytes are
refused: keys and payloads of messages must not appear in a snapshot, and none may slip in unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from pyrallel_consumer.dto import RuntimeSnapshot, TopicPartition


def snapshot_document(snapshots: Iterable[RuntimeSnapshot], now: float) -> dict[str, Any]:
    """The answer of ``/snapshot.json``: ``{"consumers": [...]}``, one entry for each consumer of the process.

    An entry has the snapshot's fields by name, except ``taken_at``: a reader elsewhere has another clock, so it gets
    ``age_seconds`` at ``now`` (``time.monotonic()``). In a partition, ``topic`` and ``partition`` replace ``tp``.
    """
    return {"consumers": [_snapshot(snapshot, now) for snapshot in snapshots]}


def _snapshot(snapshot: RuntimeSnapshot, now: float) -> dict[str, Any]:
    values = _fields(snapshot)
    return {"age_seconds": max(0.0, now - values.pop("taken_at")), **values}


def _fields(instance: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for each in fields(instance):
        value = getattr(instance, each.name)
        if isinstance(value, TopicPartition):
            values |= value._asdict()
        else:
            values[each.name] = _plain(value)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | int | float):
        return value
    if is_dataclass(value):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(each) for each in value]
    raise TypeError(f"a {type(value).__name__} does not belong into a snapshot")
