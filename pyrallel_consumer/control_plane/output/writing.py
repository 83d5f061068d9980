"""One partition's part of the transactions, exactly once: its offset, its map, and the records of the messages in them.

Belongs to a ``PartitionWork`` whose consumer writes exactly once. A message there is finished only after its
transaction has been committed. Until then a message whose worker returned, or whose letter must be written, waits in
the outbox. Records of an aborted transaction are written again by the next one, without running a worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.events import CommitSnapshot
from pyrallel_consumer.control_plane.output.transaction_plan import Floor, plan

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.events import Assigned
    from pyrallel_consumer.control_plane.output.unwritten import Unwritten
    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork


class Writing:
    """``letters`` are held messages, by offset, that the next transaction completes: dead-lettered or skipped.

    ``is_cramped``: the written messages have no room in the map now, so all wait until lower offsets finish.
    """

    def __init__(self, assigned: Assigned) -> None:
        self.floor = Floor(assigned.restored.top, assigned.restored.leader_epoch)
        self.letters: dict[int, Unwritten] = {}
        self.is_cramped = False

    def is_worth_committing(self, work: PartitionWork) -> bool:
        """Whether there are records to write, or the position moved since the last confirmation."""
        if self.letters or any(not each.is_refused for each in work.unwritten.values()):
            return True
        return (work.tracker.committable_offset, work.tracker.version) != work.commits.confirmed

    def snapshot(
        self, work: PartitionWork, *, with_map: bool, is_repeating: bool = False, most_written: int | None = None
    ) -> CommitSnapshot | None:
        """The partition's part of the next transaction, with at most ``most_written`` messages that have records."""
        if not is_repeating and not self.is_worth_committing(work):
            return None
        outbox = {offset: each for offset, each in work.unwritten.items() if not each.is_refused} | self.letters
        candidates = _limited(sorted(outbox), outbox, most_written)
        limit_bytes = work.commits.most_metadata_bytes
        made = plan(work.tracker, candidates, self.floor, work.tp, limit_bytes=limit_bytes, with_map=with_map)
        self.is_cramped = made is None
        if made is None:
            return None
        entries = tuple(outbox[offset] for offset in candidates[: made.taken])
        version = work.tracker.version + len(entries)
        if not entries and not is_repeating and (made.offset, version) == work.commits.confirmed:
            return None
        blocking = work.tracker.unfinished.get(made.offset)
        leader_epoch = work.leader_epoch if blocking is None else blocking.message.leader_epoch()
        return CommitSnapshot(
            work.tp, work.epoch, made.offset, made.metadata, version, leader_epoch, entries, made.floor
        )

    def confirm(self, work: PartitionWork, snapshot: CommitSnapshot) -> list[Unwritten]:
        """The transaction with ``snapshot`` is committed: its messages are done.

        Returns the ones with written letters: the caller settles these letters in the same step.
        """
        if snapshot.floor is not None:
            self.floor = snapshot.floor
        letters = []
        for entry in snapshot.entries:
            offset = entry.item.offset
            if work.unwritten.get(offset) is entry:
                work.complete(entry.item)
            elif self.letters.get(offset) is entry:
                del self.letters[offset]
                if entry.letter is None:
                    work.finish_held(entry.item)
                else:
                    letters.append(entry)
        return letters

    def forget(self, from_offset: int) -> None:
        """Offsets from this one on belong to another log, or another owner."""
        self.letters = {offset: each for offset, each in self.letters.items() if offset < from_offset}
        if self.floor.top > from_offset:
            self.floor = Floor(from_offset, None)


def _limited(offsets: list[int], outbox: dict[int, Unwritten], most_written: int | None) -> list[int]:
    """The lowest of ``offsets``, with at most ``most_written`` messages that have records."""
    if most_written is None:
        return offsets
    for at, offset in enumerate(offsets):
        most_written -= bool(outbox[offset].records)
        if most_written < 0:
            return offsets[:at]
    return offsets
