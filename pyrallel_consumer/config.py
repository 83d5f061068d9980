"""Every setting there is, with its meaning, unit, range, default and what breaks at the ends.

Four classes, read from arguments, environment and ``.env`` (how: ``settings``). The inner parts never see these
objects: methods here hand them frozen policies. Ranges are wide enough for real use and narrow enough to refuse
a slip of units. Only field validators: a refused assignment must leave the old value, which model validators do not.
Each class repeats ``__init__``, without which type checkers would refuse ``KafkaConfig(BOOTSTRAP_SERVERS=...)``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator

from pyrallel_consumer.control_plane.failure_circuit import CircuitPolicy
from pyrallel_consumer.control_plane.health import HealthLimits
from pyrallel_consumer.control_plane.poison_keys import PoisonPolicy
from pyrallel_consumer.control_plane.policies import FlowLimits, OrderingPolicy, RetryPolicy
from pyrallel_consumer.dto import (
    DlqPayloadMode,
    ExecutionMode,
    NullKeyOrdering,
    OnExhausted,
    OrderingMode,
    RebalanceStateStrategy,
)
from pyrallel_consumer.errors import ConfigurationError
from pyrallel_consumer.settings import Settings, as_secret, is_secret_name

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"]

DAY_MS = 86_400_000
_HIGHEST_PORT = 65_535
_FUNCTION_NAME = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
_BROKER_ADDRESS = re.compile(r"^(?:\w+://)?(?:\[[0-9A-Fa-f:.%\w]+\]|[^\s:,/\[\]]+)(?::(?P<port>\d{1,5}))?$")
# Auto commit would mark messages done that no worker has finished.
_NEVER_ON = frozenset({"enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store"})


def _lowered(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _uppered(value: Any) -> Any:
    return value.strip().upper() if isinstance(value, str) else value


class MetricsConfig(Settings):
    """The Prometheus endpoint of one consumer."""

    environment_prefixes = ("METRICS_",)

    enabled: bool = False
    """Whether ``/metrics``, ``/livez``, ``/readyz`` and a page at ``/`` are served. Off by default: a library opens no
    port unasked."""

    port: int = Field(9091, ge=0, le=_HIGHEST_PORT)
    """TCP port, 0-65535; 0 takes a free one, told by ``consumer.metrics_address``. Consumers of one process share a
    port, two processes on one machine need two."""

    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on. Local only by default: nothing of a topic's name or load leaves the machine unasked."""

    loop_blocked_seconds: float = Field(30.0, ge=0.1, le=86_400, allow_inf_nan=False)
    """Seconds, 0.1-86,400, after which a blocked event loop makes ``/livez`` fail, so that the process is restarted.
    Below the longest computation that a worker makes without ``await``, healthy processes are."""

    poll_silent_seconds: float = Field(300.0, ge=1, le=86_400, allow_inf_nan=False)
    """Seconds without a poll, 1-86,400, after which ``/livez`` fails. Kafka puts a member out after 300 (default),
    ``max.poll.interval.ms``; below ``max_revoke_grace_ms`` a rebalance looks like death."""

    partition_stuck_seconds: float = Field(60.0, ge=0.1, le=86_400, allow_inf_nan=False)
    """Seconds, 0.1-86,400, after which ``/readyz`` fails for a partition that is paused, whatever for, while none of
    its messages has finished for so long. Below the time that one attempt takes, slow workers look stuck."""

    partition_blocked_seconds: float = Field(120.0, ge=0.1, le=86_400, allow_inf_nan=False)
    """Seconds, 0.1-86,400, after which ``/readyz`` fails for a partition whose blocking offset is older, though others
    may go on. Below the time that all attempts of a message may take (three of 30 s and the waits between them unless
    told otherwise), a message that fails looks like a stuck partition."""

    ready_without_partitions: bool = False
    """Whether ``/readyz`` passes while no partition is assigned. Off by default; on for members that stand by because
    the group has more of them than the topic has partitions."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)

    def health_limits(self) -> HealthLimits:
        return HealthLimits(
            loop_blocked_seconds=self.loop_blocked_seconds,
            poll_silent_seconds=self.poll_silent_seconds,
            partition_stuck_seconds=self.partition_stuck_seconds,
            partition_blocked_seconds=self.partition_blocked_seconds,
            is_ready_without_partitions=self.ready_without_partitions,
        )


class ParallelConsumerConfig(Settings):
    """What is kept in order, how much is read ahead, and how often it is committed."""

    environment_prefixes = ("PARALLEL_CONSUMER_",)

    ordering_mode: OrderingMode = OrderingMode.KEY_HASH
    """What is kept in order: messages of one key (default: most parallelism that keeps order), of one partition, or
    nothing."""

    queue_max_messages: int = Field(5000, ge=1, le=10_000_000)
    """Messages read and not finished, whole consumer, shared fairly by partition; 1-10,000,000. Below the number of
    workers some idle; each message held costs about its size plus 500 bytes. Four times as many (1000-20,000) are read
    ahead, so that all partitions have their turn however Kafka hands them out."""

    queue_max_bytes: int = Field(64 * 1024 * 1024, ge=1, le=1 << 40)
    """Their bytes (keys, values, headers); 1 byte-1 TiB, default 64 MiB. One message is always let in, however large,
    so a tiny limit means one at a time; a huge one leaves memory to the message limit alone. Fetched ahead is up to
    three quarters of it on top, between 3 and 48 MiB."""

    poll_batch_size: int = Field(1000, ge=1, le=100_000)
    """Messages taken from the client in one go, 1-100,000. Small costs throughput, large makes bursts that delay
    other work of the loop; 1000 already costs under a microsecond per message."""

    commit_interval_ms: int = Field(200, ge=10, le=600_000)
    """Milliseconds between commits, 10-600,000, default 200. What finished since the last commit runs again after a
    crash. One request carries all partitions of which anything moved, and an idle consumer commits nothing: 5 requests
    a second at most, for less than a hundredth of a core. Below 100 the group coordinator feels it."""

    rebalance_state_strategy: RebalanceStateStrategy = RebalanceStateStrategy.METADATA_SNAPSHOT
    """Whether commits carry the map of what finished above the committed offset (default: the next owner does not run
    that again) or the offset alone (for tools that write commit metadata of their own)."""

    null_key_ordering: NullKeyOrdering = NullKeyOrdering.UNORDERED
    """Messages without a key, ordered by key otherwise: in no order (default, as Kafka spreads them), or as one key
    per partition."""

    blocking_warn_seconds: float = Field(5.0, ge=0.01, le=86_400, allow_inf_nan=False)
    """Seconds, 0.01-86,400, after which a warning names an offset that blocks the commit or a worker that blocks the
    event loop. Below the normal run time of a worker it only makes noise."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)

    @field_validator("ordering_mode", "rebalance_state_strategy", "null_key_ordering", mode="before")
    @classmethod
    def _ignore_case(cls, value: Any) -> Any:
        return _lowered(value)

    def ordering_policy(self) -> OrderingPolicy:
        return OrderingPolicy(mode=self.ordering_mode, null_keys=self.null_key_ordering)

    def flow_limits(self) -> FlowLimits:
        return FlowLimits(max_messages=self.queue_max_messages, max_bytes=self.queue_max_bytes)


