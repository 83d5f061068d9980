"""The parts of one running consumer, built from its settings and connected. Only here the middle layers meet.

Nothing here waits or decides. It is built when the consumer starts, on its event loop, and used once.
``ClientThreads`` are the parts that talk to Kafka, ``Views`` the parts that operators look at.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextvars import Context
from dataclasses import replace
from typing import TYPE_CHECKING

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, OutputConfig
from pyrallel_consumer.control_plane.membership import Membership
from pyrallel_consumer.control_plane.offsets.commit_sequence import CommitSequence
from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import Headers, OnExhausted, WorkItem
from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.execution_plane.engine import ExecutionEngine
from pyrallel_consumer.execution_plane.processes.boot_clock import boot_seconds
from pyrallel_consumer.ingress.reading.subscription import Subscription
from pyrallel_consumer.observability.snapshot import FixedFacts, fixed_facts
from pyrallel_consumer.observability.watch.blocking_watch import BlockingWatch
from pyrallel_consumer.observability.watch.loop_watchdog import LoopWatchdog
from pyrallel_consumer.runtime.client_threads import ClientThreads, group_settings
from pyrallel_consumer.runtime.life.closing import Closing
from pyrallel_consumer.runtime.life.garbage_threshold import RaisedThreshold
from pyrallel_consumer.runtime.outcomes.completions import Completions
from pyrallel_consumer.runtime.outcomes.dead_letters import DeadLetters, LetterProducer
from pyrallel_consumer.runtime.outcomes.record_output import RecordOutput
from pyrallel_consumer.runtime.outcomes.refused_records import RefusedRecords
from pyrallel_consumer.runtime.outcomes.transaction_output import TransactionOutput
from pyrallel_consumer.runtime.pump.control_loop import ControlLoop
from pyrallel_consumer.runtime.surroundings import Surroundings
from pyrallel_consumer.runtime.views import Views

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class Wiring:
    """``fail`` is called with the error that ends the consumer, ``on_tick`` about twenty times a second.

    While nothing moves it is called eight times a second.
    """

    _raised_threshold: RaisedThreshold | None = None

    def __init__(
        self,
        config: KafkaConfig,
        execution: ExecutionConfig,
        subscription: Subscription,
        engine: ExecutionEngine,
        *,
        worker_name: str,
        loop: asyncio.AbstractEventLoop,
        base: Context,
        fail: Callable[[BaseException], None],
        surroundings: Surroundings,
        registry: CollectorRegistry | None = None,
        trace_headers: Callable[[WorkItem], Headers] | None = None,
        output: OutputConfig | None = None,
        completions: Completions | None = None,
    ) -> None:
        self.clock = clock = surroundings.clock
        self._completions = completions
        self._gc_threshold = execution.gc_threshold
        self._has_watchdog = surroundings.has_watchdog
        is_exactly_once = output is not None and output.is_exactly_once
        on_exhausted = execution.exhaustion(dlq_enabled=config.dlq_enabled)
        is_dlq = on_exhausted is OnExhausted.DLQ
        grace_seconds = execution.max_revoke_grace_ms / 1000
        errors = ErrorText(execution.show_error_text)
        group = group_settings(config)
        policy = _work_policy(config, execution, is_measured=registry is not None, is_writing=is_exactly_once)
        self.manager = surroundings.manager(replace(policy, is_sending_ahead=engine.is_keeping_order))
        if completions is not None:
            completions.watch_manager(self.manager)  # Before the control loop takes the manager's methods.
        self.commits = _commit_sequence(self.manager, config, is_exactly_once=is_exactly_once)
        self.engine = surroundings.engine(engine)
        self.control = ControlLoop(
            manager=self.manager,
            commits=self.commits,
            engine=self.engine,
            revoke_grace_seconds=grace_seconds,
            loop=surroundings.timers(loop),
            base=base,
            fail=fail,
            clock=clock,
            errors=errors,
            boot_clock=boot_seconds,
            membership=Membership(group.gap_seconds),
        )
        if completions is not None:
            completions.watch_pump(self.engine, self.control.exhausted, self.control.pictures.note)
        self.threads = ClientThreads(
            config,
            group,
            subscription,
            output,
            is_dlq=is_dlq,
            grace_seconds=grace_seconds,
            surroundings=surroundings,
            deliver=self.control.deliver,
        )
        self.poller = self.threads.poller
        letters = self.threads.letter_producer if output is None else self._connected_output(execution, output)
        if is_dlq and letters is not None:
            self.control.dead_letters = self._dead_letters(config, letters, errors, trace_headers)
        self.closing = Closing(
            self.control,
            self.poller,
            drain_seconds=execution.shutdown_drain_timeout_ms / 1000,
            clock=clock,
        )
        facts = fixed_facts(config, execution, on_exhausted, str(subscription))
        self._wire_views(config, loop, worker_name, registry, facts)

    def _wire_views(
        self,
        config: KafkaConfig,
        loop: asyncio.AbstractEventLoop,
        worker_name: str,
        registry: CollectorRegistry | None,
        facts: FixedFacts,
    ) -> None:
        warn_seconds = config.parallel_consumer.blocking_warn_seconds
        self.blocking_watch = BlockingWatch(warn_seconds)
        self.watchdog = LoopWatchdog(
            loop,
            last_sign_of_life=lambda: self.control.heartbeat,
            now=self.clock,
            warn_seconds=warn_seconds,
            worker_name=worker_name,
            on_loop_closed=self._abandon,
            note_failure=self.control.pictures.note,
        )
        self.views = Views(
            self.control,
            self.poller,
            self.watchdog,
            facts=facts,
            metrics=config.metrics,
            group=config.consumer_group,
            worker_name=worker_name,
            registry=registry,
            clock=self.clock,
        )

    def _dead_letters(
        self,
        config: KafkaConfig,
        producer: LetterProducer,
        errors: ErrorText,
        trace_headers: Callable[[WorkItem], Headers] | None,
    ) -> DeadLetters:
        return DeadLetters(
            self.manager,
            producer,
            suffix=config.dlq_topic_suffix,
            payload_mode=config.dlq_payload_mode,
            clock=self.clock,
            trace_headers=trace_headers,
            group=config.consumer_group,
            errors=errors,
        )

    def _connected_output(self, execution: ExecutionConfig, output: OutputConfig) -> LetterProducer:
        """Connects the records of workers with the broker; returns what takes the dead letters."""
        control = self.control
        retry = execution.retry_policy()
        if self.threads.transactions is not None:
            # A message that ran again would wait behind its key, where a dead letter may wait for the message: the map
            # may have no room for the letter until the message is done.
            retry = replace(retry, max_attempts=1)
        refused = RefusedRecords(self.manager, control.exhausted, retry)
        if self.threads.letter_producer is not None:
            control.output = RecordOutput(
                self.manager,
                self.threads.letter_producer,
                control.channel.returned,
                refused,
                limits=output.limits(),
                clock=self.clock,
            )
            return self.threads.letter_producer
        written = TransactionOutput(
            self.manager,
            control.channel.returned,
            refused,
            limits=output.limits(),
            clock=self.clock,
            is_transacting=lambda: self.commits.is_under_way,
        )
        written.take_letter_answers = control.exhausted.take_answers
        if (transactions := self.threads.transactions) is not None:
            written.open_since = lambda: transactions.open_since
        control.output = written
        take = written.take_outcome
        heard = take if self._completions is None else self._completions.watched_outcomes(take)
        control.outstanding.on_outcome = heard
        return written

    def raise_gc_threshold(self) -> None:
        """Let Python's garbage collector run less often, until ``release_gc_threshold``."""
        self._raised_threshold = RaisedThreshold(self._gc_threshold)

    def release_gc_threshold(self) -> None:
        """This consumer no longer needs the raised threshold. For any thread."""
        if self._raised_threshold is not None:
            self._raised_threshold.release()

    async def start_engine(self) -> None:
        """Get the engine ready to take work."""
        await self.engine.start(self.control.channel, self.clock)
        self.views.engine_look.is_started = True

    def start_watchdog(self) -> None:
        """Have a thread look after the event loop from now on."""
        if self._has_watchdog:
            self.watchdog.start()

    def _abandon(self) -> None:
        """The loop was closed without a stop: end threads, processes and the endpoint here."""
        self.threads.abandon()
        self.release_gc_threshold()
        self.views.close_endpoint()


def _work_policy(config: KafkaConfig, execution: ExecutionConfig, *, is_measured: bool, is_writing: bool) -> WorkPolicy:
    parallel = config.parallel_consumer
    return WorkPolicy(
        ordering=parallel.ordering_policy(),
        limits=parallel.flow_limits(),
        state_strategy=parallel.rebalance_state_strategy,
        on_exhausted=execution.exhaustion(dlq_enabled=config.dlq_enabled),
        circuit=execution.circuit_policy(),
        poison=execution.poison_policy(),
        is_timed=is_measured or config.metrics.enabled or config.metrics.open_telemetry,
        max_per_second=execution.max_per_second,
        is_writing=is_writing,
    )


def _commit_sequence(manager: WorkManager, config: KafkaConfig, *, is_exactly_once: bool) -> CommitSequence:
    interval_seconds = config.parallel_consumer.commit_interval_ms / 1000
    if is_exactly_once:  # Nothing is begun before the outcome of a transaction is known.
        return CommitSequence(manager, interval_seconds, math.inf)
    return CommitSequence(manager, interval_seconds)
