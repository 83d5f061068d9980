"""Pictures of a healthy consumer; tests change the fields that they need."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pyrallel_consumer.control_plane.policies import HealthLimits
from pyrallel_consumer.dto import PartitionSnapshot, RuntimeSnapshot, TopicPartition
from pyrallel_consumer.observability.ailments import SignsOfLife

LIMITS = HealthLimits(loop_blocked_seconds=30, poll_silent_seconds=300, partition_stuck_seconds=60)
WELL = SignsOfLife(loop_age_seconds=0.05, poll_age_seconds=0.05, is_poll_thread_alive=True)


def partition(**changes: Any) -> PartitionSnapshot:
    quiet = PartitionSnapshot(
        tp=TopicPartition("orders", 3),
        epoch=1,
        committed_offset=10,
        committable_offset=10,
        fetched_offset=12,
        gap_count=0,
        blocking_offset=10,
        blocking_seconds=0.0,
        queued=1,
        in_flight=1,
        held=0,
        load_bytes=100,
        paused_for=(),
        finished=10,
        failed=0,
        skipped=0,
    )
    return replace(quiet, **changes)


def picture(*partitions: PartitionSnapshot, **changes: Any) -> RuntimeSnapshot:
    running = RuntimeSnapshot(
        taken_at=0.0,
        state="running",
        in_flight=1,
        queued=1,
        waiting_retries=0,
        held=0,
        load_messages=2,
        load_bytes=100,
        max_in_flight=10,
        queue_max_messages=100,
        queue_max_bytes=100_000,
        is_paused=False,
        is_rebalancing=False,
        processed=10,
        failed=0,
        retries=0,
        fenced_completions=0,
        commits=1,
        commit_failures=0,
        partitions=partitions or (partition(),),
    )
    return replace(running, **changes)
