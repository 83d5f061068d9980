"""What users need to test their workers: items without a broker, and a Kafka to try a whole consumer on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.testing.messages import PlainMessage, work_item

if TYPE_CHECKING:
    from pyrallel_consumer.testing.trial_kafka import TrialKafka

__all__ = ["PlainMessage", "TrialKafka", "work_item"]


def __getattr__(name: str) -> object:
    if name != "TrialKafka":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pyrallel_consumer.testing.trial_kafka import TrialKafka  # noqa: PLC0415 -- items need no Kafka client

    return TrialKafka
