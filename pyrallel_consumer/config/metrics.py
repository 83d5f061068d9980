"""``MetricsConfig``: the endpoint of metrics, health and the status page."""

from __future__ import annotations

from typing import Unpack

from pydantic import Field

from pyrallel_consumer.config.arguments import MetricsArguments
from pyrallel_consumer.config.attributes import MetricsAttributes
from pyrallel_consumer.config.settings import Settings
from pyrallel_consumer.config.values import HIGHEST_PORT
from pyrallel_consumer.control_plane.policies import HealthLimits


class MetricsConfig(MetricsAttributes, Settings):
    """The Prometheus endpoint of one consumer."""

    environment_prefixes = ("METRICS_",)

    enabled: bool = False
    """Whether ``/metrics``, ``/livez``, ``/readyz`` and a page at ``/`` are served. Off by default: a library opens no
    port unasked."""

    port: int = Field(9091, ge=0, le=HIGHEST_PORT)
    """TCP port, 0-65535; 0 takes a free one, told by ``consumer.metrics_address``. Consumers of one process share a
    port, two processes on one machine need two."""

    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on. Local only by default: nothing of a topic's name or load leaves the machine unasked."""

    group_label: bool = False
    """Whether each series has the label ``group``. Off by default: the scrape's labels usually tell groups apart. On
    where consumers of several groups share a process, for without it their series are added up."""

    open_telemetry: bool = False
    """Whether the numbers are OpenTelemetry metrics too, read by the application's own meter provider. Off by default;
    needs the extra ``otel``. Needs no endpoint."""

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

    def __init__(self, **values: Unpack[MetricsArguments]) -> None:
        super().__init__(**values)

    def health_limits(self) -> HealthLimits:
        return HealthLimits(
            loop_blocked_seconds=self.loop_blocked_seconds,
            poll_silent_seconds=self.poll_silent_seconds,
            partition_stuck_seconds=self.partition_stuck_seconds,
            partition_blocked_seconds=self.partition_blocked_seconds,
            is_ready_without_partitions=self.ready_without_partitions,
        )
