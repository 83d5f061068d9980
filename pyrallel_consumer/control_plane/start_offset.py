"""Where reading of a newly assigned partition begins, from what the broker answers about it.

Pure: the poll thread asks the broker and passes the answers in. The start is exactly the committed offset whose answer
held the map; a group without an offset gets the end of the log that ``auto.offset.reset`` names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pyrallel_consumer.control_plane.commit_encoder import MetadataRefused, decode
from pyrallel_consumer.control_plane.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from pyrallel_consumer.errors import BrokerError

Reset = Literal["earliest", "latest", "error"]


class NoOffsetError(BrokerError):
    """The group has no committed offset and ``auto_offset_reset`` is ``none``: there is nowhere to begin."""


@dataclass(frozen=True, slots=True)
class Start:
    """Begin at ``offset`` with ``restored``; ``must_commit``: first give the group this offset, without a map.

    It has none yet, or one with a map of records that are gone: left there, that map would be believed as soon as the
    log has grown past it.
    """

    tp: TopicPartition
    offset: int
    restored: OffsetMap
    must_commit: bool = False
    warning: str | None = None


def needs_watermarks(committed_offset: int | None, metadata: str | None) -> bool:
    """Whether ``resolve`` must know the ends of the log: there is no offset, or there is a map to check."""
    return committed_offset is None or bool(metadata)


def resolve(
    tp: TopicPartition, committed_offset: int | None, metadata: str | None, *, low: int, high: int, reset: Reset
) -> Start:
    """Decide the start of ``tp``. ``low`` and ``high`` are its watermarks, read only if ``needs_watermarks``.

    Raises NoOffsetError where the group has no offset and ``reset`` is ``error``.
    """
    if committed_offset is None:
        if reset == "error":
            msg = (
                f"group has no committed offset for {tp} and auto_offset_reset is 'none': "
                "commit an offset for the group first, or set auto_offset_reset to 'earliest' or 'latest'"
            )
            raise NoOffsetError(msg, code="_AUTO_OFFSET_RESET")
        start = low if reset == "earliest" else high
        return Start(tp, start, OffsetMap(start, start), must_commit=True)
    nothing = OffsetMap(committed_offset, committed_offset)
    try:
        restored = decode(metadata, tp, committed_offset)
    except MetadataRefused as refused:
        return Start(tp, committed_offset, nothing, warning=f"commit metadata of {tp} is ignored: {refused}")
    if metadata and restored.top > high:
        warning = (
            f"commit metadata of {tp} is ignored: its map reaches {restored.top}, past the end of the log at {high}; "
            "the topic was truncated or created anew"
        )
        return Start(tp, committed_offset, nothing, must_commit=True, warning=warning)
    return Start(tp, committed_offset, restored)
