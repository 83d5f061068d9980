"""``PyrallelConsumer``: builds the parts, starts and stops them in order, and decides nothing itself.

One task, the *supervisor*, is the consumer's life from start to end: it opens, waits for a stop, and closes. The public
methods signal it and wait for it. A cancellation from outside, as ``asyncio.run`` does with all tasks at its end, is an
abort: finished messages are committed, and the consumer leaves the group.
"""

from __future__ import annotations

import asyncio
import contextvars
import signal
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType, UnionType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack, cast, overload
from weakref import WeakSet

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, OutputConfig, RayConfig
from pyrallel_consumer.config.likely_mistakes import warn_of_settings
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import CompletionEvent, ExecutionMode, OnExhausted, RuntimeSnapshot, TopicPartition
from pyrallel_consumer.errors import (
    BrokerError,
    ConfigurationError,
    LifespanError,
    MessageExhaustedError,
    StateError,
)
from pyrallel_consumer.execution_plane.batches.batch import items_of
from pyrallel_consumer.execution_plane.batches.call import batch_call
from pyrallel_consumer.execution_plane.engine import ExecutionEngine
from pyrallel_consumer.execution_plane.engine_choice import made_engine
from pyrallel_consumer.execution_plane.worker.call import worker_call
from pyrallel_consumer.execution_plane.worker.deserializers import deserializers_of
from pyrallel_consumer.execution_plane.worker.kind import Worker, check_values, check_worker, is_async, name_of
from pyrallel_consumer.execution_plane.worker.lifespan import Lifespan, lifespan_of
from pyrallel_consumer.execution_plane.worker.lifespan_task import LifespanTask
from pyrallel_consumer.execution_plane.worker.returned import RecordMaker, recording, returns_records
from pyrallel_consumer.execution_plane.worker.types import WorkerOf
from pyrallel_consumer.foreign_errors import loggable
from pyrallel_consumer.ingress.client.client_settings import (
    consumer_configuration,
    producer_configuration,
    transaction_configuration,
)
from pyrallel_consumer.ingress.reading.subscription import check_letter_topics, parse_topic
from pyrallel_consumer.ingress.serialization import DeserializerOf, RegistryDeserializer, serialization_context
from pyrallel_consumer.log import Log
from pyrallel_consumer.observability.metrics.exports import check_exports
from pyrallel_consumer.observability.metrics.figures import figures
from pyrallel_consumer.observability.published import Published
from pyrallel_consumer.observability.tracing.tracing import spans_for
from pyrallel_consumer.runtime.closing import CANCEL_SECONDS, LET_GO_SECONDS, until_done
from pyrallel_consumer.runtime.consumer_options import ConsumerOptions
from pyrallel_consumer.runtime.outcomes.completions import checked_completions
from pyrallel_consumer.runtime.stop_signals import StopSignals
from pyrallel_consumer.runtime.surroundings import Surroundings
from pyrallel_consumer.runtime.wiring import Wiring

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_T = TypeVar("_T")
V = TypeVar("V")

logger = Log("pyrallel_consumer")

SIGNALLED: Final = 128
"""The exit code of a program that a signal ended is this plus the signal's number."""
CUT_OFF: Final = 3
"""The exit code of a program that stopped in order, except for messages that were still running after the drain."""


_started: WeakSet[PyrallelConsumer] = WeakSet()


def started_consumers(group: str) -> list[PyrallelConsumer]:
    """The consumers of this group that were started in this process and still exist, including ended ones."""
    return [consumer for consumer in _started if consumer.config.consumer_group == group]


