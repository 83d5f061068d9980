"""``PyrallelConsumer``: the public face of a consumer. It checks, builds the parts, and passes calls on to them.

``ConsumerLife`` starts and stops the parts in order, ``EquippedWorker`` is the worker with the code around it, and
``Wiring`` connects the parts. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import contextvars
import signal
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType, UnionType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack, overload
from weakref import WeakSet

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, OutputConfig, RayConfig
from pyrallel_consumer.config.likely_mistakes import warn_of_settings
from pyrallel_consumer.config.settings import checked_settings
from pyrallel_consumer.dto import CompletionEvent, ExecutionMode, OnExhausted, RuntimeSnapshot, TopicPartition
from pyrallel_consumer.errors import StateError
from pyrallel_consumer.execution_plane.engine import ExecutionEngine
from pyrallel_consumer.execution_plane.worker.deserializers import deserializers_of
from pyrallel_consumer.execution_plane.worker.kind import Worker
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
from pyrallel_consumer.runtime.consumer_options import ConsumerOptions
from pyrallel_consumer.runtime.equipped_worker import EquippedWorker
from pyrallel_consumer.runtime.life.consumer_life import ConsumerLife
from pyrallel_consumer.runtime.life.stop_signals import StopSignals
from pyrallel_consumer.runtime.outcomes.completions import checked_completions
from pyrallel_consumer.runtime.surroundings import Surroundings
from pyrallel_consumer.runtime.wiring import Wiring

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from pydantic import TypeAdapter

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
        self.config = checked_settings(config, KafkaConfig, "config")
        if execution_config is None:
            execution_config = ExecutionConfig()
        self.execution_config = checked_settings(execution_config, ExecutionConfig, "execution_config")
        if ray is None and self.execution_config.mode is ExecutionMode.RAY:
            ray = RayConfig()
        self.ray_config = None if ray is None else checked_settings(ray, RayConfig, "ray")
        deserializers = deserializers_of(
            key_type=key_type,
            key_deserializer=key_deserializer,
            value_type=value_type,
            value_deserializer=value_deserializer,
            context_of=serialization_context,
        )
        self._worker = EquippedWorker(
            worker,
            engine,
            self.execution_config,
            group=self.config.consumer_group,
            deserializers=deserializers,
            lifespan=lifespan,
            output=output,
            ray=self.ray_config,
        )
        self.output_config = self._worker.output
        self._completions = checked_completions(on_completion)
        if self.output_config is not None and self.output_config.is_exactly_once:
            transaction_configuration(self.config, self.output_config)
        check_exports(registry, is_open_telemetry=self.config.metrics.open_telemetry)
        self._registry = registry
        # Mistakes are refused here; the results are computed again when the parts are built.
        on_exhausted = self.execution_config.exhaustion(dlq_enabled=self.config.dlq_enabled)
        consumer_configuration(self.config)
        producer_configuration(self.config, self.output_config)
        self.topic: str | list[str] = topic if isinstance(topic, str) else _listed(topic)
        self._subscription = parse_topic(self.topic, self.config.dlq_topic_suffix if self.config.dlq_enabled else None)
        if on_exhausted is OnExhausted.DLQ:
            check_letter_topics(self._subscription, self.config.dlq_topic_suffix)
        self._life = ConsumerLife()

    # Life

    async def start(self) -> None:
        """Join the group; returns when subscribed. Raises a BrokerError or ConfigurationError if it cannot.

        Raises StateError if it was started before, or is stopped meanwhile. If it is cancelled, it cleans up.
        """
        if self._life.state != "new":
            raise StateError("this consumer was started already: build a new PyrallelConsumer to run again")
        warn_of_settings(self.config)
        _started.add(self)
        self._build(contextvars.copy_context())
        await self._life.until_open()

    async def stop(self) -> None:
        """Stop fetching, drain running messages, commit, leave the group. Raises the fatal error if there was one.

        Raises StateError if it was never started. A second call waits for the first; if the caller is cancelled,
        the stop goes on without it. A worker must not await it, because the stop waits for the workers.
        """
        self._life.check_begun()
        self._life.ask_to_stop()
        await self.wait_closed()

    async def abort(self) -> None:
        """Like ``stop`` without the drain: running messages are cancelled and will run again."""
        self._life.check_begun()
        self._life.hurry()
        await self.stop()

    async def wait_closed(self) -> None:
        """Return when the consumer has stopped; raises the fatal error if there was one."""
        self._life.check_begun()
        await self._life.until_closed()

    async def run(self) -> None:
        """Start, and consume until SIGINT or SIGTERM or ``stop``: the first signal drains, the second aborts.

        Returns after either, even if the signal came during the start. Raises the errors of ``start`` and
        ``wait_closed``, and StateError outside of the main thread, because only the main thread gets signals.
        """
        with StopSignals(self._life.on_signal):
            try:
                async with self:
                    await self.wait_closed()
            except StateError:
                if self._life.is_open or self._life.error is not None or not self._life.is_stop_asked:
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
        return self._life.error

    @property
    def stopped_by(self) -> signal.Signals | None:
        """The signal that ended ``run``, None if there was none."""
        return self._life.stopped_by

    @property
    def aborted_by(self) -> signal.Signals | None:
        """The second signal, which aborted the stop, None if there was none."""
        return self._life.aborted_by

    def pause_partition(self, tp: TopicPartition | tuple[str, int]) -> None:
        """Fetch no more of ``tp`` while it is assigned; messages that were read go on.

        Raises StateError if it is not assigned to this consumer now.
        """
        self._life.steering.pause_partition(TopicPartition(*tp))

    def resume_partition(self, tp: TopicPartition | tuple[str, int]) -> None:
        """End ``pause_partition`` and the pause after an exhausted message; that message is then tried again."""
        self._life.steering.resume_partition(TopicPartition(*tp))

    def pause(self) -> None:
        """Fetch no more of any partition, even one that is assigned later; messages that were read go on."""
        self._life.steering.pause()

    def resume(self) -> None:
        """Take back ``pause``, and what ``resume_partition`` takes back of each partition."""
        self._life.steering.resume()

    def set_rate(self, max_per_second: float) -> None:
        """From now on start at most this many messages a second, 0 for any number: see ``ExecutionConfig``.

        Raises ConfigurationError if it is not a number of 0 or more.
        """
        steering = self._life.steering
        steering.set_rate(ExecutionConfig(max_per_second=max_per_second).max_per_second)

    def get_runtime_snapshot(self) -> RuntimeSnapshot:
        """A frozen snapshot, at most a quarter of a second old while the loop runs. For any thread.

        It may become a second old with thousands of partitions, because it is then expensive.
        Raises StateError before the consumer was started.
        """
        published = self._life.published
        if published is None or published.latest is None:
            raise StateError("there is nothing to picture before start()")
        return published.latest

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
        return 0 if self._life.state == "new" else self._wiring.closing.cut_off

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of the endpoint while it is open, None if metrics are off."""
        return None if self._life.state == "new" else self._wiring.views.metrics_address

    # The parts

    def _build(self, base: contextvars.Context) -> None:
        life = self._life
        spans = self._worker.spans
        wiring = self._wiring = Wiring(
            self.config,
            self.execution_config,
            self._subscription,
            self._worker.engine(base, lambda: life.is_shutting_down),
            worker_name=self._worker.name,
            loop=asyncio.get_running_loop(),
            base=base,
            fail=life.fail,
            surroundings=self._surroundings(),
            trace_headers=None if spans is None else spans.letter_headers,
            output=self.output_config,
            completions=self._completions,
            registry=self._registry,
        )
        drain_seconds = self.execution_config.shutdown_drain_timeout_ms / 1000
        life.begin(
            wiring,
            title=f"{self._subscription} as group {self.config.consumer_group}",
            lifespan=self._worker.held_lifespan(base),
            leave_seconds=0.0 if self._worker.lifespan is None else drain_seconds,
            open_endpoint=lambda: wiring.views.open_endpoint(self.get_metrics, self.get_runtime_snapshot),
            base=base,
        )

    def _surroundings(self) -> Surroundings:
        return Surroundings()


def _listed(topics: Any) -> Any:
    """Topics as a list; ``parse_topic`` refuses anything else."""
    return [*topics] if isinstance(topics, Iterable) else topics


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
