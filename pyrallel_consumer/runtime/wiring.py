"""The parts of one running consumer, built from its settings and connected. Only here the middle layers meet.

Nothing here waits or decides. It is built when the consumer starts, on its event loop, and used once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import Context
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, OutputConfig
from pyrallel_consumer.control_plane.membership import Membership, gap_seconds
from pyrallel_consumer.control_plane.offsets.commit_sequence import CommitSequence
from pyrallel_consumer.control_plane.work_manager import WorkPolicy
from pyrallel_consumer.dto import Headers, OnExhausted, RuntimeSnapshot, WorkItem
from pyrallel_consumer.error_text import ErrorText
from pyrallel_consumer.execution_plane.engine import ExecutionEngine
from pyrallel_consumer.execution_plane.processes.boot_clock import boot_seconds
from pyrallel_consumer.ingress.broker_poller import PollerPolicy
from pyrallel_consumer.ingress.client.client_settings import (
    consumer_configuration,
    producer_configuration,
    protocol_choice,
    read_ahead_limits,
    transaction_configuration,
)
from pyrallel_consumer.ingress.producing.transactions import Transactions
from pyrallel_consumer.ingress.reading.subscription import Subscription
from pyrallel_consumer.observability.ailments import SignsOfLife
from pyrallel_consumer.observability.http.shared_endpoint import Seat
from pyrallel_consumer.observability.http.watched import Watched
from pyrallel_consumer.observability.metrics.exports import export
from pyrallel_consumer.observability.metrics.series import Measured
from pyrallel_consumer.observability.snapshot import fixed_facts, take_snapshot
from pyrallel_consumer.observability.status.close_up import UnderWay
from pyrallel_consumer.observability.status.identity import Identity
from pyrallel_consumer.observability.status.status_feed import StatusFeed
from pyrallel_consumer.observability.watch.blocking_watch import BlockingWatch
from pyrallel_consumer.observability.watch.loop_watchdog import LoopWatchdog
from pyrallel_consumer.runtime.closing import Closing
from pyrallel_consumer.runtime.control_loop import ControlLoop
from pyrallel_consumer.runtime.engine_look import EngineLook
from pyrallel_consumer.runtime.garbage_threshold import RaisedThreshold
from pyrallel_consumer.runtime.outcomes.completions import Completions
from pyrallel_consumer.runtime.outcomes.dead_letters import DeadLetters, LetterProducer
from pyrallel_consumer.runtime.outcomes.failure_watch import counted_failures
from pyrallel_consumer.runtime.outcomes.record_output import RecordOutput
from pyrallel_consumer.runtime.outcomes.refused_records import RefusedRecords
from pyrallel_consumer.runtime.outcomes.transaction_output import TransactionOutput
from pyrallel_consumer.runtime.surroundings import ProducerThread, Surroundings

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

MOST_ATTEMPTS_TOLD = 2_000
"""How many running attempts a close-up asks the engine for; with an order per key it needs none of them."""


class Wiring:
    """``fail`` is called with the error that ends the consumer, ``on_tick`` about twenty times a second.

    While nothing moves it is called eight times a second.
    """

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
        parallel = config.parallel_consumer
        self.clock = clock = surroundings.clock
        is_exactly_once = output is not None and output.is_exactly_once
        on_exhausted = execution.exhaustion(dlq_enabled=config.dlq_enabled)
        grace_seconds = execution.max_revoke_grace_ms / 1000
        errors = ErrorText(execution.show_error_text)
        client_configuration = consumer_configuration(config)
        choice = protocol_choice(config)
        classic_configuration = consumer_configuration(config, "classic") if choice.may_change else None
        session_ms = (classic_configuration or client_configuration).get("session.timeout.ms", 45_000)
        most_gap_seconds = gap_seconds(float(session_ms) / 1000)
        self.manager = surroundings.manager(
            WorkPolicy(
                ordering=parallel.ordering_policy(),
                limits=parallel.flow_limits(),
                state_strategy=parallel.rebalance_state_strategy,
                on_exhausted=on_exhausted,
                circuit=execution.circuit_policy(),
                poison=execution.poison_policy(),
                is_sending_ahead=engine.is_keeping_order,
                is_timed=config.metrics.enabled or config.metrics.open_telemetry or registry is not None,
                max_per_second=execution.max_per_second,
                is_writing=is_exactly_once,
            )
        )
        self._completions = completions
        if completions is not None:
            completions.watch_manager(self.manager)
        self.commits = CommitSequence(self.manager, parallel.commit_interval_ms / 1000)
        if is_exactly_once:  # Nothing is begun before the outcome of a transaction is known.
            self.commits = CommitSequence(self.manager, parallel.commit_interval_ms / 1000, math.inf)
        self.engine = engine = surroundings.engine(engine)
        self.control = ControlLoop(
            manager=self.manager,
            commits=self.commits,
            engine=engine,
            revoke_grace_seconds=grace_seconds,
            loop=surroundings.timers(loop),
            base=base,
            fail=fail,
            clock=clock,
            errors=errors,
            boot_clock=boot_seconds,
            membership=Membership(most_gap_seconds),
        )
        if completions is not None:
            completions.watch_engine(engine)
            completions.watch_exhausted(self.control.exhausted)
            completions.note_failure = self.control.pictures.note
        self._surroundings = surroundings
        is_dlq = on_exhausted is OnExhausted.DLQ
        self.transactions: Transactions | None = None
        if is_exactly_once and output is not None:
            self.transactions = surroundings.transactions(
                transaction_configuration(config, output), config.consumer_group, self.control.deliver
            )
        self.poller = surroundings.poller(
            client_configuration,
            choice=choice,
            classic=classic_configuration,
            subscription=subscription,
            deliver=self.control.deliver,
            policy=PollerPolicy(
                poll_batch_size=parallel.poll_batch_size,
                read_ahead=read_ahead_limits(config),
                revoke_grace_seconds=grace_seconds,
                gap_seconds=most_gap_seconds,
            ),
            boot_clock=boot_seconds,
            transactions=self.transactions,
        )
        self.letter_producer: ProducerThread | None = None
        letter_producer = self._wire_output(config, execution, subscription, output, is_dlq=is_dlq)
        if is_dlq and letter_producer is not None:
            self.control.dead_letters = DeadLetters(
                self.manager,
                letter_producer,
                suffix=config.dlq_topic_suffix,
                payload_mode=config.dlq_payload_mode,
                clock=clock,
                trace_headers=trace_headers,
                group=config.consumer_group,
                errors=errors,
            )
        self.closing = Closing(
            self.control,
            self.poller,
            drain_seconds=execution.shutdown_drain_timeout_ms / 1000,
            clock=clock,
        )
        self.blocking_watch = BlockingWatch(parallel.blocking_warn_seconds)
        self.watchdog = LoopWatchdog(
            loop,
            last_sign_of_life=lambda: self.control.heartbeat,
            now=clock,
            warn_seconds=parallel.blocking_warn_seconds,
            worker_name=worker_name,
            on_loop_closed=self._abandon,
            note_failure=self.control.pictures.note,
        )
        self._has_watchdog = surroundings.has_watchdog
        self._facts = fixed_facts(config, execution, on_exhausted, str(subscription))
        self._metrics = config.metrics
        self._seat: Seat | None = None
        self._registry = registry
        self._export_ends: list[Callable[[], None]] = []
        self._gc_threshold = execution.gc_threshold
        self._raised_threshold: RaisedThreshold | None = None
        self._group = config.consumer_group
        self._worker_name = worker_name
        self._engine_look = EngineLook(engine, self.control.pictures.note)

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
        self._engine_look.is_started = True

    def start_watchdog(self) -> None:
        """Have a thread look after the event loop from now on."""
        if self._has_watchdog:
            self.watchdog.start()

    @property
    def _producers(self) -> list[ProducerThread | Transactions]:
        """The threads that hold producers."""
        return [thread for thread in (self.letter_producer, self.transactions) if thread is not None]

    def thread_starts(self) -> list[Callable[[], Future[None]]]:
        """The functions that start the client threads, in order: the first messages may need dead letters at once."""
        return [*(thread.start for thread in self._producers), self.poller.start]

    def threads_under_way(self) -> list[Future[None]]:
        """For each running client thread, the future that is done when it has ended."""
        return [thread.ended for thread in (self.poller, *self._producers) if thread.is_alive]

    def abandon_threads(self) -> None:
        """Let the client threads end as soon as they can; nothing more is committed or produced."""
        self.poller.abandon()
        for thread in self._producers:
            thread.abandon()

    def _wire_output(
        self,
        config: KafkaConfig,
        execution: ExecutionConfig,
        subscription: Subscription,
        output: OutputConfig | None,
        *,
        is_dlq: bool,
    ) -> LetterProducer | None:
        """Where the records and letters go; returns what takes the letters."""
        control = self.control
        if output is None and not is_dlq:
            return None
        if output is None or self.transactions is None:
            self.letter_producer = self._surroundings.producer(
                producer_configuration(config, output),
                deliver=control.deliver,
                topics_of=(lambda known: subscription.letter_topics(known, config.dlq_topic_suffix))
                if is_dlq
                else None,
            )
            if output is None:
                return self.letter_producer
        retry = execution.retry_policy()
        if self.transactions is not None:
            # A message that ran again would wait behind its key, where a dead letter may wait for the message: the map
            # may have no room for the letter until the message is done.
            retry = replace(retry, max_attempts=1)
        refused = RefusedRecords(self.manager, control.exhausted, retry)
        if self.letter_producer is not None:
            control.output = RecordOutput(
                self.manager,
                self.letter_producer,
                control.channel.returned,
                refused,
                limits=output.limits(),
                clock=self.clock,
            )
            return self.letter_producer
        written = TransactionOutput(
            self.manager,
            control.channel.returned,
            refused,
            limits=output.limits(),
            clock=self.clock,
            is_transacting=lambda: self.commits.is_under_way,
        )
        written.take_letter_answers = control.exhausted.take_answers
        if (transactions := self.transactions) is not None:
            written.open_since = lambda: transactions.open_since
        control.output = written
        take = written.take_outcome
        control.on_outcome = take if self._completions is None else self._completions.watched_outcomes(take)
        return written

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of the endpoint, None if there is none."""
        return None if self._seat is None else self._seat.address

    def open_endpoint(self, metrics: Callable[[], Mapping[str, Any]], picture: Callable[[], RuntimeSnapshot]) -> None:
        """Show the consumer's numbers where the user wants them; open or join the endpoint, unless it is off."""
        measured = Measured(self._group, self._metrics.group_label, metrics, self.control.pictures.note)
        is_open_telemetry = self._metrics.open_telemetry
        self._export_ends = export(measured, self._registry, is_open_telemetry=is_open_telemetry)
        if not self._metrics.enabled:
            return
        feed = StatusFeed(
            self.manager,
            picture=picture,
            under_way=self._under_way,
            log_ends=lambda: self.poller.get_metrics().get("log_end_offsets", {}),
            clock=self.clock,
        )
        self.control.pictures.add(feed.tick)
        watched = Watched(
            group=self._group,
            metrics=metrics,
            picture=picture,
            signs_of_life=lambda: self._signs_of_life(picture()),
            limits=self._metrics.health_limits(),
            moments=lambda: feed.moments,
            look=feed.look,
            note_failure=self.control.pictures.note,
            has_group_label=self._metrics.group_label,
            identity=Identity(self._worker_name, self.clock()),
            failures=counted_failures(self.engine, self.control.exhausted, self.clock),
        )
        self._seat = Seat(self._metrics.host, self._metrics.port, watched)

    def close_endpoint(self) -> Future[None]:
        """Leave the endpoint; if nobody else needs it, the future is done when the port is free. For any thread."""
        seat, self._seat = self._seat, None
        ends, self._export_ends = self._export_ends, []
        try:
            for end in ends:
                end()
            if seat is not None:
                return seat.leave()
        except Exception as error:  # noqa: BLE001 -- the rest of the stop matters more than a port
            self.control.pictures.note("closing the endpoint", error)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def _abandon(self) -> None:
        """The loop was closed without a stop: end the threads, processes and the endpoint, as nobody else will."""
        self.abandon_threads()
        self.release_gc_threshold()
        self.close_endpoint()

    def _under_way(self) -> UnderWay:
        running = self.engine.longest_running(MOST_ATTEMPTS_TOLD)
        return UnderWay(
            running={each.item: (each.attempt, each.started_at) for each in running},
            failing=frozenset(self.engine.waiting()),
            stuck=frozenset(each.item for each in self.engine.stuck(self.clock())),
        )

    def _signs_of_life(self, picture: RuntimeSnapshot) -> SignsOfLife:
        now = self.clock()
        return SignsOfLife(
            loop_age_seconds=now - self.control.heartbeat,
            poll_age_seconds=now - self.poller.get_metrics()["last_poll_at"],
            is_poll_thread_alive=self.poller.is_alive,
            picture_age_seconds=now - picture.taken_at,
        )

    def picture(self, state: str) -> RuntimeSnapshot:
        """The snapshot that operators see, as of now."""
        now = self.clock()
        self._engine_look.look(now)
        self.manager.observe_slowness(now, free_slots=self._engine_look.free_slots)
        return take_snapshot(
            now=now,
            state=state,
            manager=self.manager,
            commits=self.commits,
            engine=self._engine_look.figures,
            facts=self._facts,
            is_rebalancing=self.control.is_rebalancing,
            letters=None if self.control.dead_letters is None else self.control.dead_letters.queue,
            poller=self.poller.get_metrics(),
            blocked_loops=self.watchdog.blocked_count,
            picture_failures=self.control.pictures.failures,
            group_protocol=self.poller.group_protocol,
            starts_held_seconds=self.control.lease.held_seconds(now),
            output=None if self.control.output is None else self.control.output.figures(now),
        )
