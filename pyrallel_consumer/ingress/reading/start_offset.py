"""Where reading of a newly assigned partition begins, decided from the broker's answers.

Pure: the poll thread asks the broker and passes the answers in. The start is exactly the committed offset that came
with the map. If the group has no offset, or the log does not hold it any more, the start is the end of the log that
``auto.offset.reset`` names.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pyrallel_consumer.control_plane.offsets.commit_encoder import MetadataRefused, decode
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.errors import BrokerError

Reset = Literal["earliest", "latest", "error"]


class NoOffsetError(BrokerError):
    """The group has no committed offset that the log holds, and ``auto_offset_reset`` is ``none``."""


@dataclass(frozen=True, slots=True)
class Position:
    """An offset and its leader epoch of Kafka, None if unknown."""

    offset: int
    leader_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """What the group has committed for a partition."""

    offset: int
    metadata: str | None = None
    leader_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class LogRange:
    """The log holds the offsets from ``low`` to ``high`` (exclusive); ``latest`` is the end for a reader.

    ``latest`` is below ``high`` while a transaction is open and the reader reads committed records only.
    """

    low: Position
    high: Position
    latest: Position


@dataclass(frozen=True, slots=True)
class Start:
    """Begin at ``offset`` with ``restored``; ``must_commit``: commit both before reading.

    Then the group has no offset yet, or one that is gone, or a map of records that are gone. A kept map would be
    trusted again as soon as the log has grown past it.
    """

    tp: TopicPartition
    offset: int
    restored: OffsetMap
    must_commit: bool = False
    warning: str | None = None
    leader_epoch: int | None = None


class Restored(NamedTuple):
    """The map that came with a commit; ``is_gone``: it was about records that the log does not hold any more."""

    map: OffsetMap
    warning: str | None = None
    is_gone: bool = False


def restore(tp: TopicPartition, committed: Committed, high: int) -> Restored:
    """The committed map, or an empty one and the reason; ``high`` is the end of the log (exclusive)."""
    nothing = OffsetMap(committed.offset, committed.offset)
    try:
        restored = decode(committed.metadata, tp, committed.offset)
    except MetadataRefused as refused:
        return Restored(nothing, f"commit metadata of {tp} is ignored: {refused}")
    if committed.metadata and restored.top > high:
        warning = (
            f"commit metadata of {tp} is ignored: its map reaches {restored.top}, past the end of the log at {high}; "
            "the topic was truncated or created again"
        )
        return Restored(nothing, warning, is_gone=True)
    return Restored(restored)


def resolve(tp: TopicPartition, committed: Committed | None, log: LogRange, reset: Reset) -> Start:
    """Decide the start of ``tp``.

    Raises NoOffsetError if the group has no offset that the log holds, and ``reset`` is ``error``.
    """
    low, high = log.low.offset, log.high.offset
    if committed is None:
        if reset == "error":
            msg = (
                f"group has no committed offset for {tp} and auto_offset_reset is 'none': "
                "commit an offset for the group first, or set auto_offset_reset to 'earliest' or 'latest'"
            )
            raise NoOffsetError(msg, code="_AUTO_OFFSET_RESET")
        end = _end(log, reset)
        return Start(tp, end.offset, OffsetMap(end.offset, end.offset), True, None, end.leader_epoch)
    if low <= committed.offset <= high:
        restored, warning, is_gone = restore(tp, committed, high)
        return Start(tp, committed.offset, restored, is_gone, warning, committed.leader_epoch)
    gone = f"the log of {tp} does not hold the committed offset {committed.offset}: it holds {low} to {high}"
    if reset == "error":
        msg = (
            f"{gone}, and auto_offset_reset is 'none': "
            "commit another offset for the group, or set auto_offset_reset to 'earliest' or 'latest'"
        )
        raise NoOffsetError(msg, code="_AUTO_OFFSET_RESET")
    end = _end(log, reset)
    restored = OffsetMap(end.offset, end.offset)
    if committed.offset < end.offset == low:
        restored = _rest(restore(tp, committed, high).map, low)
    warning = f"{gone}; reading begins at {end.offset}, as auto_offset_reset is {reset!r}"
    return Start(tp, end.offset, restored, True, warning, end.leader_epoch)


def is_believable(committed: Committed | None, reset: Reset) -> bool:
    """Whether ``believe`` has a start. A ``latest`` group without an offset must know where the log ends."""
    return committed is not None or reset == "earliest"


def believe(tp: TopicPartition, committed: Committed | None) -> Start:
    """The start of ``tp`` if its leader is away, so that the ends of its log are unknown.

    The client resets an offset that the log turns out not to hold. A map that says in which leader epoch its records
    were written is believed: if the log was cut below them, the first newer record shows it. A group without an offset
    commits none: the log may begin later than 0.
    """
    unknown = f"the leader of {tp} is away, so the ends of its log are unknown: reading begins, once it is back, at"
    if committed is None:
        return Start(tp, 0, OffsetMap(0, 0), warning=f"{unknown} its beginning")
    restored, warning, _ = restore(tp, committed, sys.maxsize)
    if restored.leader_epoch is None:
        restored = OffsetMap(committed.offset, committed.offset)
    told = warning or f"{unknown} the committed offset {committed.offset}"
    return Start(tp, committed.offset, restored, warning=told, leader_epoch=committed.leader_epoch)


def topic_made_anew(tp: TopicPartition) -> NoOffsetError:
    """The error if a topic was deleted and created again, and the settings name no place to begin."""
    msg = (
        f"the topic of {tp} was deleted and created again, and auto_offset_reset is 'none': "
        "commit an offset of the new log for the group, or set auto_offset_reset to 'earliest' or 'latest'"
    )
    return NoOffsetError(msg, code="_AUTO_OFFSET_RESET")


def _end(log: LogRange, reset: Reset) -> Position:
    return log.low if reset == "earliest" else log.latest


def _rest(known: OffsetMap, low: int) -> OffsetMap:
    """The part of ``known`` from ``low`` on."""
    at = bisect_left(known.unfinished, low)
    return OffsetMap(low, max(low, known.top), known.unfinished[at:], known.leader_epoch)
