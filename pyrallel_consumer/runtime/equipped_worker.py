"""The user's worker with the code around it (decoding, records, batches, spans, lifespan), and the engine that runs it.

It is checked when the consumer is built, before any connection. A user's own engine has its worker already, and then
nothing here may be asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pyrallel_consumer.config import ExecutionConfig, OutputConfig, RayConfig
from pyrallel_consumer.config.settings import checked_settings
from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.execution_plane.batches.batch import items_of
from pyrallel_consumer.execution_plane.batches.call import batch_call
from pyrallel_consumer.execution_plane.engine_choice import made_engine
from pyrallel_consumer.execution_plane.worker.call import worker_call
from pyrallel_consumer.execution_plane.worker.kind import Worker, check_values, check_worker, is_async, name_of
from pyrallel_consumer.execution_plane.worker.lifespan import Lifespan, lifespan_of
from pyrallel_consumer.execution_plane.worker.lifespan_task import LifespanTask
from pyrallel_consumer.execution_plane.worker.returned import RecordMaker, recording, returns_records
from pyrallel_consumer.ingress.serialization import serialization_context
from pyrallel_consumer.observability.tracing.tracing import spans_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from pyrallel_consumer.execution_plane.engine import ExecutionEngine
    from pyrallel_consumer.execution_plane.worker.deserializers import Deserializers


class EquippedWorker:
    """``worker`` is None where ``own_engine`` is the user's. Raises ConfigurationError if an argument does not fit.

    ``output`` is None if the worker writes no records, and ``spans`` if nothing is traced.
    """

    def __init__(
        self,
        worker: Worker | None,
        own_engine: ExecutionEngine | None,
        execution: ExecutionConfig,
        *,
        group: str,
        deserializers: Deserializers | None,
        lifespan: Any,
        output: OutputConfig | None,
        ray: RayConfig | None,
    ) -> None:
        self._worker = worker
        self._engine = own_engine
        self._execution = execution
        self._deserializers = deserializers
        self._ray = ray
        self.lifespan = self._checked_lifespan(lifespan)
        self._check()
        if output is None and own_engine is None and returns_records(worker):
            output = OutputConfig()
        self.output = None if output is None else checked_settings(output, OutputConfig, "output")
        self.spans = spans_for(execution, group, items_of)

    @property
    def name(self) -> str:
        """The worker's name, or the class of the user's engine."""
        return name_of(self._worker if self._engine is None else self._engine)

    def held_lifespan(self, base: Context) -> LifespanTask | None:
        """The holder of the lifespan on this loop; None without a lifespan, or if the worker's process holds it."""
        if self.lifespan is None or self._execution.mode.is_elsewhere:
            return None
        return LifespanTask(self.lifespan, base)

    def _check(self) -> None:
        if self._engine is not None:
            if self._worker is not None:
                raise ConfigurationError("an engine of your own runs its own worker: give worker=None with it")
            if self._execution.tracing:
                raise ConfigurationError(
                    "an engine of your own runs its own worker, which ExecutionConfig.tracing cannot wrap: trace it "
                    "yourself and turn tracing off (environment: EXECUTION_TRACING=false)"
                )
            if self._execution.batch_size > 1:
                raise ConfigurationError(
                    "an engine of your own runs its own worker, one message at a time: leave ExecutionConfig.batch_size"
                    " at 1 (environment: EXECUTION_BATCH_SIZE)"
                )
            if self._deserializers is not None:
                raise ConfigurationError(
                    "an engine of your own runs its own worker, whose items are not decoded here: leave out "
                    f"{' and '.join(each.setting for each in self._deserializers if each is not None)}"
                )
            return
        worker: Any = self._worker
        check_worker(worker, self._execution.mode, batch_size=self._execution.batch_size)
        check_values(worker, is_decoded=self._deserializers is not None and self._deserializers.value is not None)
        if self._deserializers is not None:
            self._deserializers.check(self._execution.mode)

    def _checked_lifespan(self, function: Any) -> Lifespan | None:
        if self._engine is None:
            return lifespan_of(function, self._worker, self._execution.mode)
        if function is not None:
            raise ConfigurationError(
                "an engine of your own runs its own worker: enter its lifespan around the consumer"
            )
        return None

    def engine(self, base: Context, is_shutting_down: Callable[[], bool]) -> ExecutionEngine:
        """The engine that runs it: the user's own, or a new one. ``base`` is the context that attempts copy."""
        if self._engine is not None:
            return self._engine
        mode = self._execution.mode
        given = worker = cast("Worker", self._worker)  # check_worker saw that it is one
        output = self.output
        maker = None if output is None else RecordMaker(output.value_serializer, serialization_context)
        if self._execution.batch_size > 1:
            worker = batch_call(worker, mode, self._deserializers, maker)
        else:
            recorded = worker if maker is None else recording(worker, maker)
            worker = worker_call(recorded, mode, self._deserializers)
        if self.spans is not None:
            worker = self.spans.wrapped(worker, mode, is_async=is_async(given))
        return made_engine(
            worker,
            self._execution,
            base,
            is_async=is_async(given),
            is_shutting_down=is_shutting_down,
            trace=self.spans,
            is_recording=output is not None,
            lifespan=self.lifespan,
            ray=self._ray,
        )
