"""``ParallelConsumerConfig``: what is kept in order, how much is read ahead, how often it is committed."""

from __future__ import annotations

from typing import Any, Unpack

from pydantic import Field, field_validator

from pyrallel_consumer.config.arguments import ParallelConsumerArguments
from pyrallel_consumer.config.attributes import ParallelConsumerAttributes
from pyrallel_consumer.config.choices import NullKeys, Ordering, StateStrategy, chosen
from pyrallel_consumer.config.settings import Settings
from pyrallel_consumer.config.values import lowered
from pyrallel_consumer.control_plane.policies import FlowLimits, OrderingPolicy
from pyrallel_consumer.dto import (
    NullKeyOrdering,
    OrderingMode,
    RebalanceStateStrategy,
)


class ParallelConsumerConfig(ParallelConsumerAttributes, Settings):
    """What is kept in order, how much is read ahead, and how often it is committed."""

    environment_prefixes = ("PARALLEL_CONSUMER_",)

    ordering_mode: Ordering = chosen(OrderingMode.KEY_HASH)
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
    a second at most, for less than a hundredth of a core. Below 100 the group coordinator feels it. A commit of very
    many partitions is followed by a longer pause: 0.5 ms for each of them, a second for 2,000."""

    rebalance_state_strategy: StateStrategy = chosen(RebalanceStateStrategy.METADATA_SNAPSHOT)
    """Whether commits carry the map of what finished above the committed offset (default: the next owner does not run
    that again) or the offset alone (for tools that write commit metadata of their own)."""

    null_key_ordering: NullKeys = chosen(NullKeyOrdering.UNORDERED)
    """Messages without a key, ordered by key otherwise: in no order (default, as Kafka spreads them), or as one key
    per partition."""

    blocking_warn_seconds: float = Field(5.0, ge=0.01, le=86_400, allow_inf_nan=False)
    """Seconds, 0.01-86,400, after which a warning names an offset that blocks the commit or a worker that blocks the
    event loop. Below the normal run time of a worker it only makes noise."""

    def __init__(self, **values: Unpack[ParallelConsumerArguments]) -> None:
        super().__init__(**values)

    @field_validator("ordering_mode", "rebalance_state_strategy", "null_key_ordering", mode="before")
    @classmethod
    def _ignore_case(cls, value: Any) -> Any:
        return lowered(value)

    def ordering_policy(self) -> OrderingPolicy:
        return OrderingPolicy(mode=self.ordering_mode, null_keys=self.null_key_ordering)

    def flow_limits(self) -> FlowLimits:
        return FlowLimits(max_messages=self.queue_max_messages, max_bytes=self.queue_max_bytes)
