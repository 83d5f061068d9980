"""Settings that are one of a few words: enum members or their text, and type checkers accept both.

``Choice`` is how such a field looks to a type checker: reading it gives the enum's member, writing takes the text too.
At run time the field is of the enum itself, and pydantic makes the member of the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, overload

from pydantic import Field

from pyrallel_consumer.dto import (
    BatchBy,
    DlqPayloadMode,
    ExecutionMode,
    NullKeyOrdering,
    OnExhausted,
    OrderingMode,
    RebalanceStateStrategy,
)
from pyrallel_consumer.record import Delivery

if TYPE_CHECKING:
    from typing import Self

Got = TypeVar("Got")
Taken = TypeVar("Taken")

ModeText: TypeAlias = Literal["async", "thread", "process", "ray"]
BatchByText: TypeAlias = Literal["any", "topic", "partition", "key"]
OnExhaustedText: TypeAlias = Literal["dlq", "skip", "stop", "pause_partition"]
OrderingText: TypeAlias = Literal["key_hash", "partition", "unordered"]
StateStrategyText: TypeAlias = Literal["metadata_snapshot", "contiguous_only"]
NullKeyText: TypeAlias = Literal["unordered", "partition"]
PayloadModeText: TypeAlias = Literal["full", "metadata_only"]
DeliveryText: TypeAlias = Literal["at_least_once", "exactly_once"]

OffsetReset: TypeAlias = Literal["earliest", "latest", "none"]
GroupProtocol: TypeAlias = Literal["auto", "classic", "consumer"]
SecurityProtocol: TypeAlias = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism: TypeAlias = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"]

if TYPE_CHECKING:

    class Choice(Generic[Got, Taken]):
        """A field that gives ``Got`` and takes ``Taken``."""

        @overload
        def __get__(self, instance: None, owner: object) -> Self: ...
        @overload
        def __get__(self, instance: object, owner: object) -> Got: ...
        def __get__(self, instance: object, owner: object) -> Any: ...
        def __set__(self, instance: object, value: Taken) -> None: ...

    Mode: TypeAlias = Choice[ExecutionMode, ExecutionMode | ModeText]
    BatchedBy: TypeAlias = Choice[BatchBy, BatchBy | BatchByText]
    Exhaustion: TypeAlias = Choice[OnExhausted | None, OnExhausted | OnExhaustedText | None]
    Ordering: TypeAlias = Choice[OrderingMode, OrderingMode | OrderingText]
    StateStrategy: TypeAlias = Choice[RebalanceStateStrategy, RebalanceStateStrategy | StateStrategyText]
    NullKeys: TypeAlias = Choice[NullKeyOrdering, NullKeyOrdering | NullKeyText]
    PayloadMode: TypeAlias = Choice[DlqPayloadMode, DlqPayloadMode | PayloadModeText]
    Delivered: TypeAlias = Choice[Delivery, Delivery | DeliveryText]
else:
    Mode = ExecutionMode
    BatchedBy = BatchBy
    Exhaustion = OnExhausted | None
    Ordering = OrderingMode
    StateStrategy = RebalanceStateStrategy
    NullKeys = NullKeyOrdering
    PayloadMode = DlqPayloadMode
    Delivered = Delivery


def chosen(default: object) -> Any:
    """A field with this default; its type is not checked here."""
    return Field(default)
