"""Messages, assignments and work managers for the control plane's tests; what a test does not name is filled in."""

from __future__ import annotations

from typing import cast

from pyrallel_consumer.control_plane.events import Assigned, CommitSnapshot
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.control_plane.partitions.virtual_partition import VirtualPartition
from pyrallel_consumer.control_plane.policies import WorkPolicy
from pyrallel_consumer.control_plane.work_manager import WorkManager
from pyrallel_consumer.dto import PartitionSnapshot, TopicPartition, WorkItem
from pyrallel_consumer.observability.partition_picture import partition_picture
from pyrallel_consumer.testing import PlainMessage

TP = TopicPartition("orders", 0)
OTHER = TopicPartition("orders", 1)
THIRD = TopicPartition("bills", 0)


def assigned(tp: TopicPartition = TP, epoch: int = 1, start: int = 0, restored: OffsetMap | None = None) -> Assigned:
    return Assigned(tp, epoch, start, OffsetMap(start, start) if restored is None else restored)


def manager_of(*tps: TopicPartition, policy: WorkPolicy | None = None) -> WorkManager:
    """A manager with these partitions (default: ``TP``) assigned from offset 0, their epochs 1, 2, ... in order."""
    manager = WorkManager(policy or WorkPolicy())
    for epoch, tp in enumerate(tps or (TP,), start=1):
        manager.assign(assigned(tp, epoch))
    return manager


def run_of(
    keys: dict[int, bytes | None], tp: TopicPartition = TP, *, value: bytes = b"", leader_epoch: int | None = None
) -> list[PlainMessage]:
    """Messages of one partition: offset to key."""
    return [
        PlainMessage(tp.topic, tp.partition, offset, key, value, leader_epoch=leader_epoch)
        for offset, key in keys.items()
    ]


def keyed(start: int, keys: str) -> dict[int, bytes | None]:
    """One letter, one message, one key; ``-`` is a message without a key: ``keyed(5, "ab-")``."""
    return {start + at: None if key == "-" else key.encode() for at, key in enumerate(keys)}


def lane_of(item: WorkItem) -> VirtualPartition:
    """The virtual partition of an item, with the members that its protocol leaves out."""
    return cast("VirtualPartition", item.origin)


def offsets_of(items: list[WorkItem]) -> list[int]:
    return [item.offset for item in items]


def picture_of(manager: WorkManager, tp: TopicPartition = TP, now: float = 0.0) -> PartitionSnapshot:
    """One partition as an operator sees it."""
    return next(partition_picture(work, now, manager.pause_reasons(tp)) for work in manager if work.tp == tp)


def only(snapshots: tuple[CommitSnapshot, ...]) -> CommitSnapshot:
    """The one snapshot where there must be exactly one."""
    (snapshot,) = snapshots
    return snapshot
