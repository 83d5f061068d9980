"""Commits one after the other: numbered, one under way at a time, done only when the broker has confirmed them.

So an older commit never lands after a newer one. A failed commit is not sent again unchanged. The next commit takes a
newer snapshot, because the work manager still finds the partition worth committing.

If the broker finds metadata too large, the client blames every partition of the request. Then these partitions are
committed one by one, at once. Only a partition that is refused alone has its map halved.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from pyrallel_consumer.control_plane.events import Commit

if TYPE_CHECKING:
    from pyrallel_consumer.control_plane.events import CommitAnswered
    from pyrallel_consumer.control_plane.work_manager import WorkManager
    from pyrallel_consumer.dto import TopicPartition

METADATA_TOO_LARGE = "OFFSET_METADATA_TOO_LARGE"
FATAL = frozenset({"FENCED_INSTANCE_ID"})
SECONDS_EACH = 0.0005
"""After a commit the next one waits this long per partition in it, if that is longer than the interval.

A partition's map, its place in the request and its answer cost about 0.05 ms: a tenth of this at most.
"""


class CommitSequence:
    """The commits of one consumer. ``give_up_seconds`` bounds the wait for an answer that will not come."""

    def __init__(self, manager: WorkManager, interval_seconds: float, give_up_seconds: float = 120.0) -> None:
        self.sent = 0
        self.failures: dict[str, int] = {}
        self._manager = manager
        self._interval_seconds = interval_seconds
        self._give_up_seconds = give_up_seconds
        self._under_way: Commit | None = None
        self._sent_at = 0.0
        self._next_at = 0.0
        self._suspects: set[TopicPartition] = set()

    @property
    def is_under_way(self) -> bool:
        """Whether a commit waits for its answer."""
        return self._under_way is not None

    def hurry(self) -> None:
        """The next commit does not wait for the interval."""
        self._next_at = -inf

    def next(self, now: float, *, is_final: bool = False, is_repeating: bool = False) -> Commit | None:
        """The commit to send now, if it is due and any partition moved. ``is_final`` does not wait for the interval.

        With ``is_repeating`` a partition without progress repeats its last commit.
        """
        if self._under_way is not None and now < self._sent_at + self._give_up_seconds:
            return None
        if now < self._next_at and not is_final:
            return None
        self._next_at = now + self._interval_seconds
        snapshots = self._manager.snapshots(is_repeating=is_repeating)
        suspected = [snapshot for snapshot in snapshots if snapshot.tp in self._suspects]
        self._suspects = {snapshot.tp for snapshot in suspected}
        snapshots = tuple(suspected[:1]) or snapshots
        if not snapshots:
            self._under_way = None
            return None
        self._next_at = now + max(self._interval_seconds, SECONDS_EACH * len(snapshots))
        self.sent += 1
        self._sent_at = now
        self._under_way = Commit(self.sent, snapshots)
        return self._under_way

    def answer(self, answered: CommitAnswered) -> dict[TopicPartition, str]:
        """Take the broker's answer; returns the errors by partition. Late answers to given-up commits are ignored.

        Raises nothing: the caller acts on fatal errors (``FATAL``).
        """
        under_way = self._under_way
        if under_way is None or answered.number != under_way.number:
            return {}
        self._under_way = None
        failed = {}
        for snapshot in under_way.snapshots:
            if snapshot.tp not in answered.errors:
                continue
            error = answered.errors[snapshot.tp]
            if error is None:
                self._manager.confirm(snapshot)
                self._suspects.discard(snapshot.tp)
                continue
            failed[snapshot.tp] = error
            self.failures[error] = self.failures.get(error, 0) + 1
        if METADATA_TOO_LARGE in failed.values():
            self._suspect(under_way)
        if self._suspects and set(failed.values()) <= {METADATA_TOO_LARGE}:
            self._next_at = self._sent_at
        return failed

    def _suspect(self, refused: Commit) -> None:
        if len(refused.snapshots) == 1:
            self._manager.shrink_metadata(refused.snapshots[0])
        self._suspects.update(snapshot.tp for snapshot in refused.snapshots)
