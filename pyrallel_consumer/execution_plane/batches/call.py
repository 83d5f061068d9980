"""How a worker that takes batches is called, where it runs; how it names failed messages, and what it returns.

The named messages are matched here, where the worker's items are, and reported by their places in the batch. So they
need not travel, and copies of them match too. A message that cannot be decoded leaves the batch before the call, and so
do the messages behind it. Records are made here too, message by message.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.dto import ExecutionMode
from pyrallel_consumer.errors import BatchFailed, ExecutionError
from pyrallel_consumer.execution_plane.batches.batch import items_of, orders_of
from pyrallel_consumer.execution_plane.batches.places import Places
from pyrallel_consumer.execution_plane.batches.returned import BatchRecordMaker, Yielded
from pyrallel_consumer.execution_plane.worker.decoding import Decoding
from pyrallel_consumer.execution_plane.worker.kind import is_async
from pyrallel_consumer.execution_plane.worker.named_failures import NamedFailures
from pyrallel_consumer.foreign_errors import attempted, attribute
from pyrallel_consumer.record import BatchRecords

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.worker.deserializers import Deserializers
    from pyrallel_consumer.execution_plane.worker.kind import Worker
    from pyrallel_consumer.execution_plane.worker.returned import RecordMaker
    from pyrallel_consumer.record import Records


def batch_call(
    worker: Worker, mode: ExecutionMode, deserializers: Deserializers | None = None, maker: RecordMaker | None = None
) -> Worker:
    """The function that an engine runs instead of ``worker``. ConfigurationError if a deserializer cannot be made.

    With ``maker`` it returns ``BatchRecords``, or None if no message has records.
    """
    if mode.is_elsewhere:
        return RemoteBatchCall(worker, deserializers, maker)
    return _made_call(worker, deserializers, maker)


class RemoteBatchCall:
    """A worker and its deserializers on their way to processes; unpickling makes the function that the engine calls."""

    def __init__(self, worker: Worker, deserializers: Deserializers | None, maker: RecordMaker | None) -> None:
        self._parts = worker, deserializers, maker

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_call, self._parts

    def __call__(self, batch: WorkItem) -> Any:
        return _made_call(*self._parts)(batch)


def _made_call(worker: Worker, deserializers: Deserializers | None, maker: RecordMaker | None) -> Worker:
    decoding = None if deserializers is None else Decoding(deserializers)
    records = None if maker is None else BatchRecordMaker(maker)
    return (AsyncBatchCall if is_async(worker) else PlainBatchCall)(worker, decoding, records)


class PlainBatchCall:
    """Calls a plain worker with the items of a batch."""

    def __init__(self, worker: Worker, decoding: Decoding | None, maker: BatchRecordMaker | None) -> None:
        self._worker = worker
        self._decode = None if decoding is None else decoding.decoded
        self._maker = maker

    def __call__(self, batch: WorkItem) -> object:
        readable = Readable(batch, self._maker)
        if self._decode is None:
            readable.add_all()
        else:
            for place, item in readable.to_decode():
                try:
                    readable.add(place, self._decode(item))
                except Exception as error:  # noqa: BLE001 -- a deserializer of the user's
                    readable.leave_out(place, error)
        if not readable.items:
            raise NamedFailures(readable.failures)
        yielded = Yielded()
        try:
            result = self._worker(readable.items.copy())
            if self._maker is not None and inspect.isgenerator(result):
                try:
                    yielded.extend(result)
                finally:
                    result.close()
                result = yielded
        except BatchFailed as failed:
            return readable.failed(failed, yielded)
        return result if inspect.iscoroutine(result) else readable.returned(result)  # The engine reports a coroutine.


class AsyncBatchCall:
    """Awaits an ``async def`` worker with the items of a batch."""

    def __init__(self, worker: Worker, decoding: Decoding | None, maker: BatchRecordMaker | None) -> None:
        self._worker = worker
        self._decode = None if decoding is None else decoding.decoded_soon
        self._maker = maker

    async def __call__(self, batch: WorkItem) -> object:
        readable = Readable(batch, self._maker)
        if self._decode is None:
            readable.add_all()
        else:
            for place, item in readable.to_decode():
                try:
                    readable.add(place, await self._decode(item))
                except Exception as error:  # noqa: BLE001 -- a deserializer of the user's
                    readable.leave_out(place, error)
        if not readable.items:
            raise NamedFailures(readable.failures)
        yielded = Yielded()
        try:
            result = self._worker(readable.items.copy())
            if inspect.isasyncgen(result):
                try:
                    async for each in result:
                        yielded.append(each)
                finally:
                    await result.aclose()
                result = yielded
            else:
                result = await result
        except BatchFailed as failed:
            return readable.failed(failed, yielded)
        return readable.returned(result)


class Readable:
    """The items of a batch that the worker gets, and the errors of items that cannot be decoded, by index.

    ``maker`` turns the worker's return value into records; without it the value is passed on.
    """

    def __init__(self, batch: WorkItem, maker: BatchRecordMaker | None = None) -> None:
        self.items: list[WorkItem] = []
        self.failures: dict[int, BaseException] = {}
        self._batch = batch
        self._maker = maker
        self._places: list[int] = []
        self._stopped: set[int] = set()

    def add_all(self) -> None:
        """Nothing is decoded."""
        self.items = list(items_of(self._batch))
        self._places = list(range(len(self.items)))

    def to_decode(self) -> Iterator[tuple[int, WorkItem]]:
        """Place and item of each message that is not behind a left-out one."""
        self._orders = orders_of(self._batch)
        for place, item in enumerate(items_of(self._batch)):
            if self._orders[place] not in self._stopped:
                yield place, item

    def add(self, place: int, item: WorkItem) -> None:
        """It was decoded."""
        self.items.append(item)
        self._places.append(place)

    def leave_out(self, place: int, error: BaseException) -> None:
        """It could not be decoded, so messages behind it in its order wait for its end."""
        self.failures[place] = error
        if (order := self._orders[place]) >= 0:
            self._stopped.add(order)

    def returned(self, result: object) -> object:
        """What the worker returned. Raises NamedFailures if messages failed and none has records."""
        if self._maker is None:
            if self.failures:
                raise NamedFailures(self.failures)
            return result
        made = self._maker.made(result, self.items)
        return self._told(made.records, made.errors)

    def failed(self, failed: BatchFailed, yielded: Yielded) -> object:
        """The worker named failed messages; ``yielded`` has the entries that a generator had yielded before. Raises
        likewise.
        """
        found = outcome(failed, self.items)
        if not isinstance(found, NamedFailures):
            raise found from None
        if self._maker is None:
            return self._told({}, found.errors)
        made = self._maker.made(yielded, self.items)
        return self._told(made.records, made.errors | found.errors)

    def _told(self, records: Mapping[int, Records], errors: Mapping[int, BaseException]) -> BatchRecords | None:
        places = self._places
        all_errors = {places[nth]: error for nth, error in errors.items()} | self.failures
        failures = NamedFailures(all_errors) if all_errors else None
        written = {places[nth]: made for nth, made in records.items() if nth not in errors}
        if written:
            return BatchRecords(written, failures)
        if failures is not None:
            raise failures from None
        return None


def outcome(failed: BatchFailed, items: Sequence[WorkItem]) -> NamedFailures | ExecutionError:
    """The failures that the worker named among ``items``; an ExecutionError if it named others, or none."""
    named = attribute(failed, "errors")
    unreadable: NamedFailures | ExecutionError = ExecutionError(
        "BatchFailed cannot be read: it takes {item: error, ...} with items of the batch"
    )
    return attempted(lambda: _matched(named, items), unreadable)


def _matched(named: Mapping[Any, BaseException], items: Sequence[WorkItem]) -> NamedFailures | ExecutionError:
    places = Places(items)
    errors: dict[int, BaseException] = {}
    for item, error in named.items():
        place = places.of(item)
        if place is None:
            return ExecutionError(f"BatchFailed names {item.id} (epoch {item.epoch}), which is not in the batch")
        errors[place] = error
    return NamedFailures(errors) if errors else ExecutionError("BatchFailed names no message")
