"""One assigned partition's commits: what the broker has confirmed, and what the next commit will say. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.events import CommitSnapshot
from pyrallel_consumer.control_plane.offsets.commit_encoder import METADATA_LIMIT_BYTES, encode

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.events import Assigned
    from pyrallel_consumer.control_plane.output.unwritten import Unwritten
    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork


class CommitState:
    """``confirmed`` is offset and version of the last confirmed commit under the present epoch, None without one.

    ``metadata_bytes`` is the size of its map. ``metadata_limit_bytes`` limits the next map, None: as the encoder does.
    """

    __slots__ = ("committed_offset", "confirmed", "metadata_bytes", "metadata_limit_bytes")

    def __init__(self, assigned: Assigned) -> None:
        self.committed_offset = assigned.start_offset
        self.confirmed: tuple[int, int] | None = (assigned.start_offset, 0) if assigned.is_committed else None
        self.metadata_bytes = 0
        self.metadata_limit_bytes: int | None = None

    @property
    def most_metadata_bytes(self) -> int:
        """How long the next map may be."""
        return METADATA_LIMIT_BYTES if self.metadata_limit_bytes is None else self.metadata_limit_bytes

    def is_worth_committing(self, work: PartitionWork, *, with_map: bool) -> bool:
        """Whether offset or map moved since the broker's last confirmation."""
        if work.writing is not None:
            return work.writing.is_worth_committing(work)
        tracker = work.tracker
        return (tracker.committable_offset, tracker.version if with_map else 0) != self.confirmed

    def snapshot(
        self, work: PartitionWork, *, with_map: bool, is_repeating: bool = False, most_written: int | None = None
    ) -> CommitSnapshot | None:
        """Offset and map as they are now; None if the broker has confirmed exactly these, unless ``is_repeating``."""
        if work.writing is not None:
            return work.writing.snapshot(work, with_map=with_map, is_repeating=is_repeating, most_written=most_written)
        if not is_repeating and not self.is_worth_committing(work, with_map=with_map):
            return None
        tracker = work.tracker
        offset, version = tracker.committable_offset, tracker.version if with_map else 0
        known = tracker.finished_map(work.leader_epoch) if with_map else None
        metadata = "" if known is None else encode(known, work.tp, self.most_metadata_bytes)
        blocking = tracker.unfinished.get(offset)
        leader_epoch = work.leader_epoch if blocking is None else blocking._message.leader_epoch()
        return CommitSnapshot(work.tp, work.epoch, offset, metadata, version, leader_epoch)

    def confirm(self, work: PartitionWork, snapshot: CommitSnapshot) -> list[Unwritten]:
        """The broker has confirmed this snapshot. Returns its messages with letters: see ``Writing.confirm``."""
        letters = [] if work.writing is None else work.writing.confirm(work, snapshot)
        self.confirmed = (snapshot.offset, snapshot.version)
        self.committed_offset = snapshot.offset
        self.metadata_bytes = len(snapshot.metadata)
        return letters

    def shrink_metadata(self, refused_bytes: int) -> None:
        """The broker refused metadata of this size: halve the limit, down to no metadata."""
        self.metadata_limit_bytes = refused_bytes // 2

    def go_back(self, offset: int) -> None:
        """Offsets from ``offset`` on come again, under a new epoch."""
        self.confirmed = None
        self.committed_offset = min(self.committed_offset, offset)
