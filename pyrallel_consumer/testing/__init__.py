"""What users need to test their workers without a broker."""

from __future__ import annotations

from pyrallel_consumer.testing.messages import PlainMessage, work_item

__all__ = ["PlainMessage", "work_item"]
