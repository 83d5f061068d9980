"""The plain values that travel between the parts and to the user: items of work, completions, enums, snapshots.

Nothing here decides or does I/O. A ``WorkItem`` is the worker's argument, and also the slim object that the control
plane and the engines pass around: four words, with the message's fields read only on demand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol

from pyrallel_consumer.message import Headers as Headers  # noqa: PLC0414 -- mypy's way to say that it can be imported from here
from pyrallel_consumer.message import Message as Message  # noqa: PLC0414 -- as above
from pyrallel_consumer.message import Row, SentMessage, UnreadableHeaders, V_co, header_bytes, headers_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyrallel_consumer.record import OutputFigures

DURATION_BOUNDS_SECONDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
"""Upper bounds, inclusive, of the buckets of durations; longer durations are in one more bucket."""

SPAN_CARRIER: Final = "__pyrallel_span__"
"""The name in an exception's ``__dict__`` under which the span of a traced attempt leaves a worker process."""


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
    """Which messages keep their order: those of one key, those of one partition, or none."""

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


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


class Origin(Protocol):
    """Where an item came from: something that knows the assignment's epoch (a virtual partition does).

    ``is_ordered``: items that share it are kept in order. Such an origin has a method ``seal()`` as well, which engines
    of batches call: nothing more of it is sent until all that is in flight has ended.
    """

    @property
    def epoch(self) -> int: ...
    @property
    def is_ordered(self) -> bool: ...


class PartitionHome(Protocol):
    """An assigned partition, as its items know it."""

    @property
    def tp(self) -> TopicPartition: ...
    def is_current(self, item: WorkItem, /) -> bool:
        """Whether its assignment goes on, and ``item`` is not done."""


class PartitionOrigin(Origin, Protocol):
    """Where an item of an assigned partition came from: the way from the item to its partition."""

    @property
    def work(self) -> PartitionHome: ...


class WorkItem(Generic[V_co]):
    """One message on its way to one attempt of the worker; immutable, compared by identity.

    ``payload`` is the message's value as bytes, and ``value`` the result of the consumer's deserializer, or ``payload``
    itself without one; ``decoded_key`` and ``key`` likewise. ``headers`` is a list. It is empty if the message has
    none, or if ``has_unreadable_headers`` is true. ``timestamp`` is Kafka's, in milliseconds since 1970 UTC, or None if
    the broker gave none; ``attempt`` counts from 1. A copy, pickled or not, holds plain values only.
    """

    __slots__ = ("__weakref__", "_attempt", "_message", "_offset", "_origin", "_submitted")
    _origin: Any
    _submitted: float | None
    """When it was submitted, if metrics are on and its origin does not hold that time. Else unset, at no cost."""

    def __init__(self, message: Message, offset: int, origin: Origin, attempt: int = 1) -> None:
        self._message = message
        self._offset = offset
        self._origin = origin
        self._attempt = attempt

    @property
    def topic(self) -> str:
        return self._message.topic()

    @property
    def partition(self) -> int:
        return self._message.partition()

    @property
    def offset(self) -> int:
        return self._offset

    @property
    def epoch(self) -> int:
        """Number of the assignment that read this message; grows with every assignment of the consumer."""
        return self._origin.epoch  # type: ignore[no-any-return]  # Origin has it

    @property
    def key(self) -> bytes | None:
        return self._message.key()

    @property
    def payload(self) -> bytes | None:
        return self._message.value()

    if TYPE_CHECKING:

        @property
        def value(self) -> V_co: ...
        @property
        def decoded_key(self) -> Any: ...

    else:
        value = payload
        decoded_key = key

    @property
    def headers(self) -> Headers:
        return list(headers_of(self._message) or ())

    @property
    def has_unreadable_headers(self) -> bool:
        """Whether the message has headers that no Python client can read, because a name is not UTF-8."""
        return type(headers_of(self._message)) is UnreadableHeaders

    @property
    def timestamp(self) -> int | None:
        kind, milliseconds = self._message.timestamp()
        return milliseconds if kind else None

    @property
    def attempt(self) -> int:
        return self._attempt

    @property
    def tp(self) -> TopicPartition:
        return TopicPartition(self._message.topic(), self._message.partition())

    @property
    def id(self) -> str:
        """``topic-partition-offset``: names the message, the same in every attempt and epoch."""
        return f"{self._message.topic()}-{self._message.partition()}-{self._offset}"

    @property
    def size_bytes(self) -> int:
        """Bytes of key, value and headers."""
        message = self._message
        return len(message) + len(message.key() or b"") + header_bytes(message)

    @property
    def message(self) -> Message:
        """The client's message as it was read. Headers that cannot be read are an empty list in it."""
        headers_of(self._message)
        return self._message

    @property
    def origin(self) -> PartitionOrigin:
        """The virtual partition that holds the item; for the library's own parts."""
        return self._origin  # type: ignore[no-any-return]  # virtual partitions are

    def next_attempt(self) -> WorkItem:
        """The item of the next attempt; this one stays as it is."""
        return WorkItem(self._message, self._offset, self._origin, self._attempt + 1)

    def same_attempt(self) -> WorkItem:
        """A new item for the same attempt, which is made again; this one stays as it is."""
        return WorkItem(self._message, self._offset, self._origin, self._attempt)

    def __reduce__(self) -> tuple[Any, ...]:
        return unpacked_item, (packed_item(self),)

    def __repr__(self) -> str:
        return f"<WorkItem {self.id} epoch={self.epoch} attempt={self._attempt}>"


