"""The words that settings and snapshots choose from, as enums of strings."""

from __future__ import annotations

from enum import StrEnum


class ExecutionMode(StrEnum):
    """How workers run: as asyncio tasks, in threads, in processes, or on the actors of a Ray cluster."""

    ASYNC = "async"
    THREAD = "thread"
    PROCESS = "process"
    RAY = "ray"

    @property
    def is_elsewhere(self) -> bool:
        """Whether workers run in other processes than the consumer, so that they are sent there."""
        return self is ExecutionMode.PROCESS or self is ExecutionMode.RAY


class OrderingMode(StrEnum):
    """Which messages keep their order: messages of one key, messages of one partition, or none."""

    KEY_HASH = "key_hash"
    PARTITION = "partition"
    UNORDERED = "unordered"


class NullKeyOrdering(StrEnum):
    """How messages without a key are ordered under ``OrderingMode.KEY_HASH``: not at all, or as one key."""

    UNORDERED = "unordered"
    PARTITION = "partition"


class RebalanceStateStrategy(StrEnum):
    """Whether commits carry the map of messages that finished above the committed offset, or the offset alone."""

    METADATA_SNAPSHOT = "metadata_snapshot"
    CONTIGUOUS_ONLY = "contiguous_only"


class DlqPayloadMode(StrEnum):
    """Which parts of a message a dead letter carries: all, or headers only."""

    FULL = "full"
    METADATA_ONLY = "metadata_only"


class BatchBy(StrEnum):
    """What the messages of one batch share: nothing, their topic, their partition, or their key."""

    ANY = "any"
    TOPIC = "topic"
    PARTITION = "partition"
    KEY = "key"


class OnExhausted(StrEnum):
    """What happens to a message after its last attempt failed."""

    DLQ = "dlq"
    SKIP = "skip"
    STOP = "stop"
    PAUSE_PARTITION = "pause_partition"


class CompletionStatus(StrEnum):
    """How the processing of one message ended."""

    SUCCESS = "success"
    FAILURE = "failure"


class BlockedBy(StrEnum):
    """The reason why a partition's blocking offset, its lowest unfinished offset, waits.

    ``running``: its worker runs. ``retry``: it failed and waits for another attempt. ``held``: its last attempt failed;
    its dead letter is not acknowledged, or its partition is paused for it. ``unwritten``: its worker returned, and its
    records are not written yet. ``slot``: it is ready to start.
    ``earlier_assignment``: an attempt of its key that began before the last rebalance still runs.
    """

    RUNNING = "running"
    RETRY = "retry"
    HELD = "held"
    UNWRITTEN = "unwritten"
    SLOT = "slot"
    EARLIER_ASSIGNMENT = "earlier_assignment"
