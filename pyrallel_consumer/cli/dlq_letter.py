"""A dead letter as it lies in its topic, read back into what it says, and what is sent when it is replayed. Pure.

The inverse of ``control_plane.letter``: ours are the last headers of each name, whatever the message itself carried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from pyrallel_consumer.control_plane.letter import (
    EPOCH,
    ERROR_REASON,
    HEADERS_OMITTED,
    OFFSET,
    PARTITION,
    PAYLOAD_OMITTED,
    RETRY_ATTEMPT,
    SOURCE_TOPIC,
    Record,
)
from pyrallel_consumer.dto import Headers, TopicPartition

REPLAY_COUNT: Final = "x-replay-count"
"""How many times the message was sent back to its topic; it travels with the message, and with its next letter."""
ADDED: Final = frozenset({ERROR_REASON, RETRY_ATTEMPT, SOURCE_TOPIC, PARTITION, OFFSET, EPOCH})
OMITTED: Final = frozenset({PAYLOAD_OMITTED, HEADERS_OMITTED})
"""Come after the six, and only then are they ours."""
UNKNOWN: Final = "(unknown)"


class Source(NamedTuple):
    """Where the message was read."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """One record of a dead-letter topic. ``source`` is None where its headers do not name one.

    ``headers`` are the message's own, without what was added to the letter, and without the count of replays.
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

    @property
    def error(self) -> str:
        """The type of the error alone."""
        return self.reason.partition(":")[0]

    @property
    def why_not_replayable(self) -> str | None:
        """Why it can never be sent back, as a sentence's end; None where it can."""
        if self.source is None:
            return "its headers name no source topic, partition and offset: it is no letter of this library"
        if self.omitted is not None:
            return f"its key and value were left out ({self.omitted})"
        if self.key is None and self.value is None:
            return "it has neither key nor value (dlq_payload_mode=metadata_only)"
        return None

    def replayed(self) -> Record:
        """The message as it goes back: its own key, value, headers and timestamp, and the count of replays.

        Where its headers were left out it says so still: its worker may need them.
        """
        headers: Headers = [*self.headers, (REPLAY_COUNT, b"%d" % (self.replays + 1))]
        if self.headers_omitted is not None:
            headers.append((HEADERS_OMITTED, self.headers_omitted.encode()))
        return Record(self.key, self.value, headers, self.timestamp_ms)


def letter_of(tp: TopicPartition, offset: int, record: Record) -> StoredLetter:
    """The letter that this record is; whatever cannot be read of it is left unknown."""
    own, added = _parted(record.headers)
    replays = max((_number(value) or 0 for name, value in own if name == REPLAY_COUNT), default=0)
    reason = added.get(ERROR_REASON)
    return StoredLetter(
        tp=tp,
        offset=offset,
        key=record.key,
        value=record.value,
        timestamp_ms=record.timestamp,
        headers=[header for header in own if header[0] != REPLAY_COUNT],
        source=_source(added),
        reason=UNKNOWN if reason is None else reason.decode(errors="replace"),
        attempts=_number(added.get(RETRY_ATTEMPT)),
        omitted=_why(added, PAYLOAD_OMITTED),
        replays=replays,
        headers_omitted=_why(added, HEADERS_OMITTED),
    )


def _parted(headers: Headers) -> tuple[Headers, dict[str, bytes | None]]:
    """The message's own headers, and those of the letter by name."""
    last = {name: at for at, (name, _) in enumerate(headers) if name in ADDED}
    after = max(last.values(), default=len(headers))
    last |= {name: at for at, (name, _) in enumerate(headers) if name in OMITTED and at > after}
    added = {name: headers[at][1] for name, at in last.items()}
    ours = frozenset(last.values())
    return [header for at, header in enumerate(headers) if at not in ours], added


def _why(added: dict[str, bytes | None], omitted: str) -> str | None:
    return None if omitted not in added else (added[omitted] or b"").decode(errors="replace")


def _source(added: dict[str, bytes | None]) -> Source | None:
    topic = added.get(SOURCE_TOPIC)
    partition, offset = _number(added.get(PARTITION)), _number(added.get(OFFSET))
    if not topic or partition is None or offset is None:
        return None
    return Source(topic.decode(errors="replace"), partition, offset)


def _number(text: bytes | None) -> int | None:
    """A count of at most 18 digits; None for anything else."""
    return int(text) if text and text.isdigit() and len(text) <= 18 else None  # noqa: PLR2004 -- fits 64 bits