def value_bytes(item: WorkItem[Any]) -> int:
    """Bytes of the value: a fifth of what ``size_bytes`` costs, for a bound that need not be exact."""
    return len(item._message)


def packed_item(item: WorkItem[Any], carrier: dict[str, str] | None = None) -> Row:
    """All of ``item`` as plain values, with the span of its earlier attempt, and without its partition."""
    message = item._message
    return (
        message.topic(),
        message.partition(),
        item._offset,
        message.key(),
        message.value(),
        headers_of(message),
        message.timestamp(),
        message.leader_epoch(),
        item._origin.epoch,
        item._attempt,
        carrier,
    )


def unpacked_item(row: Row) -> WorkItem:
    """The item of these values, as the worker gets it."""
    message = SentMessage(row)
    return WorkItem(message, row[2], message, row[9])


def place_of(item: WorkItem) -> dict[str, object]:
    """The message's topic, partition, offset and epoch, as the fields of a log record."""
    return {"topic": item.topic, "partition": item.partition, "offset": item.offset, "epoch": item.epoch}


@dataclass(frozen=True, slots=True)
class CompletionEvent:
    """How one message ended, after its last attempt."""

    topic: str
    partition: int
    offset: int
    epoch: int
    status: CompletionStatus
    error: BaseException | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Durations:
    """Durations: ``counts`` by bucket of ``DURATION_BOUNDS_SECONDS``, not cumulated, and their sum."""

    counts: tuple[int, ...] = (0,) * (len(DURATION_BOUNDS_SECONDS) + 1)
    total_seconds: float = 0.0

    @property
    def bounds(self) -> tuple[float, ...]:
        return DURATION_BOUNDS_SECONDS

    @property
    def total(self) -> float:
        return self.total_seconds

    def __add__(self, other: Durations) -> Durations:
        counts = tuple(mine + others for mine, others in zip(self.counts, other.counts, strict=True))
        return Durations(counts, self.total_seconds + other.total_seconds)


BATCH_SIZE_BOUNDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Upper bounds, inclusive, of the buckets that sizes of batches are counted in; larger ones are in one more."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many messages batches held: ``counts`` by bucket of ``BATCH_SIZE_BOUNDS``, not cumulated, and the sum."""

    counts: tuple[int, ...] = (0,) * (len(BATCH_SIZE_BOUNDS) + 1)
    total: int = 0

    @property
    def bounds(self) -> tuple[float, ...]:
        return BATCH_SIZE_BOUNDS

    def __add__(self, other: Sizes) -> Sizes:
        counts = tuple(mine + others for mine, others in zip(self.counts, other.counts, strict=True))
        return Sizes(counts, self.total + other.total)


@dataclass(frozen=True, slots=True)
class BatchFigures:
    """Batches since the consumer began.

    ``waits`` is how long the first message of each waited for company. ``searches`` counts the batches that failed as a
    whole, ``search_calls`` the calls of the worker that searching them took. ``size_limit`` is the size of a full one.
    """

    size_limit: int = 1
    sizes: Sizes = field(default_factory=Sizes)
    waits: Durations = field(default_factory=Durations)
    searches: int = 0
    search_calls: int = 0

    @property
    def batches(self) -> int:
        return sum(self.sizes.counts)

    @property
    def mean_size(self) -> float:
        """Messages in a batch on average; 0.0 while there is none."""
        return self.sizes.total / self.batches if self.batches else 0.0

    @property
    def fill(self) -> float:
        """How full batches are on average, 0.0 to 1.0."""
        return self.mean_size / self.size_limit


