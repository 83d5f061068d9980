"""Messages whose workers returned, and whose records or letters are not written yet.

Their keys go on at once, and their offsets complete only when the records are written: at least once after the
broker's acknowledgement, exactly once with the confirmed transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.output.unwritten import Unwritten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrallel_consumer.control_plane.dispatch import Dispatch
    from pyrallel_consumer.control_plane.events import CommitSnapshot
    from pyrallel_consumer.control_plane.flow.loads import Loads
    from pyrallel_consumer.control_plane.output.writing import Writing
    from pyrallel_consumer.control_plane.partitions.assigned_partitions import AssignedPartitions
    from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
    from pyrallel_consumer.dto import WorkItem


class Outbox:
    """``returned`` says whether the assignment of an item goes on, and ends the item if not; it takes the time, too."""

    def __init__(
        self,
        works: AssignedPartitions,
        loads: Loads,
        dispatch: Dispatch,
        returned: Callable[[WorkItem, float | None], bool],
    ) -> None:
        self._works = works
        self._loads = loads
        self._dispatch = dispatch
        self._returned = returned
        self._written_letters: list[Unwritten] = []

    def await_writing(self, returned: Sequence[Unwritten], now: float | None = None) -> list[Unwritten]:
        """The workers of these items returned: their keys go on, their offsets wait for ``written``.

        Returns those whose assignment goes on. The records of the others are dropped: their messages run again.
        """
        awaited = []
        for unwritten in returned:
            item = unwritten.item
            if not self._returned(item, now):
                continue
            work: PartitionWork = item._origin.work
            self._loads.touch(work)
            if work.finish(item, now, unwritten):
                self._dispatch.line_up(work)
            awaited.append(unwritten)
        return awaited

    def written(self, item: WorkItem) -> None:
        """The records of ``item``'s worker are written: its offset completes."""
        work: PartitionWork = item._origin.work
        if work.is_current(item):
            work.complete(item)
            self._loads.touch(work)

    def write_letter(self, unwritten: Unwritten) -> bool:
        """The letter of a held message goes with the next transaction; returns False where its assignment has ended."""
        work: PartitionWork = unwritten.item._origin.work
        if work.writing is None or not work.is_current(unwritten.item):
            return False
        work.writing.letters[unwritten.item.offset] = unwritten
        return True

    def keep_letter(self, unwritten: Unwritten) -> None:
        """The letter goes with no transaction: it was refused, and comes again in another form."""
        work: PartitionWork = unwritten.item._origin.work
        if work.writing is not None and work.writing.letters.get(unwritten.item.offset) is unwritten:
            del work.writing.letters[unwritten.item.offset]

    def skip(self, writing: Writing, item: WorkItem) -> None:
        """A held message is skipped: the next transaction completes it without a letter."""
        writing.letters[item.offset] = Unwritten(item, (), 0)

    def confirm(self, work: PartitionWork, snapshot: CommitSnapshot) -> None:
        """The broker has confirmed ``snapshot`` of ``work``."""
        self._written_letters += work.commits.confirm(work, snapshot)
        if work.writing is not None:
            self._loads.touch(work)
            self._dispatch.line_up(work)

    @property
    def most_written(self) -> int | None:
        """How many messages with records the next transaction may hold, None for all."""
        return self._works.most_written

    @most_written.setter
    def most_written(self, most: int | None) -> None:
        self._works.most_written = most

    def take_back(self, item: WorkItem, attempt: int) -> WorkItem | None:
        """The records of ``item``'s worker are refused: the item counts as in flight again, as the returned object.

        Pass that object to ``exhaust`` or ``cancel``. Its attempt has the number ``attempt``. Returns None if the
        assignment has ended.
        """
        work: PartitionWork = item._origin.work
        if not work.is_current(item):
            return None
        self._loads.touch(work)
        return work.take_back(item, attempt)

    def take_written_letters(self) -> list[Unwritten]:
        """Held messages whose letters a transaction has written: the caller settles these letters now."""
        written, self._written_letters = self._written_letters, []
        return written
