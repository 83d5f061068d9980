"""A dead letter read from its topic: its parts, and the record that a replay sends. Pure.

The inverse of ``control_plane.letter``: ours are the last headers of each name, even if the message has the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from pyrallel_consumer.control_plane.failures.letter import (
    CONSUMER_GROUP,
    EPOCH,
    ERROR_REASON,
    FAILED_AT,
    HEADERS_OMITTED,
    KEY_ADDED,
    KEY_AND_VALUE,
    OFFSET,
    ORIGINAL_TIMESTAMP,
    PARTITION,
    PAYLOAD_OMITTED,
    RETRY_ATTEMPT,
    SOURCE_TOPIC,
    TRACEBACK,
    Record,
)
from pyrallel_consumer.dto import Headers, TopicPartition

REPLAY_COUNT: Final = "x-replay-count"
"""How many times the message was sent back to its topic; the message and its next letter carry it."""
ADDED: Final = frozenset({ERROR_REASON, RETRY_ATTEMPT, SOURCE_TOPIC, PARTITION, OFFSET, EPOCH})
FURTHER: Final = frozenset(
    {ORIGINAL_TIMESTAMP, CONSUMER_GROUP, FAILED_AT, TRACEBACK, PAYLOAD_OMITTED, HEADERS_OMITTED, KEY_ADDED}
)
"""Come after the six, and only then are they ours."""
OF_REPLAYS: Final = frozenset({ORIGINAL_TIMESTAMP, REPLAY_COUNT})
"""The headers that a replay adds: the last one of each name is ours, and only if there is a count."""
UNKNOWN: Final = "(unknown)"
_LARGEST: Final = 2**63 - 1
_MOST_DIGITS: Final = 19

Added = Mapping[str, bytes | None]
"""The letter's own headers, by name."""


class Source(NamedTuple):
    """Where the message was read."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """One record of a dead-letter topic. ``source`` is None if its headers do not name one.

    ``key``, ``value`` and ``headers`` are the message's own, without additions of the letter or of replays.
    ``timestamp_ms`` is when the message was first written, as far as that is known.
    """

    tp: TopicPartition
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int | None
    headers: Headers
    source: Source | None
    reason: str
    attempts: int | None
    omitted: str | None
    replays: int
    headers_omitted: str | None = None
    group: str = UNKNOWN
    failed_at_ms: int | None = None
    traceback: str = ""

    @property
    def error(self) -> str:
        """The type of the error alone."""
        return self.reason.partition(":")[0]

    @property
    def why_not_replayable(self) -> str | None:
        """Why it can never be sent back, as the end of a sentence; None if it can."""
        if self.source is None:
            return "its headers name no source topic, partition and offset: it is no letter of this library"
        if self.omitted is not None:
            return f"its key and value were left out ({self.omitted})"
        if self.key is None and self.value is None:
            return "it has neither key nor value (dlq_payload_mode=metadata_only)"
        return None

    def replayed(self) -> Record:
        """The message as it goes back: its own key, value and headers, when it was first written, and the count.

        Where its headers were left out it says so still: its worker may need them.
        """
        headers: Headers = [*self.headers]
        if self.timestamp_ms is not None:
            headers.append((ORIGINAL_TIMESTAMP, b"%d" % self.timestamp_ms))
        headers.append((REPLAY_COUNT, b"%d" % (self.replays + 1)))
        if self.headers_omitted is not None:
            headers.append((HEADERS_OMITTED, self.headers_omitted.encode()))
        return Record(self.key, self.value, headers)


def letter_of(tp: TopicPartition, offset: int, record: Record) -> StoredLetter:
    """The letter in this record; parts that cannot be read stay unknown."""
    message_headers, added = _parted(record.headers)
    own, by_replay = _without_replays(message_headers)
    key, value = record.key, record.value
    if KEY_ADDED in added:
        key, value = None, value if added[KEY_ADDED] != KEY_AND_VALUE else None
    return StoredLetter(
        tp=tp,
        offset=offset,
        key=key,
        value=value,
        timestamp_ms=_written_at(record, added, by_replay),
        headers=own,
        source=_source(added),
        reason=_text(added.get(ERROR_REASON)) or UNKNOWN,
        attempts=_number(added.get(RETRY_ATTEMPT)),
        omitted=_why(added, PAYLOAD_OMITTED),
        replays=_number(by_replay.get(REPLAY_COUNT)) or 0,
        headers_omitted=_why(added, HEADERS_OMITTED),
        group=_text(added.get(CONSUMER_GROUP)) or UNKNOWN,
        failed_at_ms=_number(added.get(FAILED_AT)),
        traceback=_text(added.get(TRACEBACK)),
    )


def _written_at(record: Record, added: Added, by_replay: Added) -> int | None:
    """When the message was first written. Letters of earlier releases carry its timestamp as their own."""
    for told in (by_replay, added):
        at_ms = _number(told.get(ORIGINAL_TIMESTAMP))
        if at_ms is not None:
            return at_ms
    return None if FAILED_AT in added else record.timestamp


def _without_replays(headers: Headers) -> tuple[Headers, Added]:
    """The headers that the message was first written with, and the replay's headers by name."""
    last = {name: at for at, (name, _) in enumerate(headers) if name in OF_REPLAYS}
    if REPLAY_COUNT not in last:
        return headers, {}
    ours = frozenset(last.values())
    added = {name: headers[at][1] for name, at in last.items()}
    return [header for at, header in enumerate(headers) if at not in ours], added


def _parted(headers: Headers) -> tuple[Headers, Added]:
    """The message's own headers, and the letter's headers by name."""
    last = {name: at for at, (name, _) in enumerate(headers) if name in ADDED}
    after = max(last.values(), default=len(headers))
    last |= {name: at for at, (name, _) in enumerate(headers) if name in FURTHER and at > after}
    added = {name: headers[at][1] for name, at in last.items()}
    ours = frozenset(last.values())
    return [header for at, header in enumerate(headers) if at not in ours], added


def _why(added: Added, omitted: str) -> str | None:
    return None if omitted not in added else _text(added[omitted])


def _source(added: Added) -> Source | None:
    topic = _text(added.get(SOURCE_TOPIC))
    partition, offset = _number(added.get(PARTITION)), _number(added.get(OFFSET))
    if not topic or partition is None or offset is None:
        return None
    return Source(topic, partition, offset)


def _text(data: bytes | None) -> str:
    return (data or b"").decode(errors="replace")


def _number(text: bytes | None) -> int | None:
    """A count that Kafka's 64 bits hold; None for anything else."""
    if not text or not text.isdigit() or len(text) > _MOST_DIGITS:
        return None
    number = int(text)
    return number if number <= _LARGEST else None