class PyrallelConsumer:
    """Consumes ``topic`` (a name, a list of names, or a pattern beginning with ``^``) with ``worker``.

    ``execution_config`` defaults to the environment's settings. ``engine`` takes your own engine, which has its
    worker already: ``worker`` is None then. ``item.value`` is bytes unless ``value_type`` names a type that pydantic
    reads its JSON into, or ``value_deserializer`` is called with the bytes and a ``SerializationContext``. ``key_type``
    and ``key_deserializer`` do the same for ``item.decoded_key``. ``lifespan`` returns a context manager that is
    entered before the first message and left after the last attempt, in ``process`` mode once in each process.

    ``on_completion`` is called with a ``CompletionEvent`` for each message that ended, on the loop, and must be quick.
    ``output`` says how the records are written that workers return; without one, a worker whose signature names
    ``Record``, or that yields, writes as ``OutputConfig()`` says. ``registry`` is a Prometheus registry of yours that
    shows the consumer's metrics, with or without an endpoint (``MetricsConfig``).
    ``ray`` is the cluster of ``ExecutionMode.RAY``; it defaults to the environment's settings.

    ``stopped_by`` and ``aborted_by`` are the signals that ``run`` got, None if there was none. ``cut_off`` counts
    the messages that were still running after the drain: they run again. The constructor raises ConfigurationError,
    before any connection, if settings, topics or the worker do not fit. One object runs once, on the event loop
    that started it. All methods belong to that loop, except ``get_runtime_snapshot`` and ``get_metrics``: any
    thread may call them.
    """

    @overload
    def __init__(
        self,
        config: KafkaConfig,
        worker: WorkerOf[bytes | None] | None,
        topic: str | Iterable[str],
        *,
        value_type: None = None,
        value_deserializer: None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        config: KafkaConfig,
        worker: WorkerOf[V],
        topic: str | Iterable[str],
        *,
        value_type: type[V] | TypeAdapter[V],
        value_deserializer: None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        config: KafkaConfig,
        worker: WorkerOf[Any],
        topic: str | Iterable[str],
        *,
        value_type: UnionType,
        value_deserializer: None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        config: KafkaConfig,
        worker: WorkerOf[Any],
        topic: str | Iterable[str],
        *,
        value_type: None = None,
        value_deserializer: RegistryDeserializer,
        **options: Unpack[ConsumerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        config: KafkaConfig,
        worker: WorkerOf[V],
        topic: str | Iterable[str],
        *,
        value_type: None = None,
        value_deserializer: DeserializerOf[Awaitable[V]] | DeserializerOf[V] | Callable[[], DeserializerOf[V]],
        **options: Unpack[ConsumerOptions],
    ) -> None: ...
    def __init__(
        self,
        config: KafkaConfig,
        worker: Worker | None,
        topic: str | Iterable[str],
        *,
        execution_config: ExecutionConfig | None = None,
        engine: ExecutionEngine | None = None,
        value_type: Any = None,
        value_deserializer: Any = None,
        key_type: Any = None,
        key_deserializer: Any = None,
        output: OutputConfig | None = None,
        ray: RayConfig | None = None,
        on_completion: Callable[[CompletionEvent], object] | None = None,
        lifespan: Callable[[], AbstractContextManager[Any] | AbstractAsyncContextManager[Any]] | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self.config = _checked(config, KafkaConfig, "config").validate_all()
        if execution_config is None:
            execution_config = ExecutionConfig()
        self.execution_config = _checked(execution_config, ExecutionConfig, "execution_config").validate_all()
        if ray is None and self.execution_config.mode is ExecutionMode.RAY:
            ray = RayConfig()
        self.ray_config = None if ray is None else _checked(ray, RayConfig, "ray").validate_all()
        self._worker = worker
        self._given_engine = engine
        self._deserializers = deserializers_of(
            key_type=key_type,
            key_deserializer=key_deserializer,
            value_type=value_type,
            value_deserializer=value_deserializer,
            context_of=serialization_context,
        )
        self._lifespan = self._checked_lifespan(lifespan)
        self._completions = checked_completions(on_completion)
        self._check_worker()
        if output is None and engine is None and returns_records(worker):
            output = OutputConfig()
        self.output_config = None if output is None else _checked(output, OutputConfig, "output").validate_all()
        if self.output_config is not None and self.execution_config.batch_size > 1:
            raise ConfigurationError(
                "a worker that takes batches returns no records: leave output out, or ExecutionConfig.batch_size at 1"
            )
        if self.output_config is not None and self.output_config.is_exactly_once:
            transaction_configuration(self.config, self.output_config)
        check_exports(registry, is_open_telemetry=self.config.metrics.open_telemetry)
        self._registry = registry
        self._spans = spans_for(self.execution_config, self.config.consumer_group, items_of)
        # Mistakes are refused here; the results are computed again when the parts are built.
        on_exhausted = self.execution_config.exhaustion(dlq_enabled=self.config.dlq_enabled)
        consumer_configuration(self.config)
        producer_configuration(self.config, self.output_config)
        self.topic: str | list[str] = topic if isinstance(topic, str) else _listed(topic)
        self._subscription = parse_topic(self.topic, self.config.dlq_topic_suffix if self.config.dlq_enabled else None)
        if on_exhausted is OnExhausted.DLQ:
            check_letter_topics(self._subscription, self.config.dlq_topic_suffix)
        self._state = "new"
        self._is_open = False
        self._is_living = False
        self._error: BaseException | None = None
        self._published: Published | None = None
        self._lifespan_task: LifespanTask | None = None
        self.stopped_by: signal.Signals | None = None
        self.aborted_by: signal.Signals | None = None
        self._opened = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._closed = asyncio.Event()

    # Life

    async def start(self) -> None:
        """Join the group; returns when subscribed. Raises a BrokerError or ConfigurationError if it cannot.

        Raises StateError if it was started before, or is stopped meanwhile. If it is cancelled, it cleans up.
        """
        if self._state != "new":
            raise StateError("this consumer was started already: build a new PyrallelConsumer to run again")
        warn_of_settings(self.config)
        _started.add(self)
        self._loop = asyncio.get_running_loop()
        base = contextvars.copy_context()
        self._build(base)
        self._become("starting")
        # Not by create_task: a task factory is the user's, and made for the user's tasks.
        self._supervisor = asyncio.Task(self._live(), loop=self._loop, name="pyrallel-consumer", context=base.copy())
        self._supervisor.add_done_callback(self._end)
        try:
            await self._opened.wait()
        except asyncio.CancelledError:
            self._hurry()
            self._ask_to_stop()
            await self._closed.wait()
            raise
        if not self._is_open:
            await self._closed.wait()
            raise self._error or StateError("the consumer was stopped while it started")

    async def stop(self) -> None:
        """Stop fetching, drain running messages, commit, leave the group. Raises the fatal error if there was one.

        Raises StateError if it was never started. A second call waits for the first; if the caller is cancelled,
        the stop goes on without it. A worker must not await it, because the stop waits for the workers.
        """
        self._check_started()
        self._ask_to_stop()
        await self.wait_closed()

    async def abort(self) -> None:
        """Like ``stop`` without the drain: running messages are cancelled and will run again."""
        self._check_started()
        self._hurry()
        await self.stop()

    async def wait_closed(self) -> None:
        """Return when the consumer has stopped; raises the fatal error if there was one."""
        self._check_started()
        await self._closed.wait()
        if self._error is not None:
            raise self._error

    async def run(self) -> None:
        """Start, and consume until SIGINT or SIGTERM or ``stop``: the first signal drains, the second aborts.

        Returns after either, even if the signal came during the start. Raises the errors of ``start`` and
        ``wait_closed``, and StateError outside of the main thread, because only the main thread gets signals.
        """
        with StopSignals(self._on_signal):
            try:
                async with self:
                    await self.wait_closed()
            except StateError:
                if self._is_open or self._error is not None or not self._stop_asked.is_set():
                    raise

    def run_forever(self) -> None:
        """``run`` for scripts: makes an event loop and blocks until the consumer has stopped.

        A second signal exits with 128 + its number, like other programs that a signal ends. If the drain took longer
        than ``shutdown_drain_timeout_ms`` and messages were cut off, the exit code is 3.
        """
        if _is_loop_running():
            raise StateError(
                "run_forever() makes an event loop of its own, and one runs here already: use `await consumer.run()`"
            )
        asyncio.run(self.run())
        if self.aborted_by is not None:
            raise SystemExit(SIGNALLED + self.aborted_by)
        if self.cut_off:
            raise SystemExit(CUT_OFF)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        except Exception as fatal:
            if error is None or fatal is error:
                raise
            logger.error("the consumer had failed while its block raised", exc_info=loggable(fatal))  # noqa: TRY400 -- not every traceback can be shown

    # Steering and looking

    @property
    def error(self) -> BaseException | None:
        """The fatal error that ended this consumer, or is ending it; None if there is none."""
        return self._error

    def pause_partition(self, tp: TopicPartition | tuple[str, int]) -> None:
        """Fetch no more of ``tp`` while it is assigned; messages that were read go on.

        Raises StateError if it is not assigned to this consumer now.
        """
        tp = TopicPartition(*tp)
        manager = self._running_manager()
        if all(work.tp != tp for work in manager):
            raise StateError(f"{tp} is not assigned to this consumer: only what it has can be paused")
        manager.pause(tp, "user")
        self._wiring.control.hurry()

    def resume_partition(self, tp: TopicPartition | tuple[str, int]) -> None:
        """End ``pause_partition`` and the pause after an exhausted message; that message is then tried again."""
        tp = TopicPartition(*tp)
        manager = self._running_manager()
        manager.resume(tp, "user")
        manager.resume(tp, "exhausted")
        self._wiring.control.hurry()
        self._wiring.control.wake()

    def pause(self) -> None:
        """Fetch no more of any partition, even one that is assigned later; messages that were read go on."""
        self._running_manager().pause_all()
        self._wiring.control.hurry()

    def resume(self) -> None:
        """Take back ``pause``, and what ``resume_partition`` takes back of each partition."""
        self._running_manager().resume_all()
        self._wiring.control.hurry()
        self._wiring.control.wake()

    def set_rate(self, max_per_second: float) -> None:
        """From now on start at most this many messages a second, 0 for any number: see ``ExecutionConfig``.

        Raises ConfigurationError if it is not a number of 0 or more.
        """
        manager = self._running_manager()
        checked = ExecutionConfig(max_per_second=max_per_second).max_per_second
        wiring = self._wiring
        manager.rate.set(checked, wiring.clock(), wiring.engine.status().retries_total)
        wiring.control.wake()

    def get_runtime_snapshot(self) -> RuntimeSnapshot:
        """A frozen snapshot, at most a quarter of a second old while the loop runs. For any thread.

        It may become a second old with thousands of partitions, because it is then expensive.
        Raises StateError before the consumer was started.
        """
        if self._published is None or self._published.latest is None:
            raise StateError("there is nothing to picture before start()")
        return self._published.latest

    def get_metrics(self) -> dict[str, Any]:
        """The numbers of the snapshot and the poll thread, by name (see ``figures``). For any thread.

        Raises StateError before the consumer was started.
        """
        snapshot = self.get_runtime_snapshot()
        poller = self._wiring.poller.get_metrics()
        return figures(snapshot, poller) | poller

    @property
    def cut_off(self) -> int:
        """Messages that were still running when the stop ended its wait, 0 while the consumer runs."""
        return 0 if self._state == "new" else self._wiring.closing.cut_off

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of the endpoint while it is open, None if metrics are off."""
        return None if self._state == "new" else self._wiring.metrics_address

    # The parts

    def _check_worker(self) -> None:
        if self._given_engine is not None:
            if self._worker is not None:
                raise ConfigurationError("an engine of your own runs its own worker: give worker=None with it")
            if self.execution_config.tracing:
                raise ConfigurationError(
                    "an engine of your own runs its own worker, which ExecutionConfig.tracing cannot wrap: trace it "
                    "yourself and turn tracing off (environment: EXECUTION_TRACING=false)"
                )
            if self.execution_config.batch_size > 1:
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
        check_worker(worker, self.execution_config.mode, batch_size=self.execution_config.batch_size)
        check_values(worker, is_decoded=self._deserializers is not None and self._deserializers.value is not None)
        if self._deserializers is not None:
            self._deserializers.check(self.execution_config.mode)

    def _checked_lifespan(self, function: Any) -> Lifespan | None:
        if self._given_engine is None:
            return lifespan_of(function, self._worker, self.execution_config.mode)
        if function is not None:
            raise ConfigurationError(
                "an engine of your own runs its own worker: enter its lifespan around the consumer"
            )
        return None

    def _made_engine(self, base: contextvars.Context) -> ExecutionEngine:
        mode = self.execution_config.mode
        given = worker = cast("Worker", self._worker)  # check_worker saw that it is one
        output = self.output_config
        if output is not None:
            worker = recording(worker, RecordMaker(output.value_serializer, serialization_context))
        made_call = worker_call if self.execution_config.batch_size == 1 else batch_call
        worker = made_call(worker, mode, self._deserializers)
        if self._spans is not None:
            worker = self._spans.wrapped(worker, mode, is_async=is_async(given))
        return made_engine(
            worker,
            self.execution_config,
            base,
            is_async=is_async(given),
            is_shutting_down=lambda: self._supervisor.cancelling() > 0,
            trace=self._spans,
            is_recording=output is not None,
            lifespan=self._lifespan,
            ray=self.ray_config,
        )

    def _build(self, base: contextvars.Context) -> None:
        engine = self._given_engine
        if self._lifespan is not None and not self.execution_config.mode.is_elsewhere:
            self._lifespan_task = LifespanTask(self._lifespan, base)
        self._wiring = Wiring(
            self.config,
            self.execution_config,
            self._subscription,
            self._made_engine(base) if engine is None else engine,
            worker_name=name_of(self._worker if engine is None else engine),
            loop=self._loop,
            base=base,
            fail=self._fail,
            surroundings=self._surroundings(),
            trace_headers=None if self._spans is None else self._spans.letter_headers,
            output=self.output_config,
            completions=self._completions,
            registry=self._registry,
        )
        control = self._wiring.control
        control.on_tick.append(self._look_at_poller)
        self._published = Published(self._wiring.picture, self._wiring.blocking_watch, control.pictures)
        control.pictures.add(self._published.tick)
        control.on_interrupt = self._on_interrupt

    def _surroundings(self) -> Surroundings:
        return Surroundings()

    # The supervisor

    async def _live(self) -> None:
        self._is_living = True
        try:
            await self._open_and_close()
            await self._let_go()
        except Exception as error:  # noqa: BLE001 -- an engine of the user's may raise anywhere; nobody may wait for ever
            self._note(error)
        self._end()

    def _end(self, _: asyncio.Task[None] | None = None) -> None:
        """Nobody waits any longer, also where the supervisor was cancelled before its first step."""
        self._state = "closed"
        self._opened.set()
        self._closed.set()

    async def _open_and_close(self) -> None:
        try:
            if not self._stop_asked.is_set():
                await self._open()
            await self._stop_asked.wait()
        except asyncio.CancelledError:  # By _ask_to_stop while it opened, or from outside: see the module's docstring.
            self._wiring.closing.abort()
        except Exception as error:  # noqa: BLE001 -- why it cannot start: start() raises it
            self._note(error)
        self._become("stopping")
        if self._is_open:
            await self._close()

    async def _open(self) -> None:
        wiring = self._wiring
        wiring.raise_gc_threshold()
        wiring.open_endpoint(self.get_metrics, self.get_runtime_snapshot)
        if self._lifespan_task is not None:
            await self._lifespan_task.enter()
        await wiring.start_engine()
        wiring.control.start()
        wiring.start_watchdog()
        for start in wiring.thread_starts():
            started = start()
            await until_done(started)
            started.result()
        self._is_open = True
        self._become("running")
        self._opened.set()
        wiring.control.connect(wiring.poller)  # Only now: a worker may stop or pause a started consumer.
        logger.info("consuming %s as group %s", self._subscription, self.config.consumer_group)
        if (address := wiring.metrics_address) is not None:
            logger.info("status page, metrics and health at http://%s:%d/", *address)

    async def _close(self) -> None:
        """Close in order, and again as an abort if somebody cancels that."""
        closing = self._wiring.closing
        try:
            await closing.run()
        except asyncio.CancelledError:
            if not closing.is_aborted:
                closing.abort()
                await self._close()

    async def _let_go(self) -> None:
        """The last steps: nothing is committed any more, and every wait has its bound."""
        wiring = self._wiring
        wiring.abandon_threads()
        wiring.control.stop()
        wiring.watchdog.stop()
        wiring.release_gc_threshold()
        has_left = wiring.close_endpoint()
        await self._stop_engine()
        deadline = self._loop.time() + LET_GO_SECONDS
        try:
            for ended in [*(wiring.threads_under_way() if self._is_open else ()), has_left]:
                await until_done(ended, max(0.0, deadline - self._loop.time()))
        except asyncio.CancelledError:
            logger.warning("interrupted while stopping: the group may notice only after its session timeout")
        self._become("closed")

    async def _stop_engine(self) -> None:
        """Stop the engine, and leave the lifespan after it, which may take as long as a drain."""
        seconds = 0.0
        if self._lifespan is not None and not self._wiring.closing.is_aborted:
            seconds = self.execution_config.shutdown_drain_timeout_ms / 1000
        try:
            await self._wiring.engine.stop(seconds)
            if self._lifespan_task is not None:
                await self._lifespan_task.leave(max(seconds, CANCEL_SECONDS))
        except asyncio.CancelledError:
            logger.warning("interrupted while stopping: what runs the worker may not have ended in order")
        except LifespanError as error:
            logger.error("%s", error, exc_info=loggable(error))  # noqa: TRY400 -- not every traceback can be shown
            self._note(error)

    def _ask_to_stop(self) -> None:
        if self._stop_asked.is_set():
            return
        self._stop_asked.set()
        if self._is_open:
            self._wiring.control.begin_draining()
        elif self._is_living:  # a task that is cancelled before its first step never takes it
            self._supervisor.cancel()

    def _hurry(self) -> None:
        self._wiring.closing.abort()
        if self._lifespan_task is not None:
            self._lifespan_task.hurry()

    def _note(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        elif error is not self._error:
            logger.error("after the consumer had failed: %s", error, exc_info=loggable(error))

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            place = error.place if isinstance(error, MessageExhaustedError) else {}
            logger.error("the consumer fails: %s", error, exc_info=loggable(error), extra=place)
            self._error = error
        if not isinstance(error, MessageExhaustedError):
            self._wiring.closing.abort()
        self._ask_to_stop()

    def _on_signal(self, number: signal.Signals) -> None:
        if not self._stop_asked.is_set():
            logger.info("%s: draining; a second signal aborts", number.name)
            self.stopped_by = number
            self._ask_to_stop()
        elif self.aborted_by is None and not self._closed.is_set():
            logger.warning("%s again: aborting; what runs is cancelled and will run again", number.name)
            self.aborted_by = number
            self._hurry()

    def _on_interrupt(self) -> None:
        """Ctrl-C while no handler was in place, or an exception that a worker took for it: as the signal."""
        logger.warning("KeyboardInterrupt in a worker: its message stays uncommitted, and runs again after a restart")
        self._on_signal(signal.SIGINT)

    def _check_started(self) -> None:
        if self._state == "new":
            raise StateError("this consumer was never started: call start() first")
        if asyncio.get_running_loop() is not self._loop:
            raise StateError("this consumer belongs to the event loop that started it, and another one asks")

    def _running_manager(self) -> WorkManager:
        if not self._is_open or self._state == "closed":
            raise StateError(f"the consumer is {self._state}: partitions are paused and resumed while it runs")
        return self._wiring.manager

    # At every tick

    def _look_at_poller(self, _: float) -> None:
        control = self._wiring.control
        if self._is_open and not (self._wiring.poller.is_alive or control.has_facts or control.has_poller_ended):
            self._fail(BrokerError("the poll thread has ended by itself", code="_STATE"))

    def _become(self, state: str) -> None:
        self._state = state
        if self._published is not None:
            self._published.become(state)


def _listed(topics: Any) -> Any:
    """Topics as a list; ``parse_topic`` refuses anything else."""
    return [*topics] if isinstance(topics, Iterable) else topics


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _checked(value: object, kind: type[_T], name: str) -> _T:
    if not isinstance(value, kind):
        raise ConfigurationError(f"{name} must be of type {kind.__name__}, not {type(value).__name__}")
    return value
