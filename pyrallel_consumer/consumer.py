"""``PyrallelConsumer``: builds the parts, starts and stops them in order, and decides nothing itself."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import signal
from collections.abc import Iterable, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Self

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig
from pyrallel_consumer.control_loop import ControlLoop
from pyrallel_consumer.control_plane.commit_sequence import CommitSequence
from pyrallel_consumer.control_plane.subscription import parse_topic
from pyrallel_consumer.control_plane.work_manager import WorkManager, WorkPolicy
from pyrallel_consumer.dto import ExecutionMode, RuntimeSnapshot, TopicPartition
from pyrallel_consumer.errors import ConfigurationError, StateError
from pyrallel_consumer.execution_plane.async_engine import AsyncEngine
from pyrallel_consumer.execution_plane.engine import ExecutionEngine
from pyrallel_consumer.execution_plane.worker_kind import Worker, check_worker, name_of
from pyrallel_consumer.ingress.broker_poller import BrokerPoller, PollerPolicy
from pyrallel_consumer.ingress.client import consumer_configuration
from pyrallel_consumer.observability.loop_watchdog import LoopWatchdog
from pyrallel_consumer.observability.snapshot import EngineFigures, take_snapshot

logger = logging.getLogger("pyrallel_consumer")

PUBLISH_SECONDS = 0.25
"""How old the picture that other threads read may become."""
COMMIT_TIMEOUT_SECONDS = 5.0
"""How long the last commits may take, beyond the drain."""
CLOSE_TIMEOUT_SECONDS = 5.0
"""How long leaving the group may take; then the poll thread is abandoned."""
CANCEL_SECONDS = 1.0
"""How long cancelled workers may take to end at the stop."""


class PyrallelConsumer:
    """Consumes ``topic`` (a name, a list of names, or a pattern beginning with ``^``) with ``worker``.

    ``execution_config`` defaults to what the environment says. Raises ConfigurationError here, before any connection,
    for settings, topics and workers that do not fit. One object runs once: make another to start again.
    """

    def __init__(
        self,
        config: KafkaConfig,
        worker: Worker,
        topic: str | Iterable[str],
        *,
        execution_config: ExecutionConfig | None = None,
    ) -> None:
        self.config = config.validate_all()
        self.execution_config = (ExecutionConfig() if execution_config is None else execution_config).validate_all()
        check_worker(worker, self.execution_config.mode)
        if self.execution_config.mode is not ExecutionMode.ASYNC:
            msg = f"mode={self.execution_config.mode.value!r} is not in this version yet: use an async worker"
            raise ConfigurationError(msg)
        self._subscription = parse_topic(topic, config.dlq_topic_suffix if config.dlq_enabled else None)
        self._worker = worker
        self._state = "new"
        self._error: BaseException | None = None
        self._snapshot: RuntimeSnapshot | None = None
        self._is_aborted = False
        self._closing: asyncio.Task[None] | None = None

    # Life

    async def start(self) -> None:
        """Join the group; returns once subscribed. Raises a BrokerError or ConfigurationError when it cannot.

        Raises StateError when it was started before.
        """
        if self._state != "new":
            msg = "this consumer was started already: build a new PyrallelConsumer to run again"
            raise StateError(msg)
        self._state = "starting"
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._build()
        try:
            await self._engine.start(self._control.channel, self._loop.time)
            self._control.start(self._poller)
            await asyncio.wrap_future(self._poller.start())
        except BaseException as error:
            self._error = error
            self._poller.abandon()
            self._control.stop()
            await self._engine.stop(0.0)
            self._state = "closed"
            self._closed.set()
            raise
        self._watchdog.start()
        if self._state == "starting":
            self._state = "running"
        logger.info("consuming %s as group %s", self._subscription, self.config.consumer_group)

    async def stop(self) -> None:
        """Stop fetching, drain what runs, commit, leave the group. Raises the fatal error if there was one.

        Raises StateError when it was never started. A second call waits for the first.
        """
        if self._state == "new":
            msg = "this consumer was never started: call start() first"
            raise StateError(msg)
        self._begin_close()
        await self.wait_closed()

    async def abort(self) -> None:
        """Like ``stop`` without the drain: what runs is cancelled and will run again."""
        self._is_aborted = True
        await self.stop()

    async def wait_closed(self) -> None:
        """Return when the consumer has stopped; raises the fatal error if there was one."""
        if self._state == "new":
            msg = "this consumer was never started: call start() first"
            raise StateError(msg)
        await self._closed.wait()
        if self._error is not None:
            raise self._error

    async def run(self) -> None:
        """Start, and consume until SIGINT or SIGTERM or ``stop``: the first signal drains, the second aborts."""
        loop = asyncio.get_running_loop()
        handled = (signal.SIGINT, signal.SIGTERM)
        for number in handled:
            loop.add_signal_handler(number, self._on_signal, signal.Signals(number).name)
        try:
            async with self:
                await self.wait_closed()
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def run_forever(self) -> None:
        """``run`` for scripts: makes an event loop and blocks until the consumer has stopped."""
        asyncio.run(self.run())

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        except BaseException as fatal:
            if error is None or fatal is error:
                raise
            logger.exception("the consumer had failed while its block raised")

    # Steering and looking

    def pause_partition(self, tp: TopicPartition) -> None:
        """Fetch no more of ``tp`` while it is assigned; what was read goes on. Call on the consumer's loop."""
        self._running_manager().pause(TopicPartition(*tp), "user")

    def resume_partition(self, tp: TopicPartition) -> None:
        """Take back ``pause_partition``, and the pause after an exhausted message."""
        manager = self._running_manager()
        manager.resume(TopicPartition(*tp), "user")
        manager.resume(TopicPartition(*tp), "exhausted")

    def get_runtime_snapshot(self) -> RuntimeSnapshot:
        """A frozen picture, at most a quarter of a second old. May be called from any thread.

        Raises StateError before the consumer was started.
        """
        if self._snapshot is None:
            msg = "there is nothing to picture before start()"
            raise StateError(msg)
        return self._snapshot

    # Inside

    def _build(self) -> None:
        config, execution = self.config, self.execution_config
        parallel = config.parallel_consumer
        base = contextvars.copy_context()
        policy = WorkPolicy(
            ordering=parallel.ordering_policy(),
            limits=parallel.flow_limits(),
            state_strategy=parallel.rebalance_state_strategy,
            on_exhausted=execution.exhaustion(dlq_enabled=config.dlq_enabled),
        )
        self._manager = WorkManager(policy)
        self._commits = CommitSequence(self._manager, parallel.commit_interval_ms / 1000)
        self._engine: ExecutionEngine = AsyncEngine(
            self._worker, execution.retry_policy(), execution.max_in_flight, base
        )
        grace_seconds = execution.max_revoke_grace_ms / 1000
        self._control = ControlLoop(
            manager=self._manager,
            commits=self._commits,
            engine=self._engine,
            revoke_grace_seconds=grace_seconds,
            loop=self._loop,
            base=base,
            fail=self._fail,
        )
        self._control.on_tick.append(self._publish_if_due)
        self._poller = BrokerPoller(
            consumer_configuration(config),
            subscription=self._subscription,
            deliver=self._control.deliver,
            policy=PollerPolicy(poll_batch_size=parallel.poll_batch_size, revoke_grace_seconds=grace_seconds),
        )
        self._watchdog = LoopWatchdog(
            lambda: self._control.heartbeat, self._loop.time, parallel.blocking_warn_seconds, name_of(self._worker)
        )

    def _running_manager(self) -> WorkManager:
        if self._state not in {"running", "stopping"}:
            msg = f"the consumer is {self._state}: partitions can be paused while it runs"
            raise StateError(msg)
        return self._manager

    def _publish_if_due(self, now: float) -> None:
        if self._snapshot is None or now >= self._snapshot.taken_at + PUBLISH_SECONDS:
            self._publish(now)

    def _publish(self, now: float) -> None:
        status = self._engine.status()
        self._snapshot = take_snapshot(
            now=now,
            state=self._state,
            manager=self._manager,
            commits=self._commits,
            engine=EngineFigures(
                status.running, status.waiting_retries, status.retries_total, self.execution_config.max_in_flight
            ),
            is_rebalancing=self._control.is_rebalancing,
            settings=self._settings(),
        )

    def _settings(self) -> Mapping[str, object]:
        return MappingProxyType(
            {
                "group": self.config.consumer_group,
                "ordering_mode": self.config.parallel_consumer.ordering_mode.value,
                "max_attempts": self.execution_config.max_retries,
                "on_exhausted": self._manager.policy.on_exhausted.value,
            }
        )

    def _on_signal(self, name: str) -> None:
        if self._closing is None:
            logger.info("%s: draining; a second signal aborts", name)
            self._begin_close()
        else:
            logger.warning("%s again: aborting, what runs will run again", name)
            self._is_aborted = True
            self._control.begin_final_commits()

    def _fail(self, error: BaseException) -> None:
        if self._error is None and self._state != "closed":
            self._error = error
            logger.error("the consumer fails: %s", error, exc_info=error)
        self._is_aborted = True
        self._begin_close()

    def _begin_close(self) -> None:
        if self._closing is None and not self._closed.is_set():
            self._closing = self._loop.create_task(self._close())

    async def _close(self) -> None:
        self._state = "stopping"
        try:
            if not self._control.is_broken:
                await self._drain()
                await self._commit_and_leave()
        except Exception as error:  # noqa: BLE001 -- whatever goes wrong at the end must not keep callers waiting
            self._error = self._error or error
        finally:
            self._poller.abandon()
            self._control.stop()
            await self._engine.stop(0.0)
            self._watchdog.stop()
            self._state = "closed"
            self._publish(self._loop.time())
            self._closed.set()

    async def _drain(self) -> None:
        control, engine = self._control, self._engine
        self._poller.stop_fetching()
        self._manager.stop_all_dispatching()
        engine.withdraw(lambda _: True)
        deadline = self._loop.time() + self.execution_config.shutdown_drain_timeout_ms / 1000

        def is_drained() -> bool:
            return engine.running() == 0 and not control.channel.has_items

        if not await control.until(lambda: self._is_aborted or is_drained(), deadline) or not is_drained():
            engine.cancel(lambda _: True)
            await control.until(is_drained, self._loop.time() + CANCEL_SECONDS)

    async def _commit_and_leave(self) -> None:
        control = self._control
        deadline = self._loop.time() + COMMIT_TIMEOUT_SECONDS
        control.begin_final_commits()
        await control.until(
            lambda: not (self._commits.is_under_way or self._manager.has_uncommitted) or self._poller_is_gone(),
            deadline,
        )
        deadline = self._loop.time() + CLOSE_TIMEOUT_SECONDS
        self._poller.close(CLOSE_TIMEOUT_SECONDS)
        await control.until(lambda: control.is_closed_by_poller or self._poller_is_gone(), deadline)

    def _poller_is_gone(self) -> bool:
        return not self._poller.is_alive

    def get_metrics(self) -> dict[str, Any]:
        """The poll thread's and the pump's plain numbers."""
        return self._poller.get_metrics()