class BlockedBy(StrEnum):
    """What a partition's blocking offset, its lowest unfinished one, waits for.

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


@dataclass(frozen=True, slots=True)
class PartitionSnapshot:
    """One assigned partition at the moment of the snapshot. Offsets are exclusive: the next one to read.

    ``finished`` to ``skipped``, ``settled``, the three causes of slowness in seconds and ``latency`` count since the
    consumer started, over all assignments of the partition. ``settled`` of the finished ones had failed permanently.
    ``stalled_seconds`` is how long no message has finished while there were unfinished ones. ``metadata_bytes`` is the
    size of the map in the last confirmed commit. ``latency`` is None if metrics are off. ``blocked_by`` says why the
    blocking offset blocks, None without one.
    """

    tp: TopicPartition
    epoch: int
    committed_offset: int
    committable_offset: int
    fetched_offset: int
    gap_count: int
    blocking_offset: int | None
    blocking_seconds: float
    queued: int
    in_flight: int
    held: int
    load_bytes: int
    paused_for: tuple[str, ...]
    finished: int
    failed: int
    skipped: int
    settled: int = 0
    stalled_seconds: float = 0.0
    starved_seconds: float = 0.0
    paused_seconds: float = 0.0
    blocked_seconds: float = 0.0
    metadata_bytes: int = 0
    latency: Durations | None = None
    blocked_by: BlockedBy | None = None


@dataclass(frozen=True, slots=True)
class RetrySnapshot:
    """How failed attempts are tried again, and their numbers. Times are milliseconds; a timeout of 0 is none.

    ``max_retries`` is an older name of ``max_attempts``: attempts in total, including the first.
    """

    max_retries: int = 0
    retry_backoff_ms: int = 0
    exponential_backoff: bool = True
    max_retry_backoff_ms: int = 0
    retry_jitter_ms: int = 0
    task_timeout_ms: int = 0
    timeouts: int = 0
    max_attempts: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetterSnapshot:
    """Dead letters: ``sent`` are acknowledged, ``waiting`` are not yet, ``held`` messages wait for them.

    ``failures`` counts failures by the error's name; ``is_failing`` while a dead-letter topic accepts nothing.
    ``is_producing`` is False if letters are off.
    """

    is_enabled: bool = False
    is_producing: bool = False
    topic_suffix: str = ""
    held: int = 0
    sent: int = 0
    waiting: int = 0
    is_failing: bool = False
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RuntimeSnapshot:
    """A frozen snapshot of a running consumer, made by its event loop at ``taken_at`` (``time.monotonic()``).

    ``stuck`` attempts timed out or were cancelled, and have not ended; ``held`` messages failed their last attempt.
    ``circuit_opened`` counts how often the circuit for outages opened. ``settled`` of the processed messages had failed
    their last attempt: they were dead-lettered or skipped, and the others succeeded. ``picture_failures`` counts errors
    in observability. ``is_broker_connected``: some broker answers. No broker has answered for
    ``broker_silent_seconds``. While none answers, the ends of the logs are the last known ones.
    ``is_rate_limited``: messages wait for nothing but ``max_per_second`` (0: no limit), and have for
    ``rate_limited_seconds`` in all.
    ``starts_held_seconds``: for so long nothing has been started, because this process stood still and the coordinator
    has not confirmed a commit since; else 0.0.
    ``batches`` is None where workers take one message at a time, ``output`` where they return no records.
    """

    taken_at: float
    state: str
    in_flight: int
    queued: int
    waiting_retries: int
    held: int
    load_messages: int
    load_bytes: int
    max_in_flight: int
    queue_max_messages: int
    queue_max_bytes: int
    is_paused: bool
    is_rebalancing: bool
    processed: int
    failed: int
    retries: int
    fenced_completions: int
    commits: int
    commit_failures: int
    partitions: tuple[PartitionSnapshot, ...]
    settings: Mapping[str, object] = field(default_factory=dict)
    stuck: int = 0
    rebalances: int = 0
    blocked_loops: int = 0
    on_exhausted: OnExhausted = OnExhausted.DLQ
    retry: RetrySnapshot = field(default_factory=RetrySnapshot)
    dead_letters: DeadLetterSnapshot = field(default_factory=DeadLetterSnapshot)
    is_circuit_open: bool = False
    circuit_opened: int = 0
    poisoned_keys: int = 0
    settled: int = 0
    picture_failures: int = 0
    is_broker_connected: bool = True
    broker_silent_seconds: float = 0.0
    starts_held_seconds: float = 0.0
    batches: BatchFigures | None = None
    output: OutputFigures | None = None
    max_per_second: float = 0.0
    is_rate_limited: bool = False
    rate_limited_seconds: float = 0.0
