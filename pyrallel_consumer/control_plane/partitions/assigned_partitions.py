"""All assigned partitions, and the counters of assignments that ended.

Owned by ``WorkManager``. A partition has one ``PartitionWork`` per assignment. A key whose head still runs from an
ended assignment *lingers*: the key starts nothing under the new assignment until that head ended.
"""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, cast

from pyrallel_consumer.control_plane.output.writing import Writing
from pyrallel_consumer.control_plane.partitions.latency import Latencies
from pyrallel_consumer.control_plane.partitions.partition_counters import PartitionCounters
from pyrallel_consumer.control_plane.partitions.partition_work import PartitionWork
from pyrallel_consumer.control_plane.partitions.run_queue import RunLength
from pyrallel_consumer.control_plane.partitions.run_work import RunWork
from pyrallel_consumer.errors import InvariantViolation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyrallel_consumer.control_plane.events import Assigned, CommitSnapshot
    from pyrallel_consumer.control_plane.flow.loads import Loads
    from pyrallel_consumer.control_plane.partitions.partition_work import Lingering
    from pyrallel_consumer.control_plane.partitions.virtual_partition import VirtualPartition
    from pyrallel_consumer.control_plane.policies import OrderingPolicy
    from pyrallel_consumer.dto import TopicPartition, WorkItem

_origin_of = attrgetter("_origin")


class AssignedPartitions:
    """Partitions by topic and number, each under its epoch.

    ``with_map``: commits carry the map of finished offsets. ``is_sending_ahead``: the engine keeps the order of a key.
    ``is_timed``: durations are taken. ``is_writing``: commits are transactions, with the records of what they finish,
    of at most ``most_written`` messages.
    """

    def __init__(
        self,
        ordering: OrderingPolicy,
        loads: Loads,
        *,
        with_map: bool,
        is_sending_ahead: bool,
        is_timed: bool,
        is_writing: bool,
    ) -> None:
        self.most_written: int | None = None
        self._is_writing = is_writing
        self.is_timed = is_timed
        self._ordering = ordering
        self._loads = loads
        self._with_map = with_map
        self._is_sending_ahead = is_sending_ahead
        self._works: dict[TopicPartition, PartitionWork] = {}
        self._lingering: Lingering = {}
        self._run_length = RunLength()
        self._away: dict[TopicPartition, PartitionCounters] = {}

    def __iter__(self) -> Iterator[PartitionWork]:
        return iter(self._works.values())

    def __len__(self) -> int:
        return len(self._works)

    def __contains__(self, tp: object) -> bool:
        return tp in self._works

    def __getitem__(self, tp: TopicPartition) -> PartitionWork:
        return self._works[tp]

    def get(self, tp: TopicPartition) -> PartitionWork | None:
        """The work of ``tp``, None if it is not assigned."""
        return self._works.get(tp)

    def under(self, tp: TopicPartition, epoch: int) -> PartitionWork | None:
        """The work of ``tp``, None if it is not assigned under ``epoch``."""
        work = self._works.get(tp)
        return work if work is not None and work.epoch == epoch else None

    def assign(self, assigned: Assigned) -> None:
        """A partition is assigned under a new epoch; its counters continue from its last assignment."""
        if assigned.tp in self._works:
            msg = f"{assigned.tp} was assigned while it was assigned"
            raise InvariantViolation(msg)
        if self._is_sending_ahead:
            work: PartitionWork = RunWork(assigned, self._ordering, self._lingering, self._run_length)
        else:
            work = PartitionWork(assigned, self._ordering, self._lingering)
        self._works[assigned.tp] = work
        self._away.pop(assigned.tp, PartitionCounters()).continue_in(work)
        if self.is_timed:
            work.latency = work.latency or Latencies()
        if self._is_writing:
            work.writing = Writing(assigned)
        self._loads.assign(work)

    def allow_runs(self, most: int, *, are_whole: bool = False) -> None:
        """If keys are sent ahead: from now on up to ``most`` items of one virtual partition may be in flight."""
        self._run_length.most = most
        self._run_length.is_whole = are_whole

    @property
    def are_runs_whole(self) -> bool:
        """Whether keys are sent ahead, and all that may start of one starts together."""
        return self._run_length.is_whole and self._is_sending_ahead

    def finish_runs(self, items: Sequence[WorkItem], now: float | None) -> tuple[list[WorkItem], list[PartitionWork]]:
        """Finish the items that ended together with others of their virtual partition.

        Returns the items that must be finished one by one, and the works in which something became ready.
        """
        others: list[WorkItem] = []
        ready: list[PartitionWork] = []
        for queue, together in groupby(items, _origin_of):
            run, work = [*together], queue.work
            self._loads.touch(work)
            is_ready = work.finish_run(run, now)
            if is_ready is None:
                others += run
            elif is_ready:
                ready.append(work)
        return others, ready

    def end(self, work: PartitionWork, *, is_lost: bool) -> CommitSnapshot | None:
        """Snapshot and fence in one step; returns the last commit, None if nothing needs to be committed."""
        snapshot = (
            None if is_lost else work.commits.snapshot(work, with_map=self._with_map, most_written=self.most_written)
        )
        self._away[work.tp] = PartitionCounters.of(work)
        work.fence()
        self._loads.end(work)
        del self._works[work.tp]
        return snapshot

    def let_go(self, item: WorkItem) -> tuple[PartitionWork, ...]:
        """An attempt of an ended assignment ended, so its key may go on; returns the works in which it may."""
        queue = cast("VirtualPartition", item.origin)
        if not queue.let_go(item):
            return ()
        self._loads.touch(queue.work)
        if self._lingering.get((queue.work.tp, queue.key)) is not queue:
            return (queue.work,)  # Only items that were sent ahead had been forgotten.
        del self._lingering[queue.work.tp, queue.key]
        if queue.successor is None:
            return ()
        queue.successor.follow()
        self._loads.touch(queue.successor.work)
        return (queue.successor.work,)

    @property
    def processed(self) -> int:
        """Messages done since the consumer started, including those of ended assignments."""
        return sum(ended.finished for ended in self._away.values()) + sum(work.finished for work in self)

    @property
    def failed(self) -> int:
        """Messages whose last attempt failed, since the consumer started."""
        return sum(ended.failed for ended in self._away.values()) + sum(work.failed for work in self)

    @property
    def settled(self) -> int:
        """Done messages whose last attempt had failed: they were dead-lettered or skipped."""
        return sum(ended.settled for ended in self._away.values()) + sum(work.settled for work in self)

    def snapshots(self, *, is_repeating: bool) -> tuple[CommitSnapshot, ...]:
        """Offset and map of partitions that moved since the broker's last confirmation, or of all with
        ``is_repeating``.
        """
        snapshots = []
        left = self.most_written
        for work in self:
            snapshot = work.commits.snapshot(
                work, with_map=self._with_map, is_repeating=is_repeating, most_written=left
            )
            if snapshot is not None:
                snapshots.append(snapshot)
                if left is not None:
                    left -= sum(bool(entry.records) for entry in snapshot.entries)
        return tuple(snapshots)

    @property
    def has_uncommitted(self) -> bool:
        """Whether any partition moved since the broker's last confirmation; cheap, encodes nothing."""
        with_map = self._with_map
        return any(work.commits.is_worth_committing(work, with_map=with_map) for work in self)
