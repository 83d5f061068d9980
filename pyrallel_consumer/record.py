"""``Record``: what a worker returns to have it written to a topic.

A plain value, also in a worker process. Whether the broker accepts it, the producer finds out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pyrallel_consumer.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RECORD_OVERHEAD_BYTES: Final = 512
"""The memory of a record beside its key, value and headers."""


class Delivery(StrEnum):
    """How records that workers return are written: again after a crash, or once in a transaction with the offsets."""

    AT_LEAST_ONCE = "at_least_once"
    EXACTLY_ONCE = "exactly_once"


class Record(NamedTuple):
    """One record for ``topic``. Immutable.

    ``value`` is bytes, text (written as UTF-8), None (a tombstone), or anything that ``OutputConfig.value_serializer``
    takes. ``key`` is bytes, text, or None. ``headers`` are pairs of a name and bytes or None, as ``item.headers`` has
    them. Without ``partition`` the key chooses it. ``timestamp`` is in milliseconds since 1970 UTC; None is the time of
    the write.
    """

    topic: str
    value: Any = None
    key: bytes | str | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    partition: int | None = None
    timestamp: int | None = None


@dataclass(frozen=True, slots=True)
class OutputFigures:
    """The records that workers returned: ``written`` are acknowledged, or in a committed transaction.

    ``waiting`` are not yet; ``refused`` counts messages that failed because of a refused record. ``rewritten``
    counts records of aborted transactions, which go into the next one. ``open_seconds``: for how long the transaction
    under way is open, 0.0 without one.
    """

    delivery: Delivery
    written: int = 0
    waiting: int = 0
    refused: int = 0
    transactions: int = 0
    aborts: int = 0
    rewritten: int = 0
    open_seconds: float = 0.0


Records = tuple[Record, ...]
"""Records whose values and keys are bytes or None: ready to be produced, in this order."""


class BatchRecords(NamedTuple):
    """Records of messages of a batch, by their places in it. ``failures`` tells which messages failed, None if none."""

    by_place: Mapping[int, Records]
    failures: Exception | None


def size_bytes(records: Records) -> int:
    """Bytes that ``records`` take in memory while they wait for the broker."""
    return sum(
        [
            RECORD_OVERHEAD_BYTES
            + len(record.value or b"")
            + len(record.key or b"")
            + sum([len(name) + len(value or b"") for name, value in record.headers])
            for record in records
        ]
    )


def holds_record(result: object) -> bool:
    """Whether ``result`` is a record, or a list or mapping that begins with one: it must not be dropped in silence."""
    if isinstance(result, list) or type(result) is tuple:
        return len(result) > 0 and isinstance(result[0], Record)
    if type(result) is dict:
        return any(map(holds_record, islice(result.values(), 1)))
    return isinstance(result, Record | BatchRecords)


def lost_record() -> RecordError:
    """The error of a consumer without ``output`` whose worker returned a record."""
    return RecordError(
        "the worker returned a Record, and this consumer writes none: give PyrallelConsumer(..., "
        "output=OutputConfig()), or say in the worker's signature that it returns one (`-> Record | None`)"
    )
