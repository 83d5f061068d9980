"""How a worker that takes batches is called, where it runs; and how it names the messages that failed.

The named messages are matched here, where the worker's items are, and reported by their places in the batch. So they
need not travel, and copies of them match too. A message that cannot be decoded leaves the batch before the call, and so
do the messages behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyrallel_consumer.dto import ExecutionMode
from pyrallel_consumer.errors import BatchFailed, ExecutionError
from pyrallel_consumer.execution_plane.batches.batch import items_of, orders_of
from pyrallel_consumer.execution_plane.worker.decoding import Decoding
from pyrallel_consumer.execution_plane.worker.kind import is_async
from pyrallel_consumer.execution_plane.worker.named_failures import NamedFailures
from pyrallel_consumer.foreign_errors import attempted, attribute

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.worker.deserializers import Deserializers
    from pyrallel_consumer.execution_plane.worker.kind import Worker


def batch_call(worker: Worker, mode: ExecutionMode, deserializers: Deserializers | None = None) -> Worker:
    """The function that an engine runs instead of ``worker``. ConfigurationError if a deserializer cannot be made."""
    if mode.is_elsewhere:
        return RemoteBatchCall(worker, deserializers)
    return _made_call(worker, deserializers)


class RemoteBatchCall:
    """A worker and its deserializers on their way to processes; unpickling makes the function that the engine calls."""

    def __init__(self, worker: Worker, deserializers: Deserializers | None) -> None:
        self._worker = worker
        self._deserializers = deserializers

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_call, (self._worker, self._deserializers)

    def __call__(self, batch: WorkItem) -> Any:
        return _made_call(self._worker, self._deserializers)(batch)


def _made_call(worker: Worker, deserializers: Deserializers | None) -> Worker:
    decoding = None if deserializers is None else Decoding(deserializers)
    return AsyncBatchCall(worker, decoding) if is_async(worker) else PlainBatchCall(worker, decoding)


class PlainBatchCall:
    """Calls a plain worker with the items of a batch."""

    def __init__(self, worker: Worker, decoding: Decoding | None) -> None:
        self._worker = worker
        self._decode = None if decoding is None else decoding.decoded

    def __call__(self, batch: WorkItem) -> object:
        if self._decode is None:
            items = items_of(batch)
            try:
                return self._worker(list(items))
            except BatchFailed as failed:
                raise outcome(failed, items) from None
        readable = Readable(batch)
        for place, item in readable.to_decode():
            try:
                readable.add(place, self._decode(item))
            except Exception as error:  # noqa: BLE001 -- a deserializer of the user's
                readable.leave_out(place, error)
        if not readable.items:
            raise NamedFailures(readable.failures)
        try:
            result = self._worker(list(readable.items))
        except BatchFailed as failed:
            raise readable.outcome(failed) from None
        if readable.failures:
            raise NamedFailures(readable.failures)
        return result


class AsyncBatchCall:
    """Awaits an ``async def`` worker with the items of a batch."""

    def __init__(self, worker: Worker, decoding: Decoding | None) -> None:
        self._worker = worker
        self._decode = None if decoding is None else decoding.decoded_soon

    async def __call__(self, batch: WorkItem) -> object:
        if self._decode is None:
            items = items_of(batch)
            try:
                return await self._worker(list(items))
            except BatchFailed as failed:
                raise outcome(failed, items) from None
        readable = Readable(batch)
        for place, item in readable.to_decode():
            try:
                readable.add(place, await self._decode(item))
            except Exception as error:  # noqa: BLE001 -- a deserializer of the user's
                readable.leave_out(place, error)
        if not readable.items:
            raise NamedFailures(readable.failures)
        try:
            result = await self._worker(list(readable.items))
        except BatchFailed as failed:
            raise readable.outcome(failed) from None
        if readable.failures:
            raise NamedFailures(readable.failures)
        return result


class Readable:
    """The items of a batch that could be decoded, and the errors of those that could not, by their places."""

    def __init__(self, batch: WorkItem) -> None:
        self.items: list[WorkItem] = []
        self.failures: dict[int, BaseException] = {}
        self._all = items_of(batch)
        self._orders = orders_of(batch)
        self._places: list[int] = []
        self._stopped: set[int] = set()

    def to_decode(self) -> Any:
        """Place and item of each message that is not behind a left-out one."""
        for place, item in enumerate(self._all):
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

    def outcome(self, failed: BatchFailed) -> NamedFailures | ExecutionError:
        """The failures that the worker named, and the errors of the left-out messages."""
        found = outcome(failed, self.items)
        if isinstance(found, NamedFailures):
            named = {self._places[nth]: error for nth, error in found.errors.items()}
            return NamedFailures(named | self.failures)
        return found


def outcome(failed: BatchFailed, items: Sequence[WorkItem]) -> NamedFailures | ExecutionError:
    """The failures that the worker named among ``items``; an ExecutionError if it named others, or none."""
    named = attribute(failed, "errors")
    unreadable: NamedFailures | ExecutionError = ExecutionError(
        "BatchFailed cannot be read: it takes {item: error, ...} with items of the batch"
    )
    return attempted(lambda: _matched(named, items), unreadable)


def _matched(named: Mapping[Any, BaseException], items: Sequence[WorkItem]) -> NamedFailures | ExecutionError:
    by_identity = {id(item): place for place, item in enumerate(items)}
    by_name: dict[tuple[str, int], int] = {}
    errors: dict[int, BaseException] = {}
    for item, error in named.items():
        place = by_identity.get(id(item))
        if place is None:
            by_name = by_name or {(each.id, each.epoch): nth for nth, each in enumerate(items)}
            place = by_name.get((item.id, item.epoch))
        if place is None:
            return ExecutionError(f"BatchFailed names {item.id} (epoch {item.epoch}), which is not in the batch")
        errors[place] = error
    return NamedFailures(errors) if errors else ExecutionError("BatchFailed names no message")
