"""``ParallelConsumerConfig``: which order is kept, how much is read ahead, how often offsets are committed."""

from __future__ import annotations

from typing import Any, Unpack

from pydantic import Field, field_validator

from pyrallel_consumer.config.settings import Settings
from pyrallel_consumer.config.typed.arguments import ParallelConsumerArguments
from pyrallel_consumer.config.typed.attributes import ParallelConsumerAttributes
from pyrallel_consumer.config.typed.choices import NullKeys, Ordering, StateStrategy, chosen
from pyrallel_consumer.config.values import lowered
from pyrallel_consumer.control_plane.policies import FlowLimits, OrderingPolicy
from pyrallel_consumer.dto import (
    NullKeyOrdering,
    OrderingMode,
    RebalanceStateStrategy,
)


class ParallelConsumerConfig(ParallelConsumerAttributes, Settings):
    """Which order is kept, how much is read ahead, and how often offsets are committed."""

    environment_prefixes = ("PARALLEL_CONSUMER_",)

    ordering_mode: Ordering = chosen(OrderingMode.KEY_HASH)
    """Which messages keep their order: those of one key (default: the most parallelism with an order), those of one
    partition, or none."""

    queue_max_messages: int = Field(5000, ge=1, le=10_000_000)
    """Messages read and not finished, whole consumer, shared fairly by partition; 1-10,000,000. Below the number of
    workers some workers are idle. Each message costs about its size plus 500 bytes. Four times as many (1000-20,000)
    are read ahead, so that all partitions have their turn, whatever the order in which Kafka sends them."""

    queue_max_bytes: int = Field(64 * 1024 * 1024, ge=1, le=1 << 40)
    """Bytes of these messages (keys, values, headers); 1 byte-1 TiB, default 64 MiB. One message is always let in,
    however large, so a tiny limit means one at a time. With a huge limit only the number of messages limits the memory.
    Up to three quarters of it, between 3 and 48 MiB, are fetched ahead in addition."""

    poll_batch_size: int = Field(1000, ge=1, le=100_000)
    """Messages taken from the client in one go, 1-100,000. Small costs throughput, large makes bursts that delay
    other work of the loop; 1000 already costs under a microsecond per message."""

    commit_interval_ms: int = Field(200, ge=10, le=600_000)
    """Milliseconds between commits, 10-600,000, default 200. Messages that finished since the last commit run again
    after a crash. One request carries all partitions with progress, and an idle consumer commits nothing: at most 5
    requests a second, for less than a hundredth of a core. Below 100 the load on the group coordinator matters. After a
    commit of very many partitions the pause is longer: 0.5 ms for each of them, a second for 2,000."""

    rebalance_state_strategy: StateStrategy = chosen(RebalanceStateStrategy.METADATA_SNAPSHOT)
    """Whether commits carry the map of the messages that finished above the committed offset (default: the next owner
    does not run them again) or the offset alone (for tools that write their own commit metadata)."""

    null_key_ordering: NullKeys = chosen(NullKeyOrdering.UNORDERED)
    """How messages without a key are treated in the order by key: no order (default, because Kafka spreads them over
    the partitions), or as one key per partition."""

    blocking_warn_seconds: float = Field(5.0, ge=0.01, le=86_400, allow_inf_nan=False)
    """Seconds, 0.01-86,400, after which a warning names an offset that blocks the commit or a worker that blocks the
    event loop. Below the normal run time of a worker it warns without cause."""

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
