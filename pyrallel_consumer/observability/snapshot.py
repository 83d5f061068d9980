"""The snapshot of a running consumer, made on its loop from the live parts and frozen for all other threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig
from pyrallel_consumer.control_plane.failures.letter_queue import LetterQueue
from pyrallel_consumer.control_plane.offsets.commit_sequence import CommitSequence
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import BatchFigures, DeadLetterSnapshot, OnExhausted, RetrySnapshot, RuntimeSnapshot
from pyrallel_consumer.observability.partition_picture import partition_picture
from pyrallel_consumer.record import OutputFigures


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """The engine's part of a snapshot."""

    running: int = 0
    waiting_retries: int = 0
    retries_total: int = 0
    timeouts_total: int = 0
    stuck: int = 0
    batches: BatchFigures | None = None


@dataclass(frozen=True, slots=True)
class FixedFacts:
    """The settings' part of a snapshot: the same in every snapshot of one consumer."""

    settings: Mapping[str, object]
    retry: RetrySnapshot
    dead_letters: DeadLetterSnapshot
    max_in_flight: int


def fixed_facts(kafka: KafkaConfig, execution: ExecutionConfig, on_exhausted: OnExhausted, topic: str) -> FixedFacts:
    """The settings' part of every snapshot, without secrets."""
    parallel = kafka.parallel_consumer
    return FixedFacts(
        settings=MappingProxyType(
            {
                "group": kafka.consumer_group,
                "topic": topic,
                "ordering_mode": parallel.ordering_mode.value,
                "mode": execution.mode.value,
                "max_attempts": execution.max_attempts,
                "on_exhausted": on_exhausted.value,
                "commit_interval_ms": parallel.commit_interval_ms,
                "poll_batch_size": parallel.poll_batch_size,
                "rebalance_state_strategy": parallel.rebalance_state_strategy.value,
                "max_revoke_grace_ms": execution.max_revoke_grace_ms,
                "shutdown_drain_timeout_ms": execution.shutdown_drain_timeout_ms,
            }
        ),
        retry=RetrySnapshot(
            max_retries=execution.max_attempts,
            max_attempts=execution.max_attempts,
            retry_backoff_ms=execution.retry_backoff_ms,
            exponential_backoff=execution.exponential_backoff,
            max_retry_backoff_ms=execution.max_retry_backoff_ms,
            retry_jitter_ms=execution.retry_jitter_ms,
            task_timeout_ms=execution.task_timeout_ms,
        ),
        dead_letters=DeadLetterSnapshot(
            is_enabled=on_exhausted is OnExhausted.DLQ, topic_suffix=kafka.dlq_topic_suffix
        ),
        max_in_flight=execution.max_in_flight,
    )


def take_snapshot(
    *,
    now: float,
    state: str,
    manager: WorkManager,
    commits: CommitSequence,
    engine: EngineFigures,
    facts: FixedFacts,
    is_rebalancing: bool,
    letters: LetterQueue | None,
    poller: Mapping[str, Any],
    blocked_loops: int,
    group_protocol: str,
    picture_failures: int = 0,
    starts_held_seconds: float = 0.0,
    output: OutputFigures | None = None,
) -> RuntimeSnapshot:
    """The snapshot at ``now``; ``poller`` is the result of ``BrokerPoller.get_metrics()``.

    Its cost grows with assigned partitions and unfinished messages, not with finished ones.
    """
    partitions = tuple(partition_picture(work, now, manager.pause_reasons(work.tp)) for work in manager)
    load = manager.load
    limits = manager.policy.limits
    held = sum(partition.held for partition in partitions)
    return RuntimeSnapshot(
        taken_at=now,
        state=state,
        in_flight=engine.running,
        queued=sum(partition.queued for partition in partitions),
        waiting_retries=engine.waiting_retries,
        held=held,
        load_messages=load.messages,
        load_bytes=load.size_bytes,
        max_in_flight=facts.max_in_flight,
        queue_max_messages=limits.max_messages,
        queue_max_bytes=limits.max_bytes,
        is_paused=manager.backpressure.is_active or manager.circuit.is_open,
        is_rebalancing=is_rebalancing,
        processed=manager.processed,
        failed=manager.failed,
        retries=engine.retries_total,
        batches=engine.batches,
        output=output,
        fenced_completions=manager.fenced_completions,
        commits=commits.sent,
        commit_failures=sum(commits.failures.values()),
        partitions=partitions,
        settings=MappingProxyType({**facts.settings, "group_protocol": group_protocol}),
        stuck=engine.stuck,
        rebalances=poller["rebalances"],
        is_broker_connected=poller["is_broker_connected"],
        broker_silent_seconds=poller["broker_silent_seconds"],
        blocked_loops=blocked_loops,
        on_exhausted=manager.policy.on_exhausted,
        retry=replace(facts.retry, timeouts=engine.timeouts_total),
        dead_letters=_letters(facts.dead_letters, letters, held),
        is_circuit_open=manager.circuit.is_open,
        circuit_opened=manager.circuit.opened,
        poisoned_keys=manager.poison_keys.poisoned,
        settled=manager.settled,
        picture_failures=picture_failures,
        starts_held_seconds=starts_held_seconds,
        max_per_second=manager.rate.max_per_second,
        is_rate_limited=manager.rate.is_limited,
        rate_limited_seconds=manager.rate.limited_seconds(now),
        waiting_starts=tuple((tp, max(0.0, now - since)) for tp, since in poller.get("waiting_since", {}).items()),
    )


def _letters(fixed: DeadLetterSnapshot, letters: LetterQueue | None, held: int) -> DeadLetterSnapshot:
    if letters is None:
        return replace(fixed, held=held)
    return replace(
        fixed,
        is_producing=True,
        held=held,
        sent=letters.sent,
        waiting=len(letters),
        is_failing=letters.is_failing,
        failures=MappingProxyType(dict(letters.failures_by_code)),
    )