class ExecutionConfig(Settings):
    """How workers run, how often they are tried, and how long they are waited for.

    Also read from ``PARALLEL_CONSUMER_EXECUTION_<NAME>`` and ``PARALLEL_CONSUMER_<NAME>``; ``EXECUTION_<NAME>`` wins.
    """

    environment_prefixes = ("EXECUTION_", "PARALLEL_CONSUMER_EXECUTION_", "PARALLEL_CONSUMER_")
    other_names = MappingProxyType({"max_retries": "max_attempts"})

    mode: ExecutionMode = ExecutionMode.ASYNC
    """``async`` for workers that await (default), ``thread`` for blocking calls, ``process`` for CPU work."""

    max_in_flight: int = Field(1000, ge=1, le=1_000_000)
    """Messages started and not finished, whole consumer, 1-1,000,000. 1 is sequential; more than what the worker
    calls (a database, a service) bears at once only moves the queue there. Above ``queue_max_messages`` it is idle."""

    worker_pool_size: int = Field(0, ge=0, le=4096)
    """Threads or processes, 0-4096; 0 fits the machine (default): 32 threads or 4 per core, a process per core. Never
    more than ``max_in_flight``. Unused by ``async``. Processes beyond the cores cost memory and win nothing."""

    initializer: Callable[[], object] | str | None = None
    """Called once in each worker process before its first message, to open connections or load models: a function
    without arguments, or ``package.module:function``. None by default; only for ``process``. What it leaves in its
    context, every attempt finds. If it fails, the consumer does not start."""

    max_tasks_per_child: int = Field(0, ge=0, le=1_000_000_000)
    """A worker process is replaced after about so many messages, 0-1,000,000,000; 0 = never (default). Against
    libraries that leak memory; each replacement costs the start of a Python and the worker's imports. Every process
    draws its own number, up to a tenth more or less, so that they do not end together."""

    max_attempts: int = Field(3, ge=1, le=10_000)
    """Attempts of one message in total, the first one included, 1-10,000; 1 never tries again. ``max_retries`` is the
    established name for the same; where both are given they must agree. A high number holds the key, and in the end
    the partition's share of the buffer, for as long as it is tried."""

    retry_backoff_ms: int = Field(1000, ge=0, le=DAY_MS)
    """Milliseconds before the second attempt, 0-1 day. 0 hammers what just failed."""

    exponential_backoff: bool = True
    """Whether the wait doubles with each attempt (default: what is overloaded gets air) or grows evenly."""

    max_retry_backoff_ms: int = Field(30_000, ge=0, le=DAY_MS)
    """Longest wait in milliseconds, before jitter, 0-1 day. Below ``retry_backoff_ms`` it is what counts."""

    retry_jitter_ms: int = Field(200, ge=0, le=DAY_MS)
    """Up to so many random milliseconds are added to each wait, 0-1 day, so that what failed together does not come
    back together. 0 for none."""

    task_timeout_ms: int = Field(30_000, ge=0, le=DAY_MS)
    """Milliseconds one attempt may take, 0-1 day; 0 = no limit: a worker that hangs then holds its key for ever.
    Below the worker's normal time every attempt fails."""

    max_revoke_grace_ms: int = Field(500, ge=0, le=240_000)
    """Milliseconds a revoke waits for running work, 0-240,000. 0 runs it again at the next owner; the whole group
    waits for it, and 300,000 is where Kafka puts a member out."""

    shutdown_drain_timeout_ms: int = Field(5000, ge=0, le=3_600_000)
    """Milliseconds ``stop()`` waits for running work and dead letters, 0-1 hour. The rest of a stop takes up to ten
    seconds more where the broker does not answer: keep the sum below what your process manager grants before it kills
    (Kubernetes: 30 s)."""

    on_exhausted: OnExhausted | None = None
    """After the last attempt: ``dlq``, ``skip``, ``stop`` or ``pause_partition``. Unset: dead letter where
    ``KafkaConfig.dlq_enabled``, otherwise stop, so that nothing is dropped unasked. A named choice beats it. After
    ``pause_partition`` what was read of other keys goes on; ``resume_partition()`` tries the messages that failed
    again, from their first attempt."""

    gc_threshold: int = Field(30_000, ge=0, le=10_000_000)
    """New objects after which Python looks for garbage, in the whole process while the consumer runs; raised to this,
    never lowered, and put back at the end. 0 leaves it alone, up to 10,000,000. Python's own 700 (2,000 from 3.13 on)
    has it go through thousands of held messages again and again: with thousands of waiting workers a fifth more CPU.
    Higher lets more garbage in cycles pile up, and one look takes longer."""

    show_error_text: bool = True
    """Whether the text of what a worker raises is told: in logs, in a letter's ``x-error-reason``, in spans, and as the
    cause of the error that ends the consumer. On by default: it is what one looks for. Off, types and places are told
    alone: for workers, and libraries below them, that put what messages hold into exceptions."""

    tracing: bool = False
    """Whether each attempt is an OpenTelemetry span, child of the one in the message's headers. Off by default: a span
    costs some 40 µs, its export not counted. Needs the extra ``otel``, and a program that sets up an SDK, in
    ``process`` mode in the ``initializer`` too; without one contexts are carried on and nothing is recorded."""

    circuit_failure_share: float = Field(0.0, ge=0, le=0.99, allow_inf_nan=False)
    """Circuit for outages, with ``dlq`` and ``skip``: when more than this share of the last ``circuit_window`` messages
    failed their last attempt, nothing more is read and started but a probe now and then, and nothing more is
    dead-lettered or skipped, until a probe succeeds. 0 = off (default: a dead letter for each exhausted message is the
    promise, and a topic full of bad messages would stand still), at most 0.99; 0.5-0.9 where all messages need the
    same service. Below the normal share of bad messages it opens again and again."""

    circuit_window: int = Field(100, ge=2, le=1_000_000)
    """Messages that the share is taken of, 2-1,000,000, and that must have ended before the circuit can open. So many
    may go to the dead letters before an outage is noticed; below 20 a few bad messages look like one."""

    circuit_probe_ms: int = Field(5000, ge=10, le=DAY_MS)
    """Milliseconds between two probes of an open circuit, 10-1 day; up to 16 times as long while earlier probes have
    not ended. Short notices the end of an outage soon, and keeps calling what is down."""

    poison_key_failures: int = Field(0, ge=0, le=1_000_000)
    """Circuit per key, with ``dlq``: after so many messages of one key in a row failed their last attempt, its further
    messages are dead-lettered untried for ``poison_key_cooldown_ms``. 0 = off (default: every message is tried)."""

    poison_key_cooldown_ms: int = Field(60_000, ge=1, le=DAY_MS)
    """Milliseconds for which such a key is not tried, 1-1 day. Then its next message is: when that fails too, the
    cooldown begins anew, and a success ends it."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)

    @field_validator("initializer")
    @classmethod
    def _names_a_function(cls, value: Any) -> Any:
        if isinstance(value, str) and not _FUNCTION_NAME.match(value):
            raise ValueError(f"{value!r} is no function's place; write package.module:function")
        return value

    @field_validator("mode", "on_exhausted", mode="before")
    @classmethod
    def _ignore_case(cls, value: Any) -> Any:
        return _lowered(value)

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

    def circuit_policy(self) -> CircuitPolicy | None:
        """The circuit for outages, None where it is off."""
        if not self.circuit_failure_share:
            return None
        return CircuitPolicy(self.circuit_failure_share, self.circuit_window, self.circuit_probe_ms / 1000)

    def poison_policy(self) -> PoisonPolicy | None:
        """The circuit per key, None where it is off."""
        if not self.poison_key_failures:
            return None
        return PoisonPolicy(self.poison_key_failures, self.poison_key_cooldown_ms / 1000)

    def exhaustion(self, *, dlq_enabled: bool) -> OnExhausted:
        """What happens after the last attempt; ``ConfigurationError`` for ``dlq`` where dead letters are off."""
        if self.on_exhausted is None:
            return OnExhausted.DLQ if dlq_enabled else OnExhausted.STOP
        if self.on_exhausted is OnExhausted.DLQ and not dlq_enabled:
            raise ConfigurationError(
                "ExecutionConfig.on_exhausted is dlq and KafkaConfig.dlq_enabled is false; "
                "turn dlq_enabled on, or choose skip, stop or pause_partition"
            )
        return self.on_exhausted


class KafkaConfig(Settings):
    """The way to Kafka, the group, dead letters, and everything nested below."""

    environment_prefixes = ("KAFKA_",)
    masked_fields: ClassVar[frozenset[str]] = frozenset({"librdkafka"})

    bootstrap_servers: list[str] = Field(default_factory=lambda: ["localhost:9092"], min_length=1)
    """Brokers to ask first, ``host:port`` each; a list, or text separated by commas. Two or three, so that one may be
    down; the rest of the cluster is found from them."""

    consumer_group: str = Field("pyrallel-consumer-group", min_length=1, max_length=249)
    """The group whose members share the partitions and whose offsets are committed. Two services that both want all
    messages need two."""

    auto_offset_reset: Literal["earliest", "latest", "none"] = "earliest"
    """Where to begin without a committed offset, or where the log no longer holds it (retention, a cut log):
    ``earliest`` (default: nothing is missed), ``latest``, or ``none``, which stops the consumer with an error."""

    group_protocol: Literal["auto", "classic", "consumer"] = "auto"
    """The protocol of the group. ``consumer`` is KIP-848: a member that dies holds up no commit of the others.
    ``auto`` (default) tries it, and takes ``classic`` where a broker does not have it, where the group refuses it, or
    where a setting is set that only ``classic`` has, such as ``session_timeout_ms``; one log line says why. With
    ``consumer`` by name the consumer does not start where the broker does not have it."""

    session_timeout_ms: int = Field(45_000, ge=1000, le=1_800_000)
    """Milliseconds without a heartbeat after which the group gives a member's partitions away, 1000-1,800,000. Low
    puts members out on a short network trouble, high leaves a killed member's partitions unread for as long. The
    broker has bounds of its own. Only with the ``classic`` protocol, which ``group_protocol`` = ``auto`` takes when
    this is set; with ``consumer`` the broker decides (``group.consumer.session.timeout.ms``)."""

    dlq_enabled: bool = True
    """Whether a message whose last attempt failed is produced to ``<topic><dlq_topic_suffix>``. Create that topic,
    unless your brokers create topics by themselves: until it is there such messages wait, and their keys with them."""

    dlq_topic_suffix: str = Field(".dlq", max_length=200, pattern=r"^[A-Za-z0-9._-]+$")
    """Appended to a topic's name for its dead letters: 1-200 letters, digits, ``.``, ``_``, ``-``."""

    dlq_payload_mode: DlqPayloadMode = DlqPayloadMode.FULL
    """``full``: key, value and headers as they were (default); ``metadata_only``: neither key nor value, for data
    that may not be copied."""

    security_protocol: SecurityProtocol | None = None
    """How to talk to brokers; unset: librdkafka's default, PLAINTEXT."""

    sasl_mechanisms: SaslMechanism | None = None
    """How to log in; needs a ``security_protocol`` that begins with SASL."""

    sasl_username: str | None = None
    """Who logs in, with PLAIN and SCRAM."""

    sasl_password: SecretStr | None = None
    """The password of ``sasl_username``; never printed."""

    ssl_ca_location: str | None = None
    """File or folder with the certificates of those who sign brokers; unset: the system's own."""

    ssl_certificate_location: str | None = None
    """PEM file with this client's certificate, where brokers ask for one."""

    ssl_key_location: str | None = None
    """PEM file with its private key."""

    ssl_key_password: SecretStr | None = None
    """What the private key is encrypted with; never printed. Unset: it is not encrypted."""

    librdkafka: dict[str, Any] = Field(default_factory=dict)
    """Any further client setting by librdkafka's own name; beats what this library chooses, auto commit excepted.
    Numbers and harmless names print in clear, other values never. Settings of producers go to the producer of dead
    letters."""

    metrics: MetricsConfig = Field(default_factory=MetricsConfig)
    parallel_consumer: ParallelConsumerConfig = Field(default_factory=ParallelConsumerConfig)

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)

    @field_validator("auto_offset_reset", "dlq_payload_mode", "group_protocol", mode="before")
    @classmethod
    def _ignore_case(cls, value: Any) -> Any:
        return _lowered(value)

    @field_validator("security_protocol", "sasl_mechanisms", mode="before")
    @classmethod
    def _as_kafka_spells_it(cls, value: Any) -> Any:
        return _uppered(value)

    @field_validator("ssl_ca_location", "ssl_certificate_location", "ssl_key_location", mode="before")
    @classmethod
    def _path_as_text(cls, value: Any) -> Any:
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    @field_validator("bootstrap_servers", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return list(value) if isinstance(value, tuple) else value
        if value.lstrip().startswith('["') or value.strip() == "[]":
            return _parsed_json(value, list)
        return [part.strip() for part in value.split(",") if part.strip()]

    @field_validator("bootstrap_servers")
    @classmethod
    def _are_broker_addresses(cls, addresses: list[str]) -> list[str]:
        for address in addresses:
            match = _BROKER_ADDRESS.match(address)
            if match is None or (match["port"] and not 0 < int(match["port"]) <= _HIGHEST_PORT):
                raise ValueError(f"{address!r} is no broker address; write host:port")
        return addresses

    @field_validator("librdkafka", mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        return _parsed_json(value, dict) if isinstance(value, str) else value

    @field_validator("librdkafka")
    @classmethod
    def _fits_the_client(cls, mapping: dict[str, Any]) -> dict[str, Any]:
        for name, value in mapping.items():
            if name in _NEVER_ON and str(value).strip().lower() not in {"false", "f", "0"}:
                raise ValueError(
                    f"{name!r} cannot be turned on: offsets are committed when their messages are finished, not before"
                )
            if value is None or isinstance(value, dict | list | tuple | set):
                kind = type(value).__name__
                raise ValueError(f"{name!r} is of type {kind}; give text, a number or a boolean, or leave it out")
        return {name: as_secret(value) if is_secret_name(name) else value for name, value in mapping.items()}


def _parsed_json(text: str, expected: type) -> Any:
    kind = "object" if expected is dict else "list"
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not a JSON {kind}: {error.msg} at character {error.pos}") from None
    if not isinstance(parsed, expected):
        raise ValueError(f"is JSON, but not a JSON {kind}")  # noqa: TRY004 -- pydantic reports a ValueError
    return parsed
