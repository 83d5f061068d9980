"""The messages between poll thread and event loop. Facts are past tense, commands imperative; all are frozen.

Facts travel from the poll thread to the loop in one FIFO inbox, commands the other way. Every value that concerns an
assignment carries its epoch, so that the receiver can refuse what belongs to an earlier one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyrallel_consumer.control_plane.failures.letter import Letter
    from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
    from pyrallel_consumer.control_plane.output.transaction_plan import Floor
    from pyrallel_consumer.control_plane.output.unwritten import Outgoing, Unwritten
    from pyrallel_consumer.dto import Message, TopicPartition


@dataclass(frozen=True, slots=True)
class Assigned:
    """A partition is ours from now on; reading begins at ``start_offset``.

    ``restored`` lists the offsets above the start that an earlier owner has finished. ``is_committed`` is False if the
    broker has no offset of the group yet, because committing the start failed: then the first commit carries it.
    ``leader_epoch`` is Kafka's leader epoch of the start: that of the commit, or of the end of the log.
    """

    tp: TopicPartition
    epoch: int
    start_offset: int
    restored: OffsetMap
    is_committed: bool = True
    leader_epoch: int | None = None


@dataclass(slots=True)
class Delivered:
    """Messages of one partition from one read, ascending by offset. Not frozen, because one is made for every read."""

    tp: TopicPartition
    epoch: int
    messages: list[Message]


@dataclass(frozen=True, slots=True)
class OffsetWentBack:
    """Offset ``offset`` was delivered again (truncation, seek, recreated topic): a new epoch begins there.

    Unfinished offsets below ``offset`` move into ``epoch``. Offsets from ``offset`` on belong to ``old_epoch`` and are
    forgotten. ``leader_epoch`` is Kafka's leader epoch of the record at ``offset``.
    """

    tp: TopicPartition
    old_epoch: int
    epoch: int
    offset: int
    leader_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class PositionAdvanced:
    """The client has nothing more before ``position`` (exclusive), trailing transaction markers included.

    ``leader_epoch`` is Kafka's leader epoch of what lies below, None if the client does not know it.
    """

    tp: TopicPartition
    epoch: int
    position: int
    leader_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The group gave the partition to another member without asking: none of its offsets may be committed."""

    tp: TopicPartition
    epoch: int


@dataclass(frozen=True, slots=True)
class CommitSnapshot:
    """Offset and map of one partition at one moment, to be committed together or not at all.

    ``version`` counts the changes of the map. ``leader_epoch`` is Kafka's, None if the client does not know it.
    Exactly once, ``entries`` are written in the transaction that commits it, by offset; ``floor`` is the partition's.
    """

    tp: TopicPartition
    epoch: int
    offset: int
    metadata: str
    version: int
    leader_epoch: int | None
    entries: tuple[Unwritten, ...] = ()
    floor: Floor | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """Command: commit these snapshots in one request. Numbers ascend; only one commit is under way at a time."""

    number: int
    snapshots: tuple[CommitSnapshot, ...]


@dataclass(frozen=True, slots=True)
class CommitAnswered:
    """The answer of the broker (or client) to commit ``number``: per partition None for success, else an error's name.

    Partitions that were no longer assigned when the command was carried out are left out of ``errors``.
    """

    number: int
    errors: Mapping[TopicPartition, str | None]


class Refusal(NamedTuple):
    """A record or letter of ``entry`` for ``topic`` was refused in a transaction, with this error.

    ``is_certain``: the client refused it by itself. A broker refuses others of its batch with it.
    """

    entry: Unwritten
    topic: str
    code: str
    said: str
    is_certain: bool


@dataclass(frozen=True, slots=True)
class TransactionAnswered(CommitAnswered):
    """The outcome of transaction ``number``, sent with ``snapshots``. An aborted one may have ``refusals``."""

    snapshots: tuple[CommitSnapshot, ...] = ()
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Pause:
    """Command: fetch no more of this partition, while it is assigned in this epoch."""

    tp: TopicPartition
    epoch: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Command: fetch this partition again, while it is assigned in this epoch."""

    tp: TopicPartition
    epoch: int


@dataclass(frozen=True, slots=True)
class RevokeAsked:
    """These partitions, each with its epoch, are revoked: finish running work, fence, ``answer`` with snapshots.

    The poll thread waits for the answer; in a rebalance it waits for the grace plus a second at most. ``answer`` may be
    called from any thread, and only the first call counts. If it comes too late, ``Lost`` follows for each partition.
    """

    partitions: tuple[tuple[TopicPartition, int], ...]
    answer: Callable[[tuple[CommitSnapshot, ...]], None]


@dataclass(frozen=True, slots=True)
class PollThreadFroze:
    """The poll thread hung for ``seconds``; commits up to number ``last_commit`` were sent before the gap ended."""

    seconds: float
    last_commit: int


@dataclass(frozen=True, slots=True)
class CoordinatorSilent:
    """A commit has been unanswered for ``seconds``, half the group's session; ``last_commit`` is the last one sent."""

    seconds: float
    last_commit: int


@dataclass(frozen=True, slots=True)
class PollerFailed:
    """The poll thread failed. It commits nothing more, and this is its last fact."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class PollerClosed:
    """The poll thread has left the group and closed its client, as commanded. This is its last fact."""


class LetterAnswer(NamedTuple):
    """The broker's answer for one dead letter: ``code`` is None for success, else the error's name; ``said`` is why."""

    letter: Letter
    code: str | None
    said: str


@dataclass(frozen=True, slots=True)
class LettersAnswered:
    """The broker's answers for dead letters that were given to the producer."""

    answers: tuple[LetterAnswer, ...]


class RecordAnswer(NamedTuple):
    """The broker's answer for one record, like ``LetterAnswer``."""

    outgoing: Outgoing
    code: str | None
    said: str


@dataclass(frozen=True, slots=True)
class RecordsAnswered:
    """The broker's answers for records that were given to the producer."""

    answers: tuple[RecordAnswer, ...]


@dataclass(frozen=True, slots=True)
class LetterProducerFailed:
    """The thread that produces dead letters and records failed."""

    error: BaseException
