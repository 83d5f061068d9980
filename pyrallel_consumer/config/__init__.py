"""Every setting there is, with its meaning, unit, range, default and what breaks at the ends: one class a file.

Read from arguments, environment and ``.env``: how, says ``settings``. The inner parts never see these objects: methods
hand them frozen policies. Begin with ``kafka``, in which the others are nested, or ``execution``.
"""

from __future__ import annotations

from pyrallel_consumer.config.execution import ExecutionConfig
from pyrallel_consumer.config.kafka import KafkaConfig
from pyrallel_consumer.config.metrics import MetricsConfig
from pyrallel_consumer.config.output import OutputConfig
from pyrallel_consumer.config.parallel import ParallelConsumerConfig

__all__ = ["ExecutionConfig", "KafkaConfig", "MetricsConfig", "OutputConfig", "ParallelConsumerConfig"]
