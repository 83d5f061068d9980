"""The function that an engine runs instead of the user's worker, if decoding comes before the worker.

Engines know nothing about it: they call it with one item, like the worker, in the place where the worker runs. It is
built once, when the consumer starts; without deserializers it is the worker itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyrallel_consumer.dto import ExecutionMode
from pyrallel_consumer.execution_plane.worker.decoding import Decoding
from pyrallel_consumer.execution_plane.worker.kind import is_async

if TYPE_CHECKING:
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.worker.deserializers import Deserializers
    from pyrallel_consumer.execution_plane.worker.kind import Worker


def worker_call(worker: Worker, mode: ExecutionMode, deserializers: Deserializers | None = None) -> Worker:
    """``worker``, called with decoded items. Raises ConfigurationError if a deserializer cannot be made."""
    if deserializers is None:
        return worker
    if mode.is_elsewhere:
        return RemoteCall(worker, deserializers)
    return _decoding_call(worker, deserializers)


class RemoteCall:
    """A worker and its deserializers on their way to processes; unpickling makes the function that the engine calls."""

    def __init__(self, worker: Worker, deserializers: Deserializers) -> None:
        self.__wrapped__ = worker  # This tells the two kinds of functions apart.
        self._deserializers = deserializers

    def __reduce__(self) -> tuple[Any, ...]:
        return _decoding_call, (self.__wrapped__, self._deserializers)

    def __call__(self, item: WorkItem) -> Any:
        return _decoding_call(self.__wrapped__, self._deserializers)(item)


def _decoding_call(worker: Worker, deserializers: Deserializers) -> Worker:
    decoding = Decoding(deserializers)
    decoded, awaitable = decoding.decoded, decoding.call

    def call(item: WorkItem) -> object:
        return worker(decoded(item))

    def call_async(item: WorkItem) -> object:
        return awaitable(worker, item)

    made: Any = call_async if is_async(worker) and not decoding.is_plain else call
    made.__wrapped__ = worker
    return made  # type: ignore[no-any-return]  # one of the two
