"""``MetricsConfig``: the endpoint of metrics, health and the status page."""

from __future__ import annotations

from typing import Unpack

from pydantic import Field

from pyrallel_consumer.config.settings import Settings
from pyrallel_consumer.config.typed.arguments import MetricsArguments
from pyrallel_consumer.config.typed.attributes import MetricsAttributes
from pyrallel_consumer.config.values import HIGHEST_PORT
from pyrallel_consumer.control_plane.policies import HealthLimits


class MetricsConfig(MetricsAttributes, Settings):
    """The Prometheus endpoint of one consumer."""

    environment_prefixes = ("METRICS_",)

    enabled: bool = False
    """Whether ``/metrics``, ``/livez``, ``/readyz`` and a page at ``/`` are served. Off by default, because a library
    should open no port unasked."""

    port: int = Field(9091, ge=0, le=HIGHEST_PORT)
    """TCP port, 0-65535; 0 takes a free one, which ``consumer.metrics_address`` returns. Consumers of one process share
    a port; two processes on one machine need two."""

    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on. Local by default, so that names and load of topics do not leave the machine unasked."""

    group_label: bool = False
    """Whether each series has the label ``group``. Off by default: the scrape's labels usually tell groups apart. On
    where consumers of several groups share a process, for without it their series are added up."""

    open_telemetry: bool = False
    """Whether the numbers are OpenTelemetry metrics too, read by the application's own meter provider. Off by default;
    needs the extra ``otel``. Needs no endpoint."""

    loop_blocked_seconds: float = Field(30.0, ge=0.1, le=86_400, allow_inf_nan=False)
    """Seconds, 0.1-86,400, after which a blocked event loop makes ``/livez`` fail, so that the process is restarted.
    If it is below the longest computation of a worker without ``await``, healthy processes are restarted."""

    poll_silent_seconds: float = Field(300.0, ge=1, le=86_400, allow_inf_nan=False)
    """Seconds without a poll, 1-86,400, after which ``/livez`` fails. Kafka removes a member after 300 (default),
    ``max.poll.interval.ms``. Below ``max_revoke_grace_ms`` a rebalance looks like a hanging process."""

    partition_stuck_seconds: float = Field(60.0, ge=0.1, le=86_400, allow_inf_nan=False)
    """Seconds, 0.1-86,400, after which ``/readyz`` fails for a partition that is paused for any reason and has finished
    no message for that time. Below the time that one attempt takes, slow workers look stuck."""

    partition_blocked_seconds: float = Field(120.0, ge=0.1, le=86_400, allow_inf_nan=False)
    """Seconds, 0.1-86,400, after which ``/readyz`` fails for a partition whose blocking offset is older, even if other
    messages go on. Below the time that all attempts of a message may take (by default three of 30 s and the waits
    between them), a failing message looks like a stuck partition."""

    ready_without_partitions: bool = False
    """Whether ``/readyz`` passes while no partition is assigned. Off by default. Turn it on for standby members, when
    the group has more members than the topic has partitions."""

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
