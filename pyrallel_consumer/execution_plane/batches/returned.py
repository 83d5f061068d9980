"""Turns what a worker of batches returned into the records of each message. Runs where the worker runs.

Every record belongs to one message, because it is written before, or together with, the offset of that message. So a
worker returns one entry for each message: a list in the order of the batch, or ``{item: entry}``. A generator yields
pairs of an item and an entry. An entry is what a worker of single messages returns (a Record, a list of Records, or
None), or the exception with which that message failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pyrallel_consumer.dto import WorkItem
from pyrallel_consumer.errors import RecordError
from pyrallel_consumer.execution_plane.batches.places import Places
from pyrallel_consumer.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyrallel_consumer.execution_plane.worker.returned import RecordMaker
    from pyrallel_consumer.record import Records

_EXPECTED = (
    "a worker of batches returns a list with one entry for each message, in their order, or {item: entry}, or yields "
    "pairs (item, entry); an entry is a Record, a list of Records, None, or an exception"
)


class Yielded(list[Any]):
    """What a generator has yielded."""


class Made(NamedTuple):
    """By place in the batch: records, never empty, and errors. The other messages are done without records."""

    records: dict[int, Records]
    errors: dict[int, BaseException]


class BatchRecordMaker:
    """Makes the records of each message; ``maker`` makes the records of one entry."""

    def __init__(self, maker: RecordMaker) -> None:
        self._maker = maker

    def made(self, result: object, items: Sequence[WorkItem]) -> Made:
        """The records of ``items``. Raises RecordError if it is unknown which record belongs to which message.

        An entry of which no records can be made is an error of its message alone.
        """
        records: dict[int, Records] = {}
        errors: dict[int, BaseException] = {}
        for place, entry in _entries(result, items):
            if isinstance(entry, BaseException):
                errors[place] = entry
                continue
            try:
                made = self._maker.made(entry)
            except Exception as error:  # noqa: BLE001 -- a serializer of the user's may raise anything
                errors[place] = error
            else:
                if made:
                    records[place] = records.get(place, ()) + made
        for place in errors:
            records.pop(place, None)
        return Made(records, errors)


def _entries(result: object, items: Sequence[WorkItem]) -> Iterable[tuple[int, object]]:
    if result is None:
        return ()
    if isinstance(result, Mapping):
        return _placed(result.items(), items)
    if isinstance(result, Yielded):
        return _placed(map(_pair, result), items)
    if isinstance(result, list | tuple) and not isinstance(result, Record):
        if not result or len(result) == len(items):
            return enumerate(result)
        raise RecordError(f"the worker returned {len(result)} entries for {len(items)} messages: {_EXPECTED}")
    raise RecordError(f"the worker returned {type(result).__name__} for {len(items)} messages: {_EXPECTED}")


def _pair(yielded: object) -> tuple[Any, object]:
    if isinstance(yielded, tuple) and not isinstance(yielded, Record) and len(yielded) == 2:  # noqa: PLR2004 -- a pair
        return yielded
    raise RecordError(f"the worker yielded {type(yielded).__name__}: {_EXPECTED}")


def _placed(pairs: Iterable[tuple[Any, object]], items: Sequence[WorkItem]) -> Iterator[tuple[int, object]]:
    places = Places(items)
    for item, entry in pairs:
        if not isinstance(item, WorkItem):
            raise RecordError(f"the worker named {type(item).__name__} as a message: {_EXPECTED}")
        place = places.of(item)
        if place is None:
            raise RecordError(f"the worker returned records of {item.id} (epoch {item.epoch}), not in the batch")
        yield place, entry
