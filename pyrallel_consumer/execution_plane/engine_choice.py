"""Which engine runs a worker: the only place that knows one mode from another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.dto import ExecutionMode, packed_item
from pyrallel_consumer.execution_plane.async_engine import AsyncEngine
from pyrallel_consumer.execution_plane.batches.batch import packed_batch
from pyrallel_consumer.execution_plane.batches.engine import BatchEngine, call_policy
from pyrallel_consumer.execution_plane.processes.parent.async_process_engine import AsyncProcessEngine
from pyrallel_consumer.execution_plane.processes.parent.process_engine import ProcessEngine, fitting_processes
from pyrallel_consumer.execution_plane.ray.cluster import ActorPlan, Cluster
from pyrallel_consumer.execution_plane.ray.ray_engine import RayEngine
from pyrallel_consumer.execution_plane.thread_engine import SLOTS_PER_THREAD, ThreadEngine, fitting_threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from pyrallel_consumer.config import ExecutionConfig, RayConfig
    from pyrallel_consumer.execution_plane.engine import ExecutionEngine
    from pyrallel_consumer.execution_plane.processes.attempt_trace import AttemptTrace
    from pyrallel_consumer.execution_plane.worker.kind import Worker
    from pyrallel_consumer.execution_plane.worker.lifespan import Lifespan

SLOTS_PER_PROCESS = 512
"""How many messages per process may wait within the engine. Quick ones are sent in bulk. Slow ones are not: they are
given back unbegun when their partition is revoked."""

BATCHES_PER_PROCESS = 2
"""One that runs and one that waits: while a batch waits in the control plane, it can grow."""


def made_engine(
    worker: Worker,
    execution: ExecutionConfig,
    base: Context,
    *,
    is_async: bool,
    is_shutting_down: Callable[[], bool],
    trace: AttemptTrace | None = None,
    is_recording: bool = False,
    lifespan: Lifespan | None = None,
    ray: RayConfig | None = None,
) -> ExecutionEngine:
    """An engine for ``worker``, which ``check_worker`` has let through for this mode; not started yet.

    ``is_recording``: the worker's calls return ``Records``, calls of batches ``BatchRecords``. ``is_async``: their
    return values are awaited. ``lifespan`` is held by worker processes; where there are none, whoever starts the engine
    holds it. ``ray`` is there in that mode.
    """
    slots, batches = execution.max_in_flight, execution.batch_policy()
    policy = execution.retry_policy() if batches is None else call_policy(execution.retry_policy())
    engine: ExecutionEngine
    match execution.mode:
        case ExecutionMode.ASYNC:
            engine = AsyncEngine(
                worker, policy, slots, base, is_shutting_down=is_shutting_down, is_recording=is_recording
            )
        case ExecutionMode.THREAD:
            threads = min(slots, execution.worker_pool_size or fitting_threads())
            calls = min(slots, threads * (1 if batches else SLOTS_PER_THREAD))
            engine = ThreadEngine(worker, policy, calls, base, threads=threads, is_recording=is_recording)
        case ExecutionMode.PROCESS:
            processes = min(slots, execution.worker_pool_size or fitting_processes())
            calls = processes * (BATCHES_PER_PROCESS if batches else SLOTS_PER_PROCESS)
            kind = AsyncProcessEngine if is_async else ProcessEngine
            engine = kind(
                worker,
                policy,
                slots if is_async else min(slots, calls),
                processes,
                initializer=execution.initializer,
                lifespan=lifespan,
                max_tasks_per_child=execution.max_tasks_per_child,
                trace=trace,
                pack=packed_batch if batches else packed_item,
                is_recording=is_recording,
            )
        case ExecutionMode.RAY:
            assert ray is not None
            plan = ActorPlan(ray.min_actors, ray.max_actors, ray.num_cpus, ray.num_gpus, ray.resources, ray.runtime_env)
            engine = RayEngine(
                worker,
                policy,
                slots,
                Cluster(ray.address, plan),
                is_async=is_async,
                concurrency=ray.actor_concurrency,
                frame_items=ray.frame_items,
                start_seconds=ray.start_timeout_ms / 1000,
                initializer=execution.initializer,
                lifespan=lifespan,
                trace=trace,
                pack=packed_batch if batches else packed_item,
                is_recording=is_recording,
            )
    return engine if batches is None else BatchEngine(engine, batches, execution.retry_policy(), slots)
