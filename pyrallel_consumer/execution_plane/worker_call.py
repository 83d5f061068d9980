"""What an engine runs in place of the user's worker, where more than the worker is to run.

Engines know nothing of it: they call it with one item, as they would call the worker, where the worker runs. It is
built once, when the consumer starts; without deserializers it is the worker itself.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.dto import ExecutionMode
from pyrallel_consumer.execution_plane.decoding import Decoding
from pyrallel_consumer.execution_plane.worker_kind import is_async

if TYPE_CHECKING:
    from pyrallel_consumer.dto import WorkItem
    from pyrallel_consumer.execution_plane.deserializers import Deserializers
    from pyrallel_consumer.execution_plane.worker_kind import Worker


def worker_call(worker: Worker, mode: ExecutionMode, deserializers: Deserializers | None = None) -> Worker:
    """``worker``, with its items decoded before. Raises ConfigurationError where a deserializer cannot be made."""
    if deserializers is None:
        return worker
    if mode is ExecutionMode.PROCESS:
        return RemoteCall(worker, deserializers)
    return _decoding_call(worker, deserializers)


class RemoteCall:
    """A worker and its deserializers on their way to processes, where unpickling makes what the engine calls."""

    def __init__(self, worker: Worker, deserializers: Deserializers) -> None:
        self._worker = worker
        self._deserializers = deserializers

    def __reduce__(self) -> tuple[Any, ...]:
        return _decoding_call, (self._worker, self._deserializers)

    def __call__(self, item: WorkItem) -> Any:
        return _decoding_call(self._worker, self._deserializers)(item)


def _decoding_call(worker: Worker, deserializers: Deserializers) -> Worker:
    decoding = Decoding(deserializers)
    if is_async(worker):
        return partial(decoding.call, worker)
    decoded = decoding.decoded

    def call(item: WorkItem) -> object:
        return worker(decoded(item))

    return call
