"""The operator's picture of a running consumer, made on its loop from the live parts and frozen for everybody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyrallel_consumer.control_plane.commit_sequence import CommitSequence
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import RuntimeSnapshot


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """What the picture shows of the engine."""

    running: int
    waiting_retries: int
    retries_total: int
    max_in_flight: int


def take_snapshot(
    *,
    now: float,
    state: str,
    manager: WorkManager,
    commits: CommitSequence,
    engine: EngineFigures,
    is_rebalancing: bool,
    settings: Mapping[str, object],
) -> RuntimeSnapshot:
    """The picture at ``now``; cost grows with assigned partitions and unfinished messages, not with what was done."""
    partitions = tuple(work.picture(now, manager.pause_reasons(work.tp)) for work in manager)
    load = manager.load
    limits = manager.policy.limits
    return RuntimeSnapshot(
        taken_at=now,
        state=state,
        in_flight=engine.running,
        queued=sum(partition.queued for partition in partitions),
        waiting_retries=engine.waiting_retries,
        held=sum(partition.held for partition in partitions),
        load_messages=load.messages,
        load_bytes=load.size_bytes,
        max_in_flight=engine.max_in_flight,
        queue_max_messages=limits.max_messages,
        queue_max_bytes=limits.max_bytes,
        is_paused=manager.backpressure.is_active,
        is_rebalancing=is_rebalancing,
        processed=manager.processed,
        failed=manager.failed,
        retries=engine.retries_total,
        fenced_completions=manager.fenced_completions,
        commits=commits.sent,
        commit_failures=sum(commits.failures.values()),
        partitions=partitions,
        settings=settings,
    )
