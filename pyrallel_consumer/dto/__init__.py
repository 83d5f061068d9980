"""The plain values that travel between the parts and to the user. Nothing here decides or does I/O.

Begin with ``work_item``. ``choices`` holds the enums, ``snapshots`` what a consumer reports, ``histograms`` its
durations and sizes of batches. Import all names from this package.
"""

from __future__ import annotations

from pyrallel_consumer.dto.choices import (
    BatchBy,
    BlockedBy,
    CompletionStatus,
    DlqPayloadMode,
    ExecutionMode,
    NullKeyOrdering,
    OnExhausted,
    OrderingMode,
    RebalanceStateStrategy,
)
from pyrallel_consumer.dto.histograms import (
    BATCH_SIZE_BOUNDS,
    DURATION_BOUNDS_SECONDS,
    BatchFigures,
    Durations,
    Sizes,
)
from pyrallel_consumer.dto.snapshots import (
    CompletionEvent,
    DeadLetterSnapshot,
    PartitionSnapshot,
    RetrySnapshot,
    RuntimeSnapshot,
)
from pyrallel_consumer.dto.work_item import (
    SPAN_CARRIER,
    Origin,
    PartitionHome,
    PartitionOrigin,
    TopicPartition,
    WorkItem,
    packed_item,
    place_of,
    unpacked_item,
    value_bytes,
)
from pyrallel_consumer.message import Headers, Message

__all__ = [
    "BATCH_SIZE_BOUNDS",
    "DURATION_BOUNDS_SECONDS",
    "SPAN_CARRIER",
    "BatchBy",
    "BatchFigures",
    "BlockedBy",
    "CompletionEvent",
    "CompletionStatus",
    "DeadLetterSnapshot",
    "DlqPayloadMode",
    "Durations",
    "ExecutionMode",
    "Headers",
    "Message",
    "NullKeyOrdering",
    "OnExhausted",
    "OrderingMode",
    "Origin",
    "PartitionHome",
    "PartitionOrigin",
    "PartitionSnapshot",
    "RebalanceStateStrategy",
    "RetrySnapshot",
    "RuntimeSnapshot",
    "Sizes",
    "TopicPartition",
    "WorkItem",
    "packed_item",
    "place_of",
    "unpacked_item",
    "value_bytes",
]
