"""The outcome of a transaction without an answer, found from the group's committed offsets. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.offsets.commit_encoder import MetadataRefused, decode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyrallel_consumer.control_plane.events import CommitSnapshot
    from pyrallel_consumer.dto import TopicPartition

NOT_WRITTEN = "_NOT_WRITTEN"
"""The error of a partition of a transaction that turned out to be aborted: it is written again."""


def resolved(
    sent: Sequence[CommitSnapshot], committed: Mapping[TopicPartition, tuple[int, str]]
) -> dict[TopicPartition, str | None]:
    """For each partition of a transaction: None if it was committed, else ``NOT_WRITTEN``.

    ``committed`` are offset and metadata of the group, read when no transaction was pending, of the partitions that are
    still ours: only this transaction can have moved them. A partition that had nothing to write shares the fate
    of the others.
    """
    told = {s.tp: _contains(s, *committed[s.tp]) for s in sent if s.tp in committed and s.entries}
    is_committed = all(told.values()) if told else all(_is_just(s, committed) for s in sent)
    return {s.tp: None if told.get(s.tp, is_committed) else NOT_WRITTEN for s in sent}


def _contains(snapshot: CommitSnapshot, offset: int, metadata: str) -> bool:
    """Whether the group knows every message of ``snapshot`` to be finished."""
    try:
        known = decode(metadata, snapshot.tp, offset)
    except MetadataRefused:
        return False
    unfinished = frozenset(known.unfinished)
    return all(entry.item.offset < known.top and entry.item.offset not in unfinished for entry in snapshot.entries)


def _is_just(snapshot: CommitSnapshot, committed: Mapping[TopicPartition, tuple[int, str]]) -> bool:
    return committed.get(snapshot.tp) == (snapshot.offset, snapshot.metadata)
