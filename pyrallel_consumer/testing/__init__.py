"""What users need to test their workers: items, a consumer without a broker, and a Kafka to try a whole program on."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrallel_consumer.testing.kit.consumer_kit import ConsumerKit
    from pyrallel_consumer.testing.kit.ledger import Outcome
    from pyrallel_consumer.testing.messages import PlainMessage, work_item
    from pyrallel_consumer.testing.trial_kafka import TrialKafka
    from pyrallel_consumer.testing.written_record import WrittenRecord

__all__ = ["ConsumerKit", "Outcome", "PlainMessage", "TrialKafka", "WrittenRecord", "work_item"]

_HOME = {
    "ConsumerKit": "kit.consumer_kit",
    "Outcome": "kit.ledger",
    "PlainMessage": "messages",
    "TrialKafka": "trial_kafka",
    "WrittenRecord": "written_record",
    "work_item": "messages",
}


def __getattr__(name: str) -> object:
    """Load a name at its first use: the plugin makes pytest load this package in every run, even if no test uses it."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
