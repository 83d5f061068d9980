"""All settings, with their meaning, unit, range, default and what breaks at the ends of the range: one class per file.

They are read from arguments, environment and ``.env``, by ``settings``. The inner parts never see these objects:
methods give them frozen policies. A new setting is a field of its class, and stands in ``typed``. Begin with
``kafka``, in which others are nested, or ``execution``.
"""

from __future__ import annotations

from pyrallel_consumer.config.execution import ExecutionConfig
from pyrallel_consumer.config.kafka import KafkaConfig
from pyrallel_consumer.config.metrics import MetricsConfig
from pyrallel_consumer.config.output import OutputConfig
from pyrallel_consumer.config.parallel import ParallelConsumerConfig
from pyrallel_consumer.config.ray import RayConfig

__all__ = ["ExecutionConfig", "KafkaConfig", "MetricsConfig", "OutputConfig", "ParallelConsumerConfig", "RayConfig"]
