"""``ExecutionConfig``: how workers run, how often a message is tried, and how long the consumer waits for workers."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Unpack

from pydantic import Field, field_validator

from pyrallel_consumer.config.settings import Settings
from pyrallel_consumer.config.typed.arguments import ExecutionArguments
from pyrallel_consumer.config.typed.attributes import ExecutionAttributes
from pyrallel_consumer.config.typed.choices import BatchedBy, Exhaustion, Mode, chosen
from pyrallel_consumer.config.values import lowered, named_function
from pyrallel_consumer.control_plane.failures.failure_circuit import CircuitPolicy
from pyrallel_consumer.control_plane.failures.poison_keys import PoisonPolicy
from pyrallel_consumer.control_plane.policies import BatchPolicy, RetryPolicy
from pyrallel_consumer.dto import (
    BatchBy,
    ExecutionMode,
    OnExhausted,
)
from pyrallel_consumer.errors import ConfigurationError

DAY_MS = 86_400_000


class ExecutionConfig(ExecutionAttributes, Settings):
    """How workers run, how often a message is tried, and how long the consumer waits for workers.

    Also read from ``PARALLEL_CONSUMER_EXECUTION_<NAME>`` and ``PARALLEL_CONSUMER_<NAME>``; ``EXECUTION_<NAME>`` wins.
    """

    environment_prefixes = ("EXECUTION_", "PARALLEL_CONSUMER_EXECUTION_", "PARALLEL_CONSUMER_")
    argument = "execution_config"
    other_names = MappingProxyType({"max_retries": "max_attempts"})

    mode: Mode = chosen(ExecutionMode.ASYNC)
    """``async`` for workers that await (default), ``thread`` for blocking calls, ``process`` for CPU work,
    ``ray`` for the actors of a Ray cluster (``RayConfig``; needs the extra ``ray``)."""

    batch_size: int = Field(1, ge=1, le=100_000)
    """Messages that the worker is given at once, at most, 1-100,000. 1 (default): it takes one ``WorkItem``. More: it
    takes a ``list[WorkItem]``, also of one. 100-1,000 suits bulk inserts; beyond, one bad message costs more calls and
    a revoke waits longer. Never more than ``max_in_flight``, which counts messages."""

    batch_max_bytes: int = Field(1_048_576, ge=1, le=1_073_741_824)
    """Bytes of keys, values and headers in one batch, 1-1 GiB; about right where messages are small. A larger message
    goes alone. Unused with ``batch_size`` = 1."""

    batch_linger_ms: int = Field(20, ge=0, le=60_000)
    """Milliseconds that the first message of a batch waits for others, 0-60,000, unless the batch is full before or
    no more can come. 0 takes the available ones. A high value delays messages that come slowly. Unused with
    ``batch_size`` = 1."""

    batch_by: BatchedBy = chosen(BatchBy.ANY)
    """What the messages of a batch share: ``any`` = nothing (default, and best for bulk inserts), ``topic``,
    ``partition``, or ``key``. The narrower, the smaller the batches. Unused with ``batch_size`` = 1."""

    max_in_flight: int = Field(1000, ge=1, le=1_000_000)
    """Messages started and not finished, whole consumer, 1-1,000,000. 1 is sequential. If it is more than the worker's
    database or service can take, the queue only moves there. Above ``queue_max_messages`` it has no effect."""

    max_per_second: float = Field(0.0, ge=0, le=10_000_000, allow_inf_nan=False)
    """Messages started in a second on average, whole consumer, 0-10,000,000; 0 is any number (default). For services
    that allow so many calls. Retries are never held back: new messages make room for them. Up to a tenth of a second's
    worth starts at once. Each consumer has a limit of its own. ``consumer.set_rate`` changes it while it runs."""

    worker_pool_size: int = Field(0, ge=0, le=4096)
    """Threads or processes, 0-4096; 0 fits the machine (default): 32 threads or 4 per core, a process per core. Never
    more than ``max_in_flight``. Unused by ``async``. More processes than cores cost memory and gain nothing."""

    initializer: Callable[[], object] | str | None = None
    """Called once in each worker process before its first message, to open connections or load models: a function
    without arguments, or ``package.module:function``. None by default; only for ``process``. Every attempt sees the
    context variables that it sets. If it fails, the consumer does not start."""

    max_tasks_per_child: int = Field(0, ge=0, le=1_000_000_000)
    """A worker process is replaced after about this many messages, 0-1,000,000,000; 0 = never (default). Helps against
    libraries that leak memory. Each replacement costs the start of a Python and the worker's imports. Every process
    has its own number, up to a tenth more or less, so that they do not end together."""

    max_attempts: int = Field(3, ge=1, le=10_000)
    """Attempts of one message in total, including the first, 1-10,000; 1 never tries again. ``max_retries`` is an older
    name for the same; if both are given, they must be equal. With a high number a failing message blocks its key, and
    in the end the partition's share of the buffer, as long as it is tried."""

    retry_backoff_ms: int = Field(1000, ge=0, le=DAY_MS)
    """Milliseconds before the second attempt, 0-1 day. With 0 a failing service is called again at once."""

    exponential_backoff: bool = True
    """Whether the wait doubles with each attempt (default: an overloaded service can recover) or grows evenly."""

    max_retry_backoff_ms: int = Field(30_000, ge=0, le=DAY_MS)
    """Longest wait in milliseconds, before jitter, 0-1 day. If it is below ``retry_backoff_ms``, it is the wait."""

    retry_jitter_ms: int = Field(200, ge=0, le=DAY_MS)
    """Up to this many random milliseconds are added to each wait, 0-1 day, so that messages that failed together are
    not tried again together. 0 adds none."""

    task_timeout_ms: int = Field(30_000, ge=0, le=DAY_MS)
    """Milliseconds one attempt may take, 0-1 day; 0 = no limit: a worker that hangs then blocks its key forever.
    Below the worker's normal time every attempt fails."""

    max_revoke_grace_ms: int = Field(500, ge=0, le=240_000)
    """Milliseconds a revoke waits for running messages, 0-240,000. With 0 they run again at the next owner. The whole
    group waits during the grace, and after 300,000 Kafka removes a member."""

    shutdown_drain_timeout_ms: int = Field(5000, ge=0, le=3_600_000)
    """Milliseconds ``stop()`` waits for running messages and dead letters, 0-1 hour. The rest of a stop takes up to ten
    seconds more if the broker does not answer. Keep the sum below the time after which your process manager kills
    (Kubernetes: 30 s)."""

    on_exhausted: Exhaustion = chosen(None)
    """After the last attempt: ``dlq``, ``skip``, ``stop`` or ``pause_partition``. Unset: ``dlq`` if
    ``KafkaConfig.dlq_enabled``, else ``stop``, so that nothing is dropped unasked. After ``pause_partition`` messages
    of other keys that were read already go on. ``resume_partition()`` tries the failed messages again, from their first
    attempt."""

    gc_threshold: int = Field(30_000, ge=0, le=10_000_000)
    """New objects after which Python's garbage collector runs, in the whole process while the consumer runs. Raised to
    this value, never lowered, and restored at the end. 0 leaves it unchanged, up to 10,000,000. With Python's own 700
    (2,000 from 3.13 on) the collector checks thousands of messages again and again: with thousands of waiting workers
    this costs a fifth more CPU. A higher value lets more cyclic garbage pile up, and one run takes longer."""

    show_error_text: bool = True
    """Whether the text of a worker's exception is shown: in logs, in a letter's ``x-error-reason``, in spans, and as
    the cause of the error that ends the consumer. On by default, because it helps most. Off, only types and places are
    shown: for workers and libraries that put the content of messages into exceptions."""

    tracing: bool = False
    """Whether each attempt is an OpenTelemetry span, child of the one in the message's headers. Off by default: a span
    costs some 40 µs, without its export. Needs the extra ``otel``, and a program that sets up an SDK, in
    ``process`` mode in the ``initializer`` too. Without an SDK contexts are passed on and nothing is recorded."""

    circuit_failure_share: float = Field(0.0, ge=0, le=0.99, allow_inf_nan=False)
    """Circuit for outages, with ``dlq`` and ``skip``. It opens when more than this share of the last ``circuit_window``
    messages failed their last attempt. Until a probe succeeds, only a probe starts now and then, and nothing is read,
    dead-lettered or skipped. 0 = off (default, because each exhausted message should get a dead letter, and a topic
    full of bad messages would stop), at most 0.99; 0.5-0.9 if all messages need the same service. Below the normal
    share of bad messages it opens again and again."""

    circuit_window: int = Field(100, ge=2, le=1_000_000)
    """Number of last messages for the share, 2-1,000,000; as many must have ended before the circuit can open. As many
    may become dead letters before an outage is noticed. Below 20 a few bad messages look like an outage."""

    circuit_probe_ms: int = Field(5000, ge=10, le=DAY_MS)
    """Milliseconds between two probes of an open circuit, 10-1 day; up to 16 times as long while earlier probes have
    not ended. A short time notices the end of an outage soon, and calls the failing service more often."""

    poison_key_failures: int = Field(0, ge=0, le=1_000_000)
    """Circuit per key, with ``dlq``: after this many messages of one key in a row failed their last attempt, its next
    messages are dead-lettered untried for ``poison_key_cooldown_ms``. 0 = off (default: every message is tried)."""

    poison_key_cooldown_ms: int = Field(60_000, ge=1, le=DAY_MS)
    """Milliseconds for which a poisoned key is not tried, 1-1 day. Then its next message is tried: a failure begins the
    cooldown again, and a success ends it."""

    def __init__(self, **values: Unpack[ExecutionArguments]) -> None:
        super().__init__(**values)

    @field_validator("initializer")
    @classmethod
    def _names_a_function(cls, value: Any) -> Any:
        return named_function(value)

    @field_validator("mode", "on_exhausted", "batch_by", mode="before")
    @classmethod
    def _ignore_case(cls, value: Any) -> Any:
        return lowered(value)

    def retry_policy(self) -> RetryPolicy:
        return RetryPolicy(
            max_attempts=self.max_attempts,
            backoff_ms=self.retry_backoff_ms,
            exponential=self.exponential_backoff,
            max_backoff_ms=self.max_retry_backoff_ms,
            jitter_ms=self.retry_jitter_ms,
            timeout_ms=self.task_timeout_ms,
            shows_error_text=self.show_error_text,
        )

    def batch_policy(self) -> BatchPolicy | None:
        """How batches are put together, None if the worker takes one message at a time."""
        if self.batch_size == 1:
            return None
        return BatchPolicy(self.batch_size, self.batch_max_bytes, self.batch_linger_ms / 1000, self.batch_by)

    def circuit_policy(self) -> CircuitPolicy | None:
        """The circuit for outages, None if it is off."""
        if not self.circuit_failure_share:
            return None
        return CircuitPolicy(self.circuit_failure_share, self.circuit_window, self.circuit_probe_ms / 1000)

    def poison_policy(self) -> PoisonPolicy | None:
        """The circuit per key, None if it is off."""
        if not self.poison_key_failures:
            return None
        return PoisonPolicy(self.poison_key_failures, self.poison_key_cooldown_ms / 1000)

    def exhaustion(self, *, dlq_enabled: bool) -> OnExhausted:
        """What happens after the last attempt; ``ConfigurationError`` for ``dlq`` if dead letters are off."""
        if self.on_exhausted is None:
            return OnExhausted.DLQ if dlq_enabled else OnExhausted.STOP
        if self.on_exhausted is OnExhausted.DLQ and not dlq_enabled:
            raise ConfigurationError(
                "ExecutionConfig.on_exhausted is dlq and KafkaConfig.dlq_enabled is false; "
                "turn dlq_enabled on, or choose skip, stop or pause_partition"
            )
        return self.on_exhausted
