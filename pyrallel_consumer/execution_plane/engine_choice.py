"""Which engine runs a worker: the only place that knows one mode from another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.dto import ExecutionMode
from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.execution_plane.async_engine import AsyncEngine
from pyrallel_consumer.execution_plane.thread_engine import ThreadEngine, fitting_threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from pyrallel_consumer.config import ExecutionConfig
    from pyrallel_consumer.execution_plane.engine import ExecutionEngine
    from pyrallel_consumer.execution_plane.worker_kind import Worker


def made_engine(
    worker: Worker, execution: ExecutionConfig, base: Context, *, is_shutting_down: Callable[[], bool]
) -> ExecutionEngine:
    """An engine for ``worker``, which ``check_worker`` has let through for this mode; not started yet."""
    policy, slots = execution.retry_policy(), execution.max_in_flight
    match execution.mode:
        case ExecutionMode.ASYNC:
            return AsyncEngine(worker, policy, slots, base, is_shutting_down=is_shutting_down)
        case ExecutionMode.THREAD:
            return ThreadEngine(worker, policy, min(slots, execution.worker_pool_size or fitting_threads()), base)
        case ExecutionMode.PROCESS:
            raise ConfigurationError(
                "ExecutionConfig.mode=process is not in this version yet: use ExecutionMode.THREAD"
            )
